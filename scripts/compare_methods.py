"""Say which differences between the variants, and between networks and filters, are real."""

from quietct.evaluation.comparison import compare_methods
from quietct.logs import logged

if __name__ == "__main__":
    with logged(snakemake):
        compare_methods(
            snakemake.input.metrics,
            snakemake.output.comparison,
            snakemake.output.verdict,
            init=snakemake.params.init,
        )
