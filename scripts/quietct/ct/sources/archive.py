"""Take the images out of the archive of a series that NBIA sends: all of them, each with the right MD5, or none.

The server writes an archive like this (its source: github.com/CBIIT/NBIA-TCIA, `V4_getImageWithMD5Hash.java`): images
named 00000001.dcm, 00000002.dcm, ... in any order, deflated, then `md5hashes.csv` with the columns `Filename` and
`MD5Hash`. An error in its middle goes unreported: the archive ends there, in good order, but without that last file.
"""

from __future__ import annotations

import csv
import hashlib
import io
import re
import shutil
import stat
import struct
import zipfile
import zlib
from pathlib import Path

from quietct.errors import UserError

MD5_LIST, LICENCE = "md5hashes.csv", "LICENSE"
MAX_LIST_BYTES = 4_000_000  # some 80,000 images
CHUNK = 1 << 18

# What zipfile raises for damaged bytes. UnicodeDecodeError is a ValueError.
UNREADABLE = (
    zipfile.BadZipFile,
    zlib.error,
    struct.error,
    csv.Error,
    EOFError,
    ValueError,
    OverflowError,
    NotImplementedError,
    RuntimeError,
)


class DamagedArchiveError(UserError):
    """An archive that came damaged or not whole; sent anew it may be well."""


def unpack(archive: Path, folder: Path, max_bytes: int) -> list[Path]:
    """Write the images of an archive into a folder.

    The names in the archive name no file: the images become 00000001.dcm, ... in the archive's order. An archive with
    an entry that no image server has a reason to send is refused as a whole, before anything is written.

    Parameters
    ----------
    archive : Path
        What the server sent.
    folder : Path
        Where to write; made if absent, and gone after an error.
    max_bytes : int
        The most that all images together may have.

    Returns
    -------
    list of Path
        The images, one at least.

    Raises
    ------
    DamagedArchiveError
        If the archive is none, is cut or corrupt, or an MD5 is missing or wrong.
    UserError
        If the archive has an unsafe entry, more than `max_bytes`, or no image at all.
    """
    _require_archive(archive)
    try:
        with zipfile.ZipFile(archive) as opened:
            images = _safe_images(opened, archive.name, max_bytes)
            digests = _read_digests(opened, archive.name)
            _compare(set(images), set(digests), archive.name)
            folder.mkdir(parents=True, exist_ok=True)  # of a killed process
            return [
                _extract(opened, entry, folder / f"{k:08}.dcm", digests[name])
                for k, (name, entry) in enumerate(images.items(), start=1)
            ]
    except BaseException as error:
        shutil.rmtree(folder, ignore_errors=True)
        if isinstance(error, UNREADABLE):
            raise DamagedArchiveError(
                f"The archive {archive.name} is corrupt or cut: it was damaged on its way, or the server broke off."
            ) from error
        raise


def _require_archive(archive: Path) -> None:
    """Say what came if it isn't even the start of a .zip file; its text is not quoted, as it may say anything."""
    with archive.open("rb") as file:
        start = file.read(64).lstrip()
    if start.startswith((b"PK\x03\x04", b"PK\x05\x06")):
        return
    if not start:
        what = "an empty answer, as for a series that it does not know"
    elif start.startswith(b"<"):
        what = "a web page"
    else:
        what = "something that is no .zip file"
    raise DamagedArchiveError(f"In place of the archive {archive.name} the server sent {what}.")


