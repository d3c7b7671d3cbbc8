"""Write trained weights together with their measured quality."""

from quietct.apply.export import export_weights
from quietct.logs import logged

if __name__ == "__main__":
    with logged(snakemake):
        export_weights(
            snakemake.input.weights,
            snakemake.input.summary,
            snakemake.output.weights,
            snakemake.params.noise,
            snakemake.params.method,
        )
