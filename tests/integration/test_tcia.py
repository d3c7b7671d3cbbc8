"""Source `tcia` against a real HTTP server that speaks as NBIA does, and against everything that can go wrong."""

import logging
import time
import zipfile
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime

import pytest
from nbia_series import (
    ARCHIVE,
    LIST,
    MD5,
    OTHER,
    SERIES,
    SINGLE,
    archive_with,
    assert_one_sentence,
    in_order,
    make_images,
    table_row,
)
from nbia_server import OUTAGE, Fault, archive_of

from quietct.ct.sources import fetch_series
from quietct.errors import UserError


def test_a_series_is_fetched_checked_and_put_in_order(nbia, fetch):
    assert fetch() == in_order(nbia.series[SERIES])
    assert nbia.calls == {ARCHIVE: 1}


def test_a_series_that_is_in_no_table_is_fetched_too(nbia, fetch, tmp_path):
    fetch_series(
        "tcia", None, tmp_path / "x", series_instance_uid=SERIES, downloads=tmp_path / "d", endpoint=nbia.endpoint + "/"
    )
    assert [path.read_bytes() for path in sorted((tmp_path / "x").iterdir())] == in_order(nbia.series[SERIES])


def flipped(data, place):
    return data[:place] + bytes([data[place] ^ 1]) + data[place + 1 :]


# What passes: each is gone at the next attempt.
PASSING = {
    "503 with Retry-After": ([Fault(status=503, headers={"Retry-After": "0"})] * 2, {ARCHIVE: 3}),
    "429 with a date": ([Fault(status=429, headers={"Retry-After": "DATE"})], {ARCHIVE: 2}),
    "outage": ([Fault(status=500)], {ARCHIVE: 2}),
    "web page as archive": ([Fault(body=OUTAGE)], {ARCHIVE: 2}),
    "JSON as archive": ([Fault(body=b'{"message": "busy"}')], {ARCHIVE: 2}),
    "empty answer": ([Fault(body=b"")], {ARCHIVE: 2}),
    "corrupt archive": ([Fault(body=flipped(archive_with(), 5000))], {ARCHIVE: 2}),
    "archive that ends early in good order": ([Fault(end_at=9000)], {ARCHIVE: 2}),
    "archive without list": ([Fault(body=archive_with(listed=False))], {ARCHIVE: 2}),
    "wrong MD5": ([Fault(body=archive_with(digests={"00000002.dcm": "0" * 32}))], {ARCHIVE: 2}),
    "connection cut before the first byte": ([Fault(cut_at=0)], {ARCHIVE: 2}),
    # The first image is whole and not asked for again.
    "connection cut": ([Fault(cut_at=12_000)], {ARCHIVE: 1, LIST: 1, MD5: 4, SINGLE: 3}),
    "stall": ([Fault(stall_at=12_000)], {ARCHIVE: 1, LIST: 1, MD5: 4, SINGLE: 3}),
}


@pytest.mark.parametrize("case", PASSING)
def test_what_passes_is_overcome(nbia, fetch, case):
    faults, calls = PASSING[case]
    date = format_datetime(datetime.now(UTC) + timedelta(seconds=1), usegmt=True)
    for fault in faults:
        fault.headers = {name: value.replace("DATE", date) for name, value in fault.headers.items()}
    nbia.faults[ARCHIVE] = list(faults)
    assert fetch(timeout_s=1 if case == "stall" else 5) == in_order(nbia.series[SERIES])
    assert nbia.calls == calls


def test_a_server_that_asks_to_wait_is_given_the_time(nbia, fetch):
    nbia.faults[ARCHIVE] = [Fault(status=503, headers={"Retry-After": "2"})]
    start = time.monotonic()
    fetch()
    assert time.monotonic() - start >= 2


# What does not pass: the fault of each call, and words of the sentence.
LASTING = {
    "503": ({ARCHIVE: Fault(status=503, headers={"Retry-After": "0"})}, "503"),
    "outage": ({ARCHIVE: Fault(status=500)}, "500"),
    "not found": ({ARCHIVE: Fault(status=404)}, "404"),
    "forbidden": ({ARCHIVE: Fault(status=403)}, "idc"),
    "web page": ({ARCHIVE: Fault(body=OUTAGE)}, "a web page"),
    "text": ({ARCHIVE: Fault(body=b"sorry")}, "no .zip file"),
    "empty": ({ARCHIVE: Fault(body=b"")}, "empty answer"),
    "corrupt": ({ARCHIVE: Fault(body=flipped(archive_with(), 5000))}, "corrupt"),
    "cut short": ({ARCHIVE: Fault(end_at=9000)}, "cut"),
    "no list": ({ARCHIVE: Fault(body=archive_with(listed=False))}, "no md5hashes.csv"),
    "wrong MD5": ({ARCHIVE: Fault(body=archive_with(digests={"00000002.dcm": "0" * 32}))}, "another MD5"),
    "no MD5": ({ARCHIVE: Fault(body=archive_with(digests={"00000002.dcm": ""}))}, "no MD5 of 1 of 4"),
    "no images": ({ARCHIVE: Fault(body=archive_of({}))}, "no image"),
    "entry above": ({ARCHIVE: Fault(body=archive_with(extra=[("../evil.dcm", b"x")]))}, "'../evil.dcm'"),
    "absolute entry": ({ARCHIVE: Fault(body=archive_with(extra=[("/evil.dcm", b"x")]))}, "'/evil.dcm'"),
    "bomb": ({ARCHIVE: Fault(body=archive_with(extra=[("1.dcm", bytes(9_000_000))]))}, "would unpack to 9 MB"),
    "far too much": ({ARCHIVE: Fault(body=b"PK\x03\x04" + bytes(1_000_000))}, "cannot be right"),
    "not DICOM": ({ARCHIVE: Fault(body=archive_of(dict.fromkeys(["1.dcm"], bytes(33_000))))}, "TCIA"),
}


