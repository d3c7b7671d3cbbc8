"""Denoise one DICOM series with one trained network."""

import json

from quietct.apply.denoise_dicom import denoise_dicom
from quietct.logs import logged

if __name__ == "__main__":
    with logged(snakemake):
        denoise_dicom(
            snakemake.input.weights,
            snakemake.input.dicom,
            snakemake.output.dicom,
            **json.loads(snakemake.params.images),
            deidentify=snakemake.params.deidentify,
            threads=snakemake.threads,
        )
