"""Find the slices of one CT series among all sorts of files, in the order of their position."""

from __future__ import annotations

import logging
import lzma
import zlib
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO
from zipfile import BadZipFile

from quietct.ct.dicom.checks import SAME_PLACE_MM, check_image, check_positions, check_same
from quietct.ct.dicom.header import clean_text, quiet_pydicom
from quietct.ct.dicom.images import Image, read_images
from quietct.errors import UserError

logger = logging.getLogger(__name__)

UNPACKING = (BadZipFile, zlib.error, lzma.LZMAError, EOFError)  # what a damaged archive ends in
# Words in the values of Image Type, Frame Type and their like (PS3.3 C.7.6.1.1.2, C.8.16.1) and of scanners' makers.
LOCALIZER = {"LOCALIZER", "SCOUT"}
NO_SLICE = {
    "MIP", "MINIP", "IP", "MAXIMUM", "MINIMUM", "PROJECTION", "RENDER", "RENDERED", "RENDERING", "VRT", "SSD", "3D",
    "CURVED", "CPR", "DISTORTED", "SAMPLED", "PERFUSION",
}  # fmt: skip
REFORMATTED = {"MPR", "REFORMATTED", "RESAMPLED"}


@dataclass(frozen=True)
class Entry:
    """A file to look at, in a folder or in an archive."""

    name: str
    size: int
    open: Callable[[], IO[bytes]]


@dataclass(frozen=True)
class Skipped:
    """A file that was left out because it is unusable, and the sentence that says why."""

    file: str
    reason: str


@dataclass
class Series:
    """Slices of one series in the order of position, and what was left out."""

    images: list[Image] = field(default_factory=list)
    skipped: list[Skipped] = field(default_factory=list)


class Unusable:
    """What to do about an unusable file: stop at the first one, or leave it out, say so and list it."""

    def __init__(self, unusable: str) -> None:
        if unusable not in ("strict", "skip"):
            raise UserError(f"The key unusable_dicom is {unusable!r}; it must be strict or skip.")
        self.skip = unusable == "skip"
        self.skipped: list[Skipped] = []

    def leave_out(self, file: str, error: Exception) -> None:
        """Take note of the file, or raise the error again."""
        if not self.skip:
            raise error
        reason = str(error) if isinstance(error, UserError) else f"{file} cannot be unpacked."
        logger.warning("Left out: %s", reason)
        self.skipped.append(Skipped(file, reason))


def entries(folder: Path) -> list[Entry]:
    """List all files in a folder and below it, by name."""
    return [entry(path) for path in sorted(folder.rglob("*")) if path.is_file()]


def entry(path: Path) -> Entry:
    """Make an entry of a file."""
    return Entry(str(path), path.stat().st_size, lambda: path.open("rb"))


def read_series(
    folder: str | Path,
    series_instance_uid: str | None = None,
    unusable: str = "strict",
    acquisition_number: int | None = None,
) -> Series:
    """Read the headers of the one CT series in a folder and check that they make one volume.

    Parameters
    ----------
    folder : path
        All files in it and below it are looked at.
    series_instance_uid : str, optional
        Which series, if there are several.
    unusable : {"strict", "skip"}
        Whether an unusable file stops the reading, or is left out and listed; then gaps are accepted too.
    acquisition_number : int, optional
        Keep the slices of this acquisition only.

    Returns
    -------
    Series
        The slices, without pixels, in the order of their position; the name of each file is its path.

    Raises
    ------
    UserError
        If there is not exactly one series, slices differ in geometry or kernel, two lie at one position, one is
        missing, or a file cannot give Hounsfield units.
    """
    folder = Path(folder)
    if not folder.is_dir():
        raise UserError(f"{folder} is not a folder.")
    return choose_series(entries(folder), str(folder), series_instance_uid, unusable, acquisition_number)


def choose_series(
    files: Iterable[Entry],
    place: str,
    series_instance_uid: str | None = None,
    unusable: str = "strict",
    acquisition_number: int | None = None,
) -> Series:
    """Do what `read_series` does, among any files.

    Parameters
    ----------
    files : iterable of Entry
        What to look at; files that aren't DICOM and other kinds of objects are passed over.
    place : str
        Where they are from, for messages.
    series_instance_uid, unusable, acquisition_number
        As in `read_series`.

    Returns
    -------
    Series
        As of `read_series`.

    Raises
    ------
    UserError
        As `read_series`.
    """
    left_out = Unusable(unusable)
    with quiet_pydicom():
        slices = _slices(files, place, left_out)
    found = _chosen(slices, place, series_instance_uid)
    if acquisition_number is not None:
        found = _of_acquisition(found, acquisition_number, place)
    images = []
    for image in found:
        try:
            check_image(image)
            images.append(image)
        except UserError as error:
            left_out.leave_out(image.file, error)
    if not images:
        raise UserError(f"{place} contains no usable slice of the series: {left_out.skipped[0].reason}")
    images = _once(images)
    check_same(images)
    images = in_order(images)
    check_positions(images, gaps=left_out.skip)
    return Series(images, left_out.skipped)


