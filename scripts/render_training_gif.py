"""Animate a network's output on the preview slice as the training goes on."""

import json

from quietct.figures.gif import render_training_gif
from quietct.logs import logged

if __name__ == "__main__":
    with logged(snakemake):
        render_training_gif(
            snakemake.input.snapshots,
            snakemake.output.gif,
            method=f"{snakemake.params.network}-{snakemake.params.variant}-seed{snakemake.params.seed}",
            noise=snakemake.params.noise,
            window_hu=snakemake.params.window_hu,
            **json.loads(snakemake.params.settings),
            target_label=snakemake.params.target_label,
        )