def _safe_images(opened: zipfile.ZipFile, archive: str, max_bytes: int) -> dict[str, zipfile.ZipInfo]:
    """Name the entries that are images, after all entries were found harmless."""
    entries: dict[str, zipfile.ZipInfo] = {}
    for entry in opened.infolist():
        # Python cuts a name at a NUL and changes its separators; what the archive says is in `orig_filename`.
        name = entry.orig_filename
        kind = stat.S_IFMT(entry.external_attr >> 16)
        if name in entries:
            fault = "is there twice"
        elif not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9._-]{0,127}", name):
            fault = "is no plain file name"
        elif kind not in (0, stat.S_IFREG):
            fault = "is a link or another special file"
        elif entry.flag_bits & 0x1:
            fault = "is encrypted"
        elif entry.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
            # The others' decompressors give any amount at once, however little one asks for.
            fault = "is compressed in a way that the server never uses"
        else:
            entries[name] = entry
            continue
        raise UserError(
            f"Entry {_shown(name)} of the archive {archive} {fault}. Such an archive is not unpacked: "
            "the server or something on the way to it is not to be trusted; try source `idc`."
        )
    total = sum(entry.file_size for entry in entries.values())
    if total > max_bytes:  # zipfile gives no more of an entry than its declared size
        raise UserError(
            f"The archive {archive} would unpack to {total / 1e6:,.0f} MB; no more than {max_bytes / 1e6:,.0f} MB "
            "can be right. It is not unpacked; try source `idc`."
        )
    return {name: entry for name, entry in entries.items() if name not in (MD5_LIST, LICENCE)}


def _read_digests(opened: zipfile.ZipFile, archive: str) -> dict[str, str]:
    """Read the MD5 of every file, by its name in the archive."""
    if MD5_LIST not in opened.namelist():
        raise DamagedArchiveError(
            f"The archive {archive} has no {MD5_LIST}, which the server writes last: it broke off before its end."
        )
    if opened.getinfo(MD5_LIST).file_size > MAX_LIST_BYTES:
        raise UserError(f"{MD5_LIST} in the archive {archive} is too long to be a list of images. Try source `idc`.")
    text = opened.read(MD5_LIST).decode("ascii")
    rows = [row for row in csv.reader(io.StringIO(text)) if row]
    if not rows or rows[0] != ["Filename", "MD5Hash"]:
        raise DamagedArchiveError(f"{MD5_LIST} in the archive {archive} does not begin with Filename,MD5Hash.")
    # A digest that the server does not know is empty: such an image counts as one without a line.
    return {row[0]: digest for row in rows[1:] if len(row) == 2 and (digest := normal_digest(row[1]))}


def normal_digest(text: str) -> str | None:
    """Write an MD5 as 32 small hexadecimal digits, or None if it is none.

    NBIA once wrote them with Java's `BigInteger.toString(16)`, which leaves out leading zeros.
    """
    text = text.strip().lower()
    return text.zfill(32) if re.fullmatch(r"[0-9a-f]{24,32}", text) else None


def _compare(images: set[str], listed: set[str], archive: str) -> None:
    if not images and not listed:
        raise UserError(
            f"The archive {archive} holds no image: TCIA knows the series but shows none of it to the public."
        )
    if listed - images:
        raise DamagedArchiveError(
            f"The archive {archive} lacks {len(listed - images)} of the {len(listed)} images in its {MD5_LIST}, "
            f"{_shown(min(listed - images))} for one."
        )
    if images - listed:
        raise DamagedArchiveError(
            f"{MD5_LIST} in the archive {archive} has no MD5 of {len(images - listed)} of {len(images)} images, "
            f"{_shown(min(images - listed))} for one."
        )


def _extract(opened: zipfile.ZipFile, entry: zipfile.ZipInfo, path: Path, md5: str) -> Path:
    """Write one entry to a file, a chunk at a time."""
    digest = hashlib.md5(usedforsecurity=False)
    with opened.open(entry) as source, path.open("wb") as file:
        while chunk := source.read(CHUNK):  # checks the CRC at the end
            digest.update(chunk)
            file.write(chunk)
    if digest.hexdigest() != md5:
        raise DamagedArchiveError(
            f"Entry {_shown(entry.filename)} of the archive {Path(str(opened.filename)).name} has another MD5 than "
            f"{MD5_LIST} says: it was damaged on its way, or on the server."
        )
    return path


def _shown(name: str) -> str:
    """Write a name that a stranger chose in printable ASCII, and not too long."""
    text = ascii(name)
    return text if len(text) <= 80 else text[:77] + "..."