@pytest.mark.parametrize("case", LASTING)
def test_what_does_not_pass_ends_in_one_sentence(nbia, fetch, nothing_wrong_left, tmp_path, case):
    faults, words = LASTING[case]
    nbia.faults, nbia.for_ever = {call: [fault] for call, fault in faults.items()}, True
    with pytest.raises(UserError) as error:
        fetch(retries=1)
    assert_one_sentence(error, words)
    nothing_wrong_left()
    assert not any(path.is_file() for path in tmp_path.rglob("*"))
    nbia.faults = {}
    assert fetch() == in_order(nbia.series[SERIES])


def symlink_entry():
    entry = zipfile.ZipInfo("00000009.dcm")
    entry.external_attr = 0o120777 << 16
    return entry


def changed_series(kind):
    """What a server may hold in place of the series, every image with its right MD5."""
    images = make_images()
    strangers = make_images(OTHER, seed=2)
    if kind == "missing slice":
        images.popitem()
    if kind == "slice of another series":
        images.popitem()
        images |= dict([strangers.popitem()])
    if kind == "slice too many":
        images |= {f"{SERIES}.9": next(iter(make_images(seed=3, heights=[12.0]).values()))}
    if kind == "one slice twice":
        images[f"{SERIES}.2"] = images[f"{SERIES}.1"]
    if kind == "a file that is no DICOM":
        images[f"{SERIES}.2"] = b"x" * len(images[f"{SERIES}.2"])
    return images


@pytest.mark.parametrize(
    "kind",
    ["missing slice", "slice of another series", "slice too many", "one slice twice", "a file that is no DICOM"],
)
@pytest.mark.parametrize("way", ["archive", "one by one"])
def test_a_server_that_holds_another_series_is_found_out(nbia, fetch, tmp_path, kind, way):
    row = table_row(nbia.series[SERIES])
    nbia.series[SERIES] = changed_series(kind)
    if way == "one by one":
        nbia.faults[ARCHIVE] = [Fault(cut_at=12_000)]
    with pytest.raises(UserError) as error:
        fetch(expected=row)
    assert_one_sentence(error, "TCIA")
    assert (nbia.calls[SINGLE] > 0) == (way == "one by one")
    assert not [path for path in tmp_path.rglob("*") if path.is_file()]
    nbia.series[SERIES] = make_images()
    assert fetch(expected=row) == in_order(nbia.series[SERIES])


def test_a_symlink_in_the_archive_is_refused_and_not_fetched_twice(nbia, fetch, nothing_wrong_left):
    nbia.archives[SERIES] = archive_with(extra=[(symlink_entry(), b"/etc/passwd")])
    with pytest.raises(UserError) as error:
        fetch()
    assert_one_sentence(error, "is a link", "not unpacked")
    assert nbia.calls == {ARCHIVE: 1}
    nothing_wrong_left()


def test_a_series_of_another_server_is_said_to_be_unknown(fetch, nothing_wrong_left):
    with pytest.raises(UserError) as error:
        fetch(uid="1.2.840.113654.2.55.1")
    assert_one_sentence(error, "1.2.840.113654.2.55.1", "400", "idc")
    nothing_wrong_left()


def test_without_a_server_the_sentence_names_the_ways_to_work_offline(nbia, fetch, nothing_wrong_left):
    nbia.__exit__()
    with pytest.raises(UserError) as error:
        fetch(retries=0)
    assert_one_sentence(error, "refuses", "resources/dicom/", "directory", "phantom")
    nothing_wrong_left()
    nbia.__enter__()


def test_a_wrong_uid_reaches_no_server_and_no_folder(nbia, fetch, tmp_path):
    with pytest.raises(UserError) as error:
        fetch(uid="../1.2.3")
    assert_one_sentence(error, "series_instance_uid")
    assert not nbia.calls
    assert not (tmp_path / "1.2.3").exists()


def test_no_page_of_the_server_is_quoted(nbia, fetch, caplog):
    nbia.faults, nbia.for_ever = {ARCHIVE: [Fault(body=b"<html>Doe^Jane 1970-01-01</html>")]}, True
    with caplog.at_level(logging.DEBUG), pytest.raises(UserError) as error:
        fetch(retries=0)
    assert "Doe" not in str(error.value) + caplog.text
