"""Plot the quality of every slice by all methods."""

from quietct.figures.slice_quality import plot_slice_quality
from quietct.logs import logged

if __name__ == "__main__":
    with logged(snakemake):
        plot_slice_quality(snakemake.input.metrics, snakemake.output.plot, noise=snakemake.params.noise)
