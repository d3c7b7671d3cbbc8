"""Choose a classical denoiser's parameters on training slices."""

import json

from quietct.evaluation.tuning import tune_baseline
from quietct.logs import logged

if __name__ == "__main__":
    with logged(snakemake):
        tune_baseline(
            snakemake.input.clean,
            snakemake.input.noisy,
            snakemake.output.settings,
            baseline=snakemake.params.baseline,
            grid=json.loads(snakemake.params.grid),
            tuning_slices=snakemake.params.tuning_slices,
            window_hu=snakemake.params.window_hu,
            infos=snakemake.input.infos,
            split=json.loads(snakemake.params.split),
        )
