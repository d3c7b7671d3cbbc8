"""Convert one DICOM series to a volume in HU."""

import json

from quietct.ct.dicom.convert import convert_series
from quietct.logs import logged

if __name__ == "__main__":
    with logged(snakemake):
        convert_series(
            snakemake.input.dicom,
            snakemake.output.volume,
            snakemake.output.info,
            clip_hu=snakemake.params.clip_hu,
            **json.loads(snakemake.params.images),
        )
