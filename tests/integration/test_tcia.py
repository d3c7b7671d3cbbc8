"""Source `tcia` against a real HTTP server that speaks as NBIA does, and against everything that can go wrong."""

import logging
import os
import signal
import subprocess
import sys
import time
import tracemalloc
import zipfile
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from functools import partial
from io import BytesIO

import numpy as np
import pytest
from dicom_files import make_slice
from nbia_server import OUTAGE, Fault, NbiaServer, archive_of

from quietct.ct.sources import fetch_series, tcia
from quietct.ct.sources.download import Policy
from quietct.errors import UserError

SERIES, OTHER = "1.2.3.4.5", "1.2.3.4.6"
HEIGHTS = [6.0, 0.0, 9.0, 3.0]  # not in order, as in the server's database
ARCHIVE, SINGLE, LIST, MD5 = "getImageWithMD5Hash", "getSingleImage", "getSOPInstanceUIDs", "getMD5HashForImage"


def make_images(series=SERIES, heights=HEIGHTS, size=(64, 64), seed=1):
    """Images of noise, which does not deflate, by SOPInstanceUID."""
    rng, images = np.random.default_rng(seed), {}
    for k, z in enumerate(heights):
        stored = rng.integers(0, 65536, size, dtype=np.uint16)
        uid, file = f"{series}.{k + 1}", BytesIO()
        make_slice(z, stored, SeriesInstanceUID=series, SOPInstanceUID=uid).save_as(file, enforce_file_format=True)
        images[uid] = file.getvalue()
    return images


def in_order(images, heights=HEIGHTS):
    return [data for _, data in sorted(zip(heights, images.values(), strict=True))]


def table_row(images):
    size_mb = sum(map(len, images.values())) / 1e6
    return {"n_slices": len(images), "size_mb": size_mb, "usual_n_slices": len(images)}


@pytest.fixture
def nbia():
    with NbiaServer() as server:
        server.series[SERIES] = make_images()
        yield server


@pytest.fixture
def area(tmp_path):
    """The work area of the series."""
    folder = tmp_path / "downloads" / SERIES
    folder.mkdir(parents=True)
    return folder


@pytest.fixture
def fetch(nbia, tmp_path, monkeypatch):
    """Fetch the series and give the files in order; `expected` is its row in the table."""

    monkeypatch.setattr(tcia, "Policy", partial(Policy, first_wait_s=0.01))

    def fetched(uid=SERIES, expected=None, retries=2, timeout_s=5):
        dest = tmp_path / "dicom" / uid
        fetch_series(
            "tcia",
            None,
            dest,
            series_instance_uid=uid,
            expected=table_row(nbia.series[SERIES]) if expected is None else expected,
            downloads=str(tmp_path / "downloads"),
            endpoint=nbia.endpoint,
            bandwidth_mbit=None,
            retries=retries,
            timeout_s=timeout_s,
        )
        files = sorted(dest.iterdir())
        assert [file.name for file in files] == [f"{k:04}.dcm" for k in range(1, len(files) + 1)]
        assert not (tmp_path / "downloads" / uid).exists()
        return [file.read_bytes() for file in files]

    return fetched


@pytest.fixture
def nothing_wrong_left(nbia, tmp_path):
    """Whatever is left after an error: no series, and in the work area only images that are right, or a beginning."""

    def check():
        assert not (tmp_path / "dicom" / SERIES).exists()
        assert not any(path for path in (tmp_path / "dicom").rglob("*"))
        right = set(nbia.series[SERIES].values())
        for path in (tmp_path / "downloads").rglob("*"):
            if path.is_file() and path.suffix != ".part":
                assert path.read_bytes() in right
        names = {path.name for path in tmp_path.iterdir()}
        assert names <= {"dicom", "downloads"}

    return check


def assert_one_sentence(error, *words):
    text = str(error.value)
    assert all(word in text for word in words), text
    assert "\n" not in text
    assert len(text) < 500


def test_a_series_is_fetched_checked_and_put_in_order(nbia, fetch):
    assert fetch() == in_order(nbia.series[SERIES])
    assert nbia.calls == {ARCHIVE: 1}


def test_a_series_that_is_in_no_table_is_fetched_too(nbia, fetch, tmp_path):
    fetch_series(
        "tcia", None, tmp_path / "x", series_instance_uid=SERIES, downloads=tmp_path / "d", endpoint=nbia.endpoint + "/"
    )
    assert [path.read_bytes() for path in sorted((tmp_path / "x").iterdir())] == in_order(nbia.series[SERIES])


