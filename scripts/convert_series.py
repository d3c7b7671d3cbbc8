"""Convert one DICOM series to a volume in HU."""

from quietct.ct.dicom.convert import convert_series
from quietct.logs import logged

if __name__ == "__main__":
    with logged(snakemake):
        convert_series(
            snakemake.input.dicom,
            snakemake.output.volume,
            snakemake.output.info,
            clip_hu=snakemake.params.clip_hu,
            unusable=snakemake.params.unusable,
            n_slices=snakemake.params.n_slices,
            acquisition_number=snakemake.params.acquisition_number,
            series_instance_uid=snakemake.params.series_instance_uid,
        )
