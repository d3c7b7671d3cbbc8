"""Source `directory`: somebody's own folder, .zip, DICOMDIR or file. It is only read."""

from __future__ import annotations

import errno
import logging
import shutil
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import IO, Any

from quietct.ct.dicom.dicomdir import listed_files
from quietct.ct.dicom.header import MIB, clean_text
from quietct.ct.dicom.series import UNPACKING, Entry, choose_series, entries, entry
from quietct.errors import UserError

logger = logging.getLogger(__name__)


def fetch(
    dest: Path,
    location: str | None,
    series_instance_uid: str | None = None,
    unusable: str = "strict",
    acquisition_number: int | None = None,
    **_: Any,
) -> None:
    """Copy the one CT series that a location holds.

    Files that are not DICOM, localisers and other kinds of objects are passed over.

    Parameters
    ----------
    dest : Path
        An empty folder; gets 0001.dcm, 0002.dcm, ... in the order of the slices' position. Where unusable files are
        skipped, they are copied too, as unusable_0001.dcm, ..., so that the conversion lists them.
    location : str
        A folder, looked through with all folders below it; a .zip; a DICOMDIR; or a single DICOM file.
    series_instance_uid : str, optional
        Which series, if there are several.
    unusable : {"strict", "skip"}, optional
        Whether an unusable file stops the fetching; default strict.
    acquisition_number : int, optional
        Keep the slices of this acquisition only.

    Raises
    ------
    UserError
        If the location is absent or a broken .zip, or as `quietct.ct.dicom.series.read_series`.
    """
    if not location:
        raise UserError("The column `location` is empty; source `directory` needs a folder or a .zip file there.")
    with opened(Path(location).expanduser()) as files:
        series = choose_series(files, location, series_instance_uid, unusable or "strict", acquisition_number)
        names = dict.fromkeys(image.file for image in series.images)
        left_out = dict.fromkeys(skip.file for skip in series.skipped if skip.file not in names)
        found = {file.name: file for file in files}
        for prefix, chosen in (("", names), ("unusable_", left_out)):
            width = max(4, len(str(len(chosen))))
            for k, name in enumerate(chosen, start=1):
                _copy(found[name], dest / f"{prefix}{k:0{width}}.dcm", must=not prefix)
    logger.info("%s: %d slices of series %s", location, len(series.images), series.images[0].series)


def _copy(file: Entry, path: Path, must: bool) -> None:
    with open(path, "xb") as copy:
        try:
            with file.open() as source:
                shutil.copyfileobj(source, copy, MIB)
        except (*UNPACKING, OSError) as error:
            if must or (isinstance(error, OSError) and error.errno in (errno.ENOSPC, errno.EDQUOT)):
                raise
            path.unlink()


@contextmanager
def opened(location: Path) -> Iterator[list[Entry]]:
    """Give the files of a folder with all folders below it, a .zip, a DICOMDIR, or a single file.

    Raises
    ------
    UserError
        If it does not exist, or is a .zip that cannot be unpacked.
    """
    if location.is_dir():
        yield entries(location)
    elif zipfile.is_zipfile(location) or location.suffix.lower() == ".zip":
        try:
            with zipfile.ZipFile(location) as archive:
                yield _members(archive, location)
        except UNPACKING:
            raise UserError(f"{location} is not a readable .zip file. Copy or export it again.") from None
        except (NotImplementedError, RuntimeError):  # unknown compression, or a password
            raise UserError(
                f"{location} cannot be unpacked: it has a password or an unusual compression. "
                "Unpack it and name the folder."
            ) from None
    elif location.is_file():
        yield listed_files(entry(location)) or [entry(location)]
    else:
        raise UserError(f"The location {location} does not exist; give a folder or a .zip file with DICOM files.")


def _members(archive: zipfile.ZipFile, location: Path) -> list[Entry]:
    """List the members of an archive.

    They are read as streams and never extracted, so their names cannot lead out of the folder; Python reads no more of
    each than the size that the archive gives. Two members of one name count as two files.
    """
    members = [member for member in archive.infolist() if not member.is_dir()]
    limit = max(1024 * MIB, 200 * location.stat().st_size)  # noise of a scanner never packs to a hundredth
    if sum(member.file_size for member in members) > limit:
        raise UserError(
            f"{location} would unpack to more than {limit // MIB} MB, which no CT does. Unpack it yourself."
        )
    seen: dict[str, int] = {}
    files = []
    for member in members:
        k = seen[member.filename] = seen.get(member.filename, -1) + 1
        name = f"{location}:{clean_text(member.filename)}" + f" ({k})" * (k > 0)
        files.append(Entry(name, member.file_size, partial(_open_member, archive, member)))
    return files


def _open_member(archive: zipfile.ZipFile, member: zipfile.ZipInfo) -> IO[bytes]:
    try:
        return archive.open(member)
    except (OSError, ValueError) as error:  # an impossible place in the archive
        raise zipfile.BadZipFile from error
