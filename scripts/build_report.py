"""Put verdict, measures, slices and plots of a run on one page."""

import json

from quietct.logs import logged
from quietct.report.build import build_report
from quietct.report.slices import Volumes

if __name__ == "__main__":
    with logged(snakemake):
        files, params = snakemake.input, snakemake.params
        build_report(
            snakemake.output.report,
            record=files.record,
            summary=files.summary,
            verdict=files.verdict,
            volumes=Volumes(
                params.noises, params.methods, params.series, files.scans, files.targets, files.noisy, files.denoised
            ),
            plots=files.plots,
            films=files.films,
            sheet=json.loads(params.sheet),
            infos=dict(zip(params.converted, files.infos, strict=True)),
            benchmarks=params.benchmarks,
            target_label=params.target_label,
        )
