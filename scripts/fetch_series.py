"""Bring one DICOM series into resources/dicom."""

import json

from quietct.ct.sources import fetch_series
from quietct.logs import logged

if __name__ == "__main__":
    with logged(snakemake):
        fetch_series(
            snakemake.params.source,
            snakemake.params.location,
            snakemake.output.dicom,
            **json.loads(snakemake.params.selection),
            bandwidth_mbit=snakemake.resources.bandwidth_mbit or None,
        )
