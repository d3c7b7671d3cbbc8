"""Show nodules of the test series close up by all methods."""

from quietct.figures.nodules import plot_nodules
from quietct.logs import logged

if __name__ == "__main__":
    with logged(snakemake):
        plot_nodules(
            snakemake.input.measures,
            snakemake.input.targets,
            snakemake.input.infos,
            snakemake.input.images,
            snakemake.output.plot,
            methods=snakemake.params.methods,
            series=snakemake.params.series,
            noise=snakemake.params.noise,
            window_hu=snakemake.params.window_hu,
            target_label=snakemake.params.target_label,
        )
