"""Where a DICOM series comes from: one module per source, all called in the same way."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

from quietct.ct.sources import directory, idc, phantom, tcia
from quietct.errors import UserError
from quietct.files import written_whole

# A source is `fetch(dest, location, **selection)`: it writes the DICOM files of one series, and only those, into the
# folder `dest`. What it doesn't know in `selection` it leaves alone; absent values are None.
SOURCES: dict[str, Callable[..., None]] = {
    "phantom": phantom.fetch,
    "directory": directory.fetch,
    "idc": idc.fetch,
    "tcia": tcia.fetch,
}


def fetch_series(source: str, location: str | None, dest: str | Path, **selection: Any) -> None:
    """Bring one DICOM series into a folder, which appears whole or not at all.

    Parameters
    ----------
    source : str
        A name in `SOURCES`.
    location : str or None
        What the source understands by it: a folder or .zip for `directory`, nothing for `phantom`; see `fetch` of each.
    dest : path
        The folder to make.
    **selection
        Further columns of the series sheet, None where empty.

    Raises
    ------
    UserError
        If the source is unknown, or as the source says.
    """
    if source not in SOURCES:
        raise UserError(f"The column `source` says {source!r}; it must be one of {', '.join(SOURCES)}.")
    with written_whole(dest) as partial:
        partial.mkdir()
        SOURCES[source](partial, location, **selection)
