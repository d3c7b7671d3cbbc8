"""Scan a synthetic chest with small nodules and without them, for an observer to tell apart."""

import json

from quietct.ct.detection import make_detection_task
from quietct.logs import logged

if __name__ == "__main__":
    with logged(snakemake):
        make_detection_task(
            snakemake.input.info,
            snakemake.output.volume,
            snakemake.output.info,
            clip_hu=snakemake.params.clip_hu,
            **json.loads(snakemake.params.task),
        )
