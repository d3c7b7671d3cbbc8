"""Bring one DICOM series into resources/dicom."""

from quietct.ct.sources import fetch_series
from quietct.logs import logged

if __name__ == "__main__":
    with logged(snakemake.log[0]):
        selection = dict(snakemake.params.items())
        selection.pop("code", None)  # only there to make Snakemake notice an edit
        fetch_series(selection.pop("source"), selection.pop("location"), snakemake.output.dicom, **selection)
