"""Source `idc`: a series from the public buckets of the NCI Imaging Data Commons, without an account.

Over plain HTTPS, not by s5cmd 2.3: that takes wrong bytes and web pages for images, waits for a silent server for ever,
and begins a file anew after a kill.
"""

from __future__ import annotations

import logging
import re
import shutil
import threading
from collections.abc import Mapping
from contextlib import closing
from dataclasses import dataclass, replace
from multiprocessing.pool import ThreadPool
from pathlib import Path
from typing import Any
from urllib.parse import quote
from xml.etree import ElementTree

import requests

from quietct.ct.sources.checks import check_amount, check_series
from quietct.ct.sources.download import Policy, fetch_file, get_text, is_fetched, new_session
from quietct.ct.sources.progress import Progress
from quietct.ct.sources.work_area import deliver, open_work_area
from quietct.errors import UserError

logger = logging.getLogger(__name__)

ENDPOINT = "https://s3.amazonaws.com"
CONNECTIONS = 4  # files are small (0.5 MB), so that waiting for the server's answer takes longer than the transfer
MOST_PAGES = 100  # of 1000 objects each


@dataclass(frozen=True)
class StoredFile:
    """A file in a bucket: its key, size (bytes), and MD5 hash if the server tells it."""

    key: str
    size: int
    md5: str | None

    @property
    def name(self) -> str:
        """The last part of the key."""
        return self.key.rpartition("/")[2]


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
    """Download a series from a bucket that anybody may read.

    Files that an earlier, broken-off download left in `downloads` are not fetched again.

    Parameters
    ----------
    dest : Path
        An empty folder; gets 0001.dcm, 0002.dcm, ... in the order of the slices' position.
    location : str, optional
        `s3://bucket/folder`, for a series that is not in the table of the collection.
    series_instance_uid : str
        Which series.
    expected : mapping, optional
        Its row in the table of the collection: `crdc_series_uuid`, `aws_bucket`, and what
        `quietct.ct.sources.checks.check_amount` compares.
    downloads : path
        Where the files wait until all are there, in a folder named by the series.
    endpoint : str
        URL of the S3 service; the bucket's name goes behind it.
    bandwidth_mbit : float, optional
        What the download may use (Mbit/s).
    retries : int
        Further attempts after the first, per file.
    timeout_s : float
        How long (s) to wait for a silent server.

    Raises
    ------
    UserError
        If the bucket cannot be reached or doesn't hold the series as it should be, or the disk is full.
    """
    area = open_work_area(downloads, series_instance_uid)
    bucket, prefix = _place(location, expected, series_instance_uid)
    url = f"{endpoint.rstrip('/')}/{quote(bucket)}"
    place = f"{url}/{prefix}"
    policy = Policy(retries=retries, timeout_s=timeout_s, bandwidth_mbit=bandwidth_mbit)
    with new_session() as session:
        stored = list_files(session, url, prefix, policy)
        check_amount(len(stored), sum(file.size for file in stored), expected, place)
        _download(session, url, stored, area, policy, str(series_instance_uid))
    try:
        slices = check_series([area / file.name for file in stored], str(series_instance_uid), expected, place)
    except UserError:
        shutil.rmtree(area)  # each file is as the bucket has it, and would fail again
        raise
    deliver(slices, dest, area)
    logger.info("%s: %d slices of series %s", place, len(slices), series_instance_uid)


def _place(location: str | None, expected: Mapping[str, Any] | None, uid: str | None) -> tuple[str, str]:
    """Tell the bucket of a series and what the keys of its files begin with."""
    if location:
        match = re.fullmatch(r"s3://([^/]+)/(.*[^/])/*", location)
        if not match:
            raise UserError(f"The column `location` says {location!r}; source `idc` needs s3://bucket/folder there.")
        return match[1], match[2] + "/"
    if expected is None:
        raise UserError(
            f"Series {uid} is not in resources/phantom_fda_series.tsv; name its place, s3://bucket/folder, in the "
            "column `location`. The IDC portal shows it."
        )
    return str(expected["aws_bucket"]), f"{expected['crdc_series_uuid']}/"