def in_order(slices: Iterable[Image]) -> list[Image]:
    """Sort slices by their position along the normal."""
    return sorted(slices, key=lambda image: (image.position, image.uid, image.frame))


def _slices(files: Iterable[Entry], place: str, left_out: Unusable) -> list[Image]:
    """Read all files and keep what is a CT slice; localizers, projections and maps are none."""
    slices: list[Image] = []
    others = strangers = 0
    for file in files:
        try:
            with file.open() as stream:
                images = read_images(stream, file.size, file.name)
        except OSError as error:
            left_out.leave_out(file.name, UserError(f"{file.name} cannot be read ({error.strerror or 'damaged'})."))
        except (UserError, *UNPACKING) as error:
            left_out.leave_out(file.name, error)
        else:
            kept = [image for image in images or [] if not _is(image, LOCALIZER) and not _is_derived(image, NO_SLICE)]
            slices += kept
            strangers += images is None
            others += images is not None and not kept
    if others or strangers:
        logger.info("%s: passed over %d other DICOM objects, %d other files", place, others, strangers)
    if not slices:
        unusable = f", {len(left_out.skipped)} unusable" if left_out.skipped else ""
        raise UserError(
            f"{place} contains no CT images ({others} other DICOM objects, {strangers} other files{unusable}). "
            "Name another location."
        )
    return slices


def _is(image: Image, words: set[str]) -> bool:
    kind = (*image.kind[2:], image.text("VolumeBasedCalculationTechnique"), image.text("VolumetricProperties"))
    return bool(words & {word for value in kind if value for word in value.upper().replace("_", " ").split()})


def _is_derived(image: Image, words: set[str]) -> bool:
    return image.kind[:1] != ("ORIGINAL",) and _is(image, words)


def _chosen(slices: list[Image], place: str, series_instance_uid: str | None) -> list[Image]:
    """Keep one series, without what was reformatted from original slices that are also there."""
    if series_instance_uid:
        chosen = [image for image in slices if image.series == series_instance_uid]
        if not chosen:
            raise UserError(
                f"{place} does not contain series {series_instance_uid} (column `series_instance_uid`). "
                f"It contains {_listed(slices)}."
            )
        slices = chosen
    if any(image.kind[:1] == ("ORIGINAL",) for image in slices):
        slices = [image for image in slices if not _is_derived(image, REFORMATTED)]
    count = len({image.series for image in slices})
    if count > 1:
        raise UserError(
            f"{place} contains {count} CT series: {_listed(slices)}. Name one of them in the column "
            "`series_instance_uid`."
        )
    return slices


def _listed(slices: list[Image]) -> str:
    series: dict[str, list[Image]] = {}
    for image in slices:
        series.setdefault(image.series, []).append(image)
    lines = []
    for uid, images in sorted(series.items()):
        text = images[0].text("SeriesDescription") or "no description"
        lines.append(f"{clean_text(uid)} ({text}, {len(images)} slice{'s' * (len(images) > 1)})")
    return "; ".join(lines)


def _of_acquisition(slices: list[Image], number: int, place: str) -> list[Image]:
    kept = [image for image in slices if image.acquisition == number]
    if not kept:
        there = ", ".join(
            str(n) for n in sorted({image.acquisition for image in slices if image.acquisition is not None})
        )
        raise UserError(
            f"{place} has no slice of acquisition {number} (column `acquisition_number`); "
            + (f"its acquisitions are {there}." if there else "its slices do not name an acquisition.")
        )
    return kept


def _once(slices: list[Image]) -> list[Image]:
    """Keep one of the files that hold the same image."""
    kept: dict[tuple[str, int], Image] = {}
    for image in slices:
        other = kept.setdefault((image.uid, image.frame), image)
        if abs(other.position - image.position) >= SAME_PLACE_MM:
            raise UserError(
                f"{other.name} and {image.name} are different slices with one SOPInstanceUID. Export the series again."
            )
    return list(kept.values())
