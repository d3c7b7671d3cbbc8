"""Where the files of a series wait until all are there: it outlives a kill, so that a new start goes on from there."""

from __future__ import annotations

import re
import shutil
from collections.abc import Sequence
from pathlib import Path

from quietct.errors import UserError


def open_work_area(downloads: str | Path, series_instance_uid: str | None) -> Path:
    """Make the folder of a series' download, or find what an earlier one left there.

    Parameters
    ----------
    downloads : path
        The folder of all downloads.
    series_instance_uid : str
        The series.

    Raises
    ------
    UserError
        If it isn't a UID (DICOM PS3.5, 9.1), which must not name a folder then.
    """
    if not series_instance_uid:
        raise UserError("The column `series_instance_uid` is empty; the sources `idc` and `tcia` need it.")
    if not re.fullmatch(r"[0-9]+(\.[0-9]+)+", series_instance_uid) or len(series_instance_uid) > 64:
        raise UserError(f"The column `series_instance_uid` says {series_instance_uid!r}, which is no UID.")
    area = Path(downloads) / series_instance_uid
    area.mkdir(parents=True, exist_ok=True)
    return area


def deliver(slices: Sequence[Path], dest: Path, area: Path) -> None:
    """Move the slices of a checked series to where they belong and remove the work area.

    Parameters
    ----------
    slices : sequence of Path
        In order; they become 0001.dcm, 0002.dcm, ...
    dest : Path
        An empty folder.
    area : Path
        From `open_work_area`.
    """
    width = max(4, len(str(len(slices))))
    for k, file in enumerate(slices, start=1):
        shutil.move(file, dest / f"{k:0{width}}.dcm")  # a rename, unless somebody keeps the two on different disks
    shutil.rmtree(area)
