"""Compare a noisy or denoised volume with its target, slice by slice."""

import json

from quietct.evaluation.quality import measure_quality
from quietct.logs import logged

if __name__ == "__main__":
    with logged(snakemake):
        measure_quality(
            snakemake.input.clean,
            snakemake.input.info,
            snakemake.input.image,
            snakemake.output.metrics,
            noise=snakemake.params.noise,
            method=snakemake.params.method,
            series=snakemake.params.series,
            window_hu=snakemake.params.window_hu,
            split=json.loads(snakemake.params.split),
            scan=snakemake.input.scan,
            nodules=snakemake.input.nodules,
        )
