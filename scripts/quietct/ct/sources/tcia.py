"""Source `tcia`: a series of The Cancer Imaging Archive, by the REST API v4 of its server NBIA, without an account.

The series comes as one archive with the MD5 of every image. The server writes it as it goes, with the time of day in
it: it has no size beforehand, is never twice the same, and cannot be continued. So when it breaks off, the images that
are whole by then are taken out of it, and the others are asked for one by one, each with its MD5. If the server doesn't
give them one by one, the archive is fetched anew.

What the server does was read in its source (github.com/CBIIT/NBIA-TCIA, nbia-api, restAPI/v4).
"""

from __future__ import annotations

import hashlib
import json
import logging
import os
import re
import shutil
from collections.abc import Callable, Mapping
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import requests

from quietct.ct.sources.archive import DamagedArchiveError, normal_digest, unpack
from quietct.ct.sources.checks import check_series
from quietct.ct.sources.download import Policy, RefusedError, fetch_file, get_text, new_session
from quietct.ct.sources.progress import Progress
from quietct.ct.sources.salvage import whole_files
from quietct.ct.sources.work_area import deliver, open_work_area
from quietct.errors import UserError

logger = logging.getLogger(__name__)

ENDPOINT = "https://nbia.cancerimagingarchive.net/nbia-api/services/v4"
LARGEST_SERIES = 20_000_000_000  # bytes, of a series that isn't in the collection's table


class _BrokenOffError(Exception):
    """The archive broke off in its middle; what came is still there."""


def fetch(
    dest: Path,
    location: str | None = None,
    series_instance_uid: str | None = None,
    expected: Mapping[str, Any] | None = None,
    downloads: str | Path = "resources/downloads",
    endpoint: str = ENDPOINT,
    bandwidth_mbit: float | None = None,
    retries: int = Policy.retries,
    timeout_s: float = Policy.timeout_s,
    **_: Any,
) -> None:
    """Download a series that TCIA shows to everybody.

    A download that was killed or broke off goes on with the images that are still missing.

    Parameters
    ----------
    dest : Path
        An empty folder; gets 0001.dcm, 0002.dcm, ... in the order of the slices' position.
    location : str, optional
        Not used.
    series_instance_uid : str
        Which series.
    expected : mapping, optional
        Its row in the table of the collection, for `quietct.ct.sources.checks.check_amount`.
    downloads : path
        Where the images wait until all are there, in a folder named by the series.
    endpoint : str
        URL of the REST API.
    bandwidth_mbit : float, optional
        What the download may use (Mbit/s).
    retries : int
        Further attempts after the first, for the archive or per image.
    timeout_s : float
        How long (s) to wait for a silent server.

    Raises
    ------
    UserError
        If the server cannot be reached or doesn't hold the series as it should be, what it sends is not safe to unpack,
        or the disk is full.
    """
    area = open_work_area(downloads, series_instance_uid)
    series, size = str(series_instance_uid), None if expected is None else round(float(expected["size_mb"]) * 1e6)
    policy = Policy(retries=retries, timeout_s=timeout_s, bandwidth_mbit=bandwidth_mbit)
    with new_session() as session:
        images = _fetch_images(_Nbia(session, endpoint.rstrip("/"), policy, series, size), area)
    try:
        slices = check_series(images, series, expected, "TCIA")
    except UserError:
        shutil.rmtree(area)  # every image has its MD5: it is the server that has them wrong
        raise
    deliver(slices, dest, area)
    logger.info("TCIA: %d slices of series %s", len(slices), series)


