"""Whether fetched files are the series that was asked for: all of it and nothing else."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from quietct.ct.dicom.header import clean_text
from quietct.ct.dicom.images import Image, read_images
from quietct.ct.dicom.series import in_order
from quietct.errors import UserError

logger = logging.getLogger(__name__)

# Repeats of one protocol differ by up to 3 slices where nothing is lost.
USUAL_DIFFERENCE = 3
AGAIN = "Start again; if it stays so, try the other one of the sources `idc` and `tcia`."
# Archives may keep a series with some header bytes more or fewer.
SIZE_TOLERANCE = 0.01


def check_amount(count: int, size: int, expected: Mapping[str, Any] | None, place: str) -> None:
    """Compare the number of files of a series, and their size, with the collection's table.

    Parameters
    ----------
    count : int
        How many files there are.
    size : int
        Their size (bytes).
    expected : mapping or None
        The table's row: `n_slices` and `size_mb` (10^6 bytes); None if the series is not in the table.
    place : str
        Where the files are, for messages.

    Raises
    ------
    UserError
        If the number differs, or the size does by more than 1 %.
    """
    if expected is None:
        return
    wanted = int(expected["n_slices"])
    if count != wanted:
        raise UserError(
            f"{place} has {count} files, but the series has {wanted} slices (resources/phantom_fda_series.tsv). "
            "Try the other one of the sources `idc` and `tcia`."
        )
    size_mb = float(expected["size_mb"])
    if abs(size / 1e6 - size_mb) > SIZE_TOLERANCE * size_mb:
        raise UserError(
            f"{place} has {size / 1e6:.3f} MB, but the series has {size_mb:.3f} MB (resources/phantom_fda_series.tsv). "
            "Try the other one of the sources `idc` and `tcia`."
        )


def check_series(
    files: Sequence[Path], series_instance_uid: str, expected: Mapping[str, Any] | None, place: str
) -> list[Path]:
    """Check that files are the slices of one series, each a DICOM file, none twice, none missing.

    A series that has fewer slices in the table than its repeats have is incomplete in the collection itself; it is
    accepted with a warning.

    Parameters
    ----------
    files : sequence of Path
        All files that were fetched.
    series_instance_uid : str
        The series they must belong to.
    expected : mapping or None
        As in `check_amount`, and `usual_n_slices`: what most of its repeats have.
    place : str
        Where they were fetched from, for messages.

    Returns
    -------
    list of Path
        The files in the order of their slices' position. Whether these make one volume is not looked at here: all
        that the collection has of a series is fetched.

    Raises
    ------
    UserError
        If a file is no CT image, is damaged or belongs to another series, two files are one image, or the number or
        size of the files is not the table's.
    """
    check_amount(len(files), sum(file.stat().st_size for file in files), expected, place)
    slices: list[Image] = []
    images = dict[str, Path]()
    for file in files:
        with file.open("rb") as stream:
            found = read_images(stream, file.stat().st_size, str(file))
        if not found:
            kind = "a DICOM file" if found is None else "a CT image"
            raise UserError(f"{file}, fetched from {place}, is not {kind}. {AGAIN}")
        image = found[0]
        if image.series != series_instance_uid:
            raise UserError(
                f"{file}, fetched from {place}, is of series {clean_text(image.series)}, not of "
                f"{series_instance_uid}. {AGAIN}"
            )
        if image.uid in images:
            raise UserError(
                f"{images[image.uid].name} and {file.name}, fetched from {place}, are the same image ({image.uid}), so "
                f"another one is missing. {AGAIN}"
            )
        images[image.uid] = file
        slices += found
    usual = int(expected.get("usual_n_slices") or 0) if expected else 0
    if usual - len(files) > USUAL_DIFFERENCE:
        logger.warning(
            "Series %s has only %d slices where its repeats have %d: the collection itself lacks the others.",
            series_instance_uid,
            len(files),
            usual,
        )
    return [Path(name) for name in dict.fromkeys(image.file for image in in_order(slices))]
