"""Source `tcia` after a download that was killed, broke off or filled the disk: nothing whole is fetched again."""

import logging
import os
import signal
import subprocess
import sys
import time
import tracemalloc

import pytest
from nbia_series import (
    ARCHIVE,
    HEIGHTS,
    LIST,
    MD5,
    SERIES,
    SINGLE,
    archive_with,
    assert_one_sentence,
    in_order,
    make_images,
)
from nbia_server import OUTAGE, Fault, archive_of

from quietct.ct.sources import fetch_series
from quietct.errors import UserError

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
