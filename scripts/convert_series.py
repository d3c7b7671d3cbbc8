"""Convert one DICOM series to a volume in HU."""

from quietct.ct.dicom.convert import convert_series
from quietct.logs import logged

if __name__ == "__main__":
    with logged(snakemake.log[0]):
        convert_series(
            snakemake.input.dicom,
            snakemake.output.volume,
            snakemake.output.info,
            clip_hu=snakemake.params.clip_hu,
        )
