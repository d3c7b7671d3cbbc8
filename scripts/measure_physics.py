"""Measure noise power, task transfer, nodules and detectability of one method on one series."""

import json

from quietct.evaluation.physics import measure_physics
from quietct.logs import logged

if __name__ == "__main__":
    with logged(snakemake):
        measure_physics(
            snakemake.input.target,
            snakemake.input.info,
            snakemake.input.image,
            snakemake.input.nodules,
            snakemake.output.physics,
            noise=snakemake.params.noise,
            method=snakemake.params.method,
            series=snakemake.params.series,
            exact_target=snakemake.params.exact_target,
            split=json.loads(snakemake.params.split),
            task=snakemake.input.get("task") or None,
            task_info=snakemake.input.get("task_info") or None,
            no_task=snakemake.params.no_task,
            scan=snakemake.input.scan,
        )