@dataclass(frozen=True)
class _Nbia:
    """The server, asked for one series."""

    session: requests.Session
    endpoint: str
    policy: Policy
    series: str
    size: int | None  # of all images (bytes), if known

    @property
    def max_bytes(self) -> int:
        """The most that all images together can have."""
        return LARGEST_SERIES if self.size is None else 2 * self.size

    def fetch_archive(self, path: Path, start_over: bool) -> None:
        """Fetch the archive; where it breaks off, start over or raise `_BrokenOffError`."""
        with closing(Progress(self.series, self.size)) as progress:

            def watch(new_bytes: int) -> None:
                if new_bytes < 0 and not start_over:  # said before what came is thrown away
                    raise _BrokenOffError
                progress(new_bytes)
                if progress.done > self.max_bytes:
                    path.with_name(path.name + ".part").unlink()
                    raise UserError(
                        f"TCIA has sent more than {self.max_bytes / 1e6:,.0f} MB as the archive of series "
                        f"{self.series}, which cannot be right. Try source `idc`."
                    )

            try:
                self._fetch("getImageWithMD5Hash", path, watch)
            except RefusedError as error:
                if error.status not in (400, 401, 403):
                    raise
                raise UserError(
                    f"TCIA shows no series {self.series} to the public (its server answers {error.status}). Check the "
                    "UID; some collections need an account or are on another server. Try source `idc`."
                ) from error

    def fetch_image(self, image: str, path: Path, md5: str, progress: Progress) -> None:
        """Fetch one image."""
        self._fetch("getSingleImage", path, progress, md5, SOPInstanceUID=image)

    def _fetch(
        self, call: str, path: Path, progress: Callable[[int], None], md5: str | None = None, **query: str
    ) -> None:
        params = {"SeriesInstanceUID": self.series, **query}
        url = f"{self.endpoint}/{call}"
        fetch_file(self.session, url, path, self.policy, params=params, md5=md5, progress=progress)

    def _text(self, call: str, **query: str) -> str:
        return get_text(self.session, f"{self.endpoint}/{call}", self.policy, params=query)

    def image_uids(self) -> list[str]:
        """Ask for the SOPInstanceUIDs of the series."""
        text = self._text("getSOPInstanceUIDs", SeriesInstanceUID=self.series, format="json")
        try:
            uids = [str(row["SOPInstanceUID"]) for row in json.loads(text)]
        except (ValueError, TypeError, KeyError):
            uids = []
        if not uids or not all(re.fullmatch(r"[0-9.]{1,64}", uid) for uid in uids):  # they become file names
            raise UserError(f"TCIA does not list the images of series {self.series}.")
        return uids

    def md5(self, image: str) -> str:
        """Ask for the MD5 of an image."""
        digest = normal_digest(self._text("getMD5HashForImage", SOPInstanceUID=image))
        if digest is None:
            raise UserError(f"TCIA gives no MD5 of image {image} of series {self.series}.")
        return digest


def _fetch_images(nbia: _Nbia, area: Path) -> list[Path]:
    """Bring all images of the series into the work area, each with the right MD5."""
    archive, part = area / f"{nbia.series}.zip", area / f"{nbia.series}.zip.part"
    broken_off = not archive.exists() and (part.exists() or any(area.glob("*.dcm")))
    if not archive.exists() and not broken_off:
        try:
            nbia.fetch_archive(archive, start_over=False)
        except _BrokenOffError:
            broken_off = True
    if broken_off:
        try:
            return _fetch_one_by_one(nbia, area, part)
        except UserError as error:
            if isinstance(error.__cause__, OSError):  # a full disk, which is no fault of the server
                raise
            logger.warning("%s Fetching the whole archive instead.", error)
    return _unpack_archive(nbia, archive, area / "images")


def _unpack_archive(nbia: _Nbia, archive: Path, folder: Path, is_last: bool = False) -> list[Path]:
    """Unpack the archive; fetch it before if it isn't there, and once more if it is damaged."""
    if not archive.exists():
        nbia.fetch_archive(archive, start_over=True)
    try:
        return unpack(archive, folder, nbia.max_bytes)
    except UserError as error:
        archive.unlink()
        if is_last or not isinstance(error, DamagedArchiveError):
            raise
        logger.warning("%s Fetching it anew.", error)
    return _unpack_archive(nbia, archive, folder, is_last=True)


def _fetch_one_by_one(nbia: _Nbia, area: Path, part: Path) -> list[Path]:
    """Take the whole images out of an archive that broke off, and fetch those that are missing then."""
    files = {image: area / f"{image}.dcm" for image in nbia.image_uids()}
    logger.info("Series %s: its archive broke off, asking for the MD5s of single images", nbia.series)
    missing = {image: nbia.md5(image) for image, file in files.items() if not file.exists()}
    if part.exists():
        _salvage(part, {md5: files[image] for image, md5 in missing.items()}, area / "salvaged.part", nbia.max_bytes)
    here = [file for file in files.values() if file.exists()]
    logger.info(
        "Series %s: %d of %d images are there, fetching the others one by one", nbia.series, len(here), len(files)
    )
    with closing(Progress(nbia.series, nbia.size, sum(file.stat().st_size for file in here))) as progress:
        for image, md5 in missing.items():
            nbia.fetch_image(image, files[image], md5, progress)
    return list(files.values())


def _salvage(part: Path, files: Mapping[str, Path], scratch: Path, max_bytes: int) -> None:
    """Take the images that are whole out of an archive that broke off; `files` says by their MD5 where they go."""
    for _ in whole_files(part, scratch, max_bytes):
        with scratch.open("rb") as file:
            target = files.get(hashlib.file_digest(file, "md5").hexdigest())
        if target is not None:
            os.replace(scratch, target)
    part.unlink()
