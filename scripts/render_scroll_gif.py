"""Animate a scroll through a series: noisy, denoised and target side by side."""

import json

from quietct.figures.gif import render_scroll_gif
from quietct.logs import logged

if __name__ == "__main__":
    with logged(snakemake):
        render_scroll_gif(
            snakemake.input.clean,
            snakemake.input.info,
            snakemake.input.noisy,
            snakemake.input.image,
            snakemake.output.gif,
            method=snakemake.params.method,
            noise=snakemake.params.noise,
            series=snakemake.params.series,
            window_hu=snakemake.params.window_hu,
            **json.loads(snakemake.params.settings),
            target_label=snakemake.params.target_label,
            split=json.loads(snakemake.params.split),
        )
