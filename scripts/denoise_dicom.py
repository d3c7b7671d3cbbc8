"""Denoise one DICOM series with one trained network."""

from quietct.denoise_dicom import denoise_dicom
from quietct.logs import logged

if __name__ == "__main__":
    with logged(snakemake):
        denoise_dicom(
            snakemake.input.weights,
            snakemake.input.dicom,
            snakemake.output.dicom,
            series_instance_uid=snakemake.params.series_instance_uid,
            acquisition_number=snakemake.params.acquisition_number,
            n_slices=snakemake.params.n_slices,
            unusable=snakemake.params.unusable,
            deidentify=snakemake.params.deidentify,
            threads=snakemake.threads,
        )
