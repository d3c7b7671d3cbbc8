"""Plot cost and validation PSNR of all variants of a network over the epochs."""

from quietct.figures.plots import plot_cost_curves
from quietct.logs import logged

if __name__ == "__main__":
    with logged(snakemake):
        plot_cost_curves(
            snakemake.input.histories,
            snakemake.params.variants,
            snakemake.params.seeds,
            snakemake.output.plot,
            network=snakemake.params.network,
            noise=snakemake.params.noise,
        )