def list_files(
    session: requests.Session, url: str, prefix: str, policy: Policy, page_size: int = 1000
) -> list[StoredFile]:
    """List the files of a folder in a bucket (S3 API, ListObjectsV2).

    Parameters
    ----------
    session : requests.Session
        From `new_session`.
    url : str
        Endpoint and bucket.
    prefix : str
        What the keys begin with; ends with a slash.
    policy : Policy
        How often and how long to try.
    page_size : int
        How many the server shall list at once.

    Raises
    ------
    UserError
        If the server doesn't answer with a list, or with an empty one, or files have names that no file should have.
    """
    files: list[StoredFile] = []
    params: dict[str, str | int] = {"list-type": 2, "prefix": prefix, "max-keys": page_size}
    for _ in range(MOST_PAGES):
        listing = _parsed(get_text(session, url, policy, params=params), url)
        found = [_stored_file(entry, prefix, url) for entry in listing.iterfind("{*}Contents")]
        files += [file for file in found if file.key != prefix]  # some tools make an empty object of the folder's name
        if listing.findtext("{*}IsTruncated") != "true":
            break
        params["continuation-token"] = listing.findtext("{*}NextContinuationToken") or ""
    else:
        raise UserError(f"{url} lists more than {len(files)} files for {prefix}, which cannot be one series.")
    if not files:
        raise UserError(f"{url} has no files whose keys begin with {prefix}. Check the place of the series.")
    return files


def _parsed(text: str, url: str) -> ElementTree.Element:
    try:
        if "<!DOCTYPE" in text or "<!ENTITY" in text:  # no listing has one, and entities can grow without bound
            raise ValueError
        root = ElementTree.fromstring(text)
        if root.tag.rpartition("}")[2] != "ListBucketResult":
            raise ValueError
    except (ElementTree.ParseError, ValueError) as error:
        raise UserError(
            f"{url} does not answer with a list of files. Check the endpoint and the bucket; a web page comes in its "
            "place if this network asks to log in first."
        ) from error
    return root


def _stored_file(entry: ElementTree.Element, prefix: str, url: str) -> StoredFile:
    key, size, etag = (entry.findtext(f"{{*}}{name}") or "" for name in ("Key", "Size", "ETag"))
    name = key.removeprefix(prefix)
    plain = re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9._-]{0,200}", name) and not name.endswith(".part")
    if not size.isdecimal() or not (plain or key == prefix):
        raise UserError(f"{url} lists a file {key!r} of {size or 'unknown'} bytes, which cannot belong to a series.")
    digest = re.fullmatch(r'"?([0-9a-fA-F]{32})"?', etag)  # others are of files that were uploaded in several parts
    return StoredFile(key, int(size), digest[1] if digest else None)


def _download(
    session: requests.Session, url: str, stored: list[StoredFile], area: Path, policy: Policy, name: str
) -> None:
    """Fetch what the work area doesn't hold yet, several files at a time."""
    missing = [file for file in stored if not is_fetched(area / file.name, file.size, file.md5)]
    total, left = (sum(file.size for file in files) for files in (stored, missing))
    share = policy.bandwidth_mbit and policy.bandwidth_mbit / CONNECTIONS
    stop = threading.Event()

    with closing(Progress(name, total, total - left)) as progress, ThreadPool(CONNECTIONS) as pool:

        def fetch_one(file: StoredFile) -> None:
            fetch_file(
                session,
                f"{url}/{quote(file.key)}",
                area / file.name,
                replace(policy, bandwidth_mbit=share),
                size=file.size,
                md5=file.md5,
                progress=progress,
                stop=stop,
            )

        try:
            for _ in pool.imap_unordered(fetch_one, missing):
                pass
        except Exception:
            stop.set()
            pool.close()
            pool.join()  # the others end at their next bytes; nobody writes into the work area after this
            raise
        finally:
            stop.set()