def archive_with(**changes):
    """The right archive with other entries, digests or none."""
    images = {f"{k:08}.dcm": data for k, data in enumerate(make_images().values(), start=1)}
    return archive_of(images | changes.pop("images", {}), **changes)


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


# The calls for single images fail in some way: then the archive comes anew, whole.
NO_SINGLE_IMAGES = {
    "no such call": {MD5: Fault(status=404)},
    "list refused": {LIST: Fault(status=400)},
    "list empty": {LIST: Fault(body=b"")},
    "list is a page": {LIST: Fault(body=OUTAGE)},
    "list of other things": {LIST: Fault(body=b'{"a": 1}')},
    "no MD5": {MD5: Fault(body=b"")},
    "null for an MD5": {MD5: Fault(body=b"null")},
    "wrong MD5": {MD5: Fault(body=b"0" * 32)},
    "image refused": {SINGLE: Fault(status=404)},
    "image is a page": {SINGLE: Fault(body=OUTAGE)},
}


@pytest.mark.parametrize("case", NO_SINGLE_IMAGES)
def test_if_single_images_are_not_to_be_had_the_archive_is_fetched_anew(nbia, fetch, caplog, case):
    nbia.faults = {call: [fault] for call, fault in NO_SINGLE_IMAGES[case].items()} | {
        ARCHIVE: [Fault(cut_at=12_000), Fault()]
    }
    nbia.for_ever = True
    with caplog.at_level(logging.WARNING):
        assert fetch(retries=0) == in_order(nbia.series[SERIES])
    assert nbia.calls[ARCHIVE] == 2
    assert "Fetching the whole archive instead." in caplog.text


def test_no_uid_in_the_list_names_a_file_outside(nbia, fetch, tmp_path):
    images = make_images(heights=[*HEIGHTS, 12.0])
    nbia.series[SERIES] = images | {"../../evil": images.pop(f"{SERIES}.5")}
    nbia.faults[ARCHIVE] = [Fault(cut_at=12_000)]
    assert fetch() == in_order(nbia.series[SERIES], [*HEIGHTS, 12.0])
    assert not nbia.calls[SINGLE]
    assert not list(tmp_path.rglob("evil*"))


def test_what_breaks_off_again_and_again_gets_there_without_fetching_an_image_twice(nbia, fetch):
    nbia.series[SERIES] = make_images(heights=list(range(10)))
    nbia.faults[ARCHIVE] = [Fault(cut_at=40_000)]  # four images and a half
    nbia.faults[SINGLE] = [Fault(cut_at=1000), Fault(status=503), Fault(), Fault(cut_at=8000), Fault(end_at=99)]
    assert fetch(retries=3) == list(nbia.series[SERIES].values())
    assert not {f"{SERIES}.{k}" for k in (1, 2, 3, 4)} & set(nbia.images_sent)
    assert set(nbia.images_sent) == {f"{SERIES}.{k}" for k in range(5, 11)}


PROGRAM = """
import sys
from quietct.ct.sources import fetch_series
downloads, dest, endpoint, uid = sys.argv[1:]
fetch_series("tcia", None, dest, series_instance_uid=uid, downloads=downloads, endpoint=endpoint, timeout_s=5)
"""


def kill_when(condition, tmp_path, nbia, repository):
    """Start a fetch in a process of its own and kill it, as nothing else can stop it, when a condition holds."""
    command = [
        sys.executable,
        "-c",
        PROGRAM,
        tmp_path / "downloads",
        tmp_path / "dicom" / SERIES,
        nbia.endpoint,
        SERIES,
    ]
    environment = os.environ | {"PYTHONPATH": str(repository / "scripts")}
    with subprocess.Popen(list(map(str, command)), env=environment, stderr=subprocess.PIPE) as process:
        deadline = time.monotonic() + 30
        while not condition() and process.poll() is None and time.monotonic() < deadline:
            time.sleep(0.01)
        process.send_signal(signal.SIGKILL)
        process.wait()
    assert process.returncode == -signal.SIGKILL
    assert condition()


