"""Plot the differences between the variants with their intervals."""

from quietct.figures.differences import plot_differences
from quietct.logs import logged

if __name__ == "__main__":
    with logged(snakemake):
        plot_differences(
            snakemake.input.comparison,
            snakemake.output.plot,
            noise=snakemake.params.noise,
            variants=snakemake.params.variants,
        )