def test_a_killed_fetch_goes_on_with_what_is_missing(nbia, fetch, tmp_path, repository):
    nbia.series[SERIES] = make_images(heights=list(range(10)))
    area = tmp_path / "downloads" / SERIES

    def archive_is_half():
        return any(part.stat().st_size > 40_000 for part in area.glob("*.zip.part"))

    nbia.faults[ARCHIVE] = [Fault(stall_at=45_000)]
    kill_when(archive_is_half, tmp_path, nbia, repository)
    whole = 4
    assert not list((tmp_path / "dicom").glob("[!.]*"))

    def two_more_are_there():
        return len(list(area.glob("*.dcm"))) == whole + 2

    nbia.faults[SINGLE] = [Fault(), Fault(), Fault(stall_at=500)]
    kill_when(two_more_are_there, tmp_path, nbia, repository)
    assert not list((tmp_path / "dicom").glob("[!.]*"))
    assert set(nbia.images_sent) <= {f"{SERIES}.{k}" for k in (5, 6, 7)}

    finished = {file: file.stat().st_ino for file in area.glob("*.dcm")}
    asked = nbia.images_sent.copy()
    assert fetch() == list(nbia.series[SERIES].values())
    assert nbia.calls[ARCHIVE] == 1
    assert nbia.calls[MD5] == 10 + 10 - len(finished)
    again = {uid for uid, times in nbia.images_sent.items() if times > asked[uid]}
    assert again == {f"{SERIES}.{k}" for k in range(1, 11)} - {file.stem for file in finished}


def test_a_fetch_killed_while_it_unpacks_needs_no_server_any_more(nbia, fetch, tmp_path):
    area = tmp_path / "downloads" / SERIES
    area.mkdir(parents=True)
    images = nbia.series[SERIES].values()
    (area / f"{SERIES}.zip").write_bytes(archive_of({f"{k:08}.dcm": data for k, data in enumerate(images, start=1)}))
    (area / "images").mkdir()
    (area / "images" / "00000001.dcm").write_bytes(b"the first bytes")
    assert fetch() == in_order(nbia.series[SERIES])
    assert not nbia.calls


FULL = {
    "archive": (f"{SERIES}.zip.part", {LIST: Fault(status=400)}),
    "unpacking": ("images/00000002.dcm", {}),
    "salvaging": ("salvaged.part", {ARCHIVE: Fault(cut_at=12_000)}),
    "single image": (f"{SERIES}.3.dcm.part", {ARCHIVE: Fault(cut_at=12_000)}),
}


@pytest.mark.parametrize("case", FULL)
def test_a_full_disk_is_one_sentence_and_freed_space_is_enough_to_go_on(nbia, fetch, area, tmp_path, case):
    """/dev/full answers every write with the error of a full disk."""
    file, faults = FULL[case]
    (area / file).parent.mkdir(exist_ok=True)
    (area / file).symlink_to("/dev/full")
    if case == "unpacking":
        (area / f"{SERIES}.zip").write_bytes(archive_with())
    nbia.faults = {call: [fault] for call, fault in faults.items()}
    with pytest.raises(UserError) as error:
        fetch(retries=0)
    assert_one_sentence(error, "disk is full")
    assert list((tmp_path / "dicom").iterdir()) == []
    (area / file).unlink(missing_ok=True)
    assert fetch() == in_order(nbia.series[SERIES])
    assert nbia.calls[ARCHIVE] == {"archive": 2, "unpacking": 0}.get(case, 1)


def test_memory_does_not_grow_with_the_series(nbia, tmp_path):
    nbia.series[SERIES] = make_images(heights=list(range(12)), size=(1024, 1024))  # 25 MB
    nbia.archives[SERIES] = archive_of({f"{k}.dcm": data for k, data in enumerate(nbia.series[SERIES].values())})
    nbia.faults[ARCHIVE] = [Fault(cut_at=10_000_000), Fault()]
    peaks = []
    for uid in ("one by one", "archive"):
        tracemalloc.start()
        try:
            about = {"series_instance_uid": SERIES, "downloads": tmp_path, "endpoint": nbia.endpoint}
            fetch_series("tcia", None, tmp_path / uid, **about)
            peaks.append(tracemalloc.get_traced_memory()[1])
        finally:
            tracemalloc.stop()
    assert nbia.calls[ARCHIVE] == 2
    assert max(peaks) < 6e6


def test_no_page_of_the_server_is_quoted(nbia, fetch, caplog):
    nbia.faults, nbia.for_ever = {ARCHIVE: [Fault(body=b"<html>Doe^Jane 1970-01-01</html>")]}, True
    with caplog.at_level(logging.DEBUG), pytest.raises(UserError) as error:
        fetch(retries=0)
    assert "Doe" not in str(error.value) + caplog.text
