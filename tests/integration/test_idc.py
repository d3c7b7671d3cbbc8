"""Source `idc` against moto's S3 server, and against a server that fails and lies as a test asks it to."""

import hashlib
import logging
import os
import signal
import subprocess
import sys
from io import BytesIO

import numpy as np
import pytest
import requests
from dicom_files import make_slice
from faulty_server import PAGE, Fault, FaultyServer, wait_for
from moto.server import ThreadedMotoServer

from quietct.ct.sources import fetch_series
from quietct.ct.sources.download import Policy, new_session
from quietct.ct.sources.idc import list_files
from quietct.ct.sources.work_area import open_work_area
from quietct.errors import UserError

UID, OTHER = "1.2.3.4.5", "1.2.3.4.6"
FOLDER = "47261c68-8de8-4242-97d1-7a6ec3349102"
HEIGHTS = [6.0, 0.0, 9.0, 3.0, 12.0, 15.0]  # names are not in the order of positions


def file_of(z, seed=0, **attributes):
    """A DICOM file of 131 kB."""
    file, stored = BytesIO(), np.random.default_rng([seed, int(z)]).integers(0, 4096, (256, 256), np.uint16)
    make_slice(
        z, stored, **{"SeriesInstanceUID": UID, "SOPInstanceUID": f"{UID}.{z:g}".replace(".", "")} | attributes
    ).save_as(file, enforce_file_format=True)
    return file.getvalue()


SLICES = {f"{k:02}-aa.dcm": file_of(z) for k, z in enumerate(HEIGHTS)}
IN_ORDER = [data for _, data in sorted(zip(HEIGHTS, SLICES.values(), strict=True))]
SIZE = sum(map(len, SLICES.values()))
ROW = {
    "n_slices": len(SLICES), "size_mb": round(SIZE / 1e6, 3), "usual_n_slices": len(SLICES),
    "crdc_series_uuid": FOLDER, "aws_bucket": "idc-open-data",
}  # fmt: skip


def path_of(name):
    return f"/idc-open-data/{FOLDER}/{name}"


@pytest.fixture(scope="session")
def moto():
    """URL of an S3 server with the series, and a neighbour of it, in a bucket that anybody may read."""
    server = ThreadedMotoServer("127.0.0.1", 0, verbose=False)
    server.start()
    url = "http://{}:{}".format(*server.get_host_and_port())
    public = {"x-amz-acl": "public-read"}
    requests.put(f"{url}/idc-open-data", headers=public, timeout=20).raise_for_status()
    for name, data in SLICES.items():
        requests.put(url + path_of(name), data=data, headers=public, timeout=20).raise_for_status()
    requests.put(f"{url}/idc-open-data/{FOLDER}x/1.dcm", data=b"x", headers=public, timeout=20).raise_for_status()
    yield url
    server.stop()


@pytest.fixture
def server():
    with FaultyServer() as server:
        server.files = {path_of(name): data for name, data in SLICES.items()}
        yield server


@pytest.fixture
def fetch(tmp_path):
    """Fetch the series to tmp_path/dicom/UID and give its files by name."""

    def fetch(server, location=None, uid=UID, expected=ROW, **how):
        dest = tmp_path / "dicom" / str(uid)
        how = {"downloads": str(tmp_path / "downloads"), "endpoint": getattr(server, "url", server), "retries": 1} | how
        try:
            fetch_series("idc", location, dest, series_instance_uid=uid, expected=expected, **how)
        except UserError:
            assert not (tmp_path / "dicom").exists() or list((tmp_path / "dicom").iterdir()) == []
            raise
        assert list((tmp_path / "downloads").iterdir()) == []
        return {path.name: path.read_bytes() for path in sorted(dest.iterdir())}

    return fetch


def right():
    return {f"{k:04}.dcm": data for k, data in enumerate(IN_ORDER, start=1)}


def whole(tmp_path):
    """Names of the files that are in the work area from end to end; some may still lack their name."""
    here = {(name.removesuffix(".part"), size) for name, size in waiting(tmp_path).items()}
    return {name for name, data in SLICES.items() if (name, len(data)) in here}


def waiting(tmp_path):
    """What is in the work area."""
    return {path.name: path.stat().st_size for path in sorted((tmp_path / "downloads" / UID).iterdir())}


# All is well


def test_a_series_of_the_table_comes_from_an_s3_server_in_the_order_of_position(fetch, moto):
    assert fetch(moto) == right()


def test_a_series_that_is_not_in_the_table_comes_from_its_location(fetch, moto):
    assert fetch(moto, location=f"s3://idc-open-data/{FOLDER}/", expected=None) == right()


def test_a_long_list_comes_in_pages(moto, server):
    with new_session() as session:
        for url in (moto, server.url):
            stored = list_files(session, f"{url}/idc-open-data", f"{FOLDER}/", Policy(), page_size=2)
            assert [file.name for file in stored] == list(SLICES)
            assert [file.size for file in stored] == list(map(len, SLICES.values()))
            assert [file.md5 for file in stored] == [hashlib.md5(data).hexdigest() for data in SLICES.values()]
    assert len(server.requests) == 3


def test_the_mirror_with_another_xml_namespace_serves_as_well(fetch, server):
    server.xml_namespace = "http://doc.s3.amazonaws.com/2006-03-01"
    server.files[path_of("")] = b""  # the folder itself
    assert fetch(server) == right()


def test_files_without_an_md5_are_checked_by_their_size(fetch, server):
    first = path_of("00-aa.dcm")
    server.listed_etags[first] = "d41d8cd98f00b204e9800998ecf8427e-3"  # of an upload in three parts
    assert fetch(server) == right()


def test_slices_that_the_collection_itself_lacks_are_said_and_accepted(fetch, server, caplog):
    row = ROW | {"usual_n_slices": 119}
    assert fetch(server, expected=row) == right()
    warnings = [record.getMessage() for record in caplog.records if record.levelno == logging.WARNING]
    assert warnings == [
        f"Series {UID} has only 6 slices where its repeats have 119: the collection itself lacks the others."
    ]


def test_repeats_differ_by_a_few_slices_without_a_warning(fetch, server, caplog):
    fetch(server, expected=ROW | {"usual_n_slices": 9})
    assert [record for record in caplog.records if record.levelno >= logging.WARNING] == []


# The server fails


@pytest.mark.parametrize(
    "fault",
    [
        Fault(status=429, headers={"Retry-After": "0"}),
        Fault(status=503, headers={"Retry-After": "1"}, body=PAGE),
        Fault(cut_at=100_000),
        Fault(stall_at=100_000),
        Fault(body=b"x" * len(SLICES["02-aa.dcm"])),
        Fault(body=SLICES["02-aa.dcm"][:-2]),
        Fault(body=PAGE, headers={"Content-Type": "text/html"}),
    ],
)
def test_one_fault_does_not_matter(fetch, server, fault):
    server.faults = {path_of("02-aa.dcm"): [fault], "/idc-open-data": [Fault(status=503, headers={"Retry-After": "0"})]}
    assert fetch(server, timeout_s=0.5) == right()


@pytest.mark.parametrize(
    ("fault", "words"),
    [
        (
            Fault(status=503, headers={"Retry-After": "0"}),
            r"the server answers 503 \(Service Unavailable\) \(2 attempts\)",
        ),
        (Fault(status=404, body=PAGE), r"the server answers 404"),
        (Fault(stall_at=0), "the server does not answer"),
        (Fault(body=b"x" * len(SLICES["05-aa.dcm"])), "its MD5 hash is not the right one"),
        (Fault(body=SLICES["05-aa.dcm"][:-2]), "bytes instead of"),
        (Fault(body=PAGE, headers={"Content-Type": "text/html"}), "a web page instead of the file"),
    ],
)
def test_a_lasting_fault_is_said_and_the_other_files_are_kept(fetch, server, tmp_path, fault, words):
    server.always[path_of("05-aa.dcm")] = fault
    with pytest.raises(UserError, match=rf"/idc-open-data/{FOLDER}/05-aa\.dcm .*{words}"):
        fetch(server, timeout_s=0.3)
    kept = whole(tmp_path)
    assert "05-aa.dcm" not in kept
    server.always.clear()
    server.forget()
    assert fetch(server) == right()
    assert {path.rpartition("/")[2] for path, _ in server.requests} == set(SLICES) - kept | {"idc-open-data"}


def test_a_server_that_refuses_connections_is_said_with_the_ways_without_it(fetch, tmp_path):
    with FaultyServer() as gone:
        pass
    with pytest.raises(UserError) as caught:
        fetch(gone.url, retries=0)
    for words in ("refuses the connection", "resources/dicom/", "`directory`", "`phantom`"):
        assert words in str(caught.value)
    assert waiting(tmp_path) == {}


# The server lies


@pytest.mark.parametrize(
    "body",
    [
        PAGE,
        b"",
        b"{}",
        b"<ListBucketResult><Contents>",
        b"<Error><Code>AccessDenied</Code></Error>",
        b'<!DOCTYPE a [<!ENTITY b "b"><!ENTITY c "&b;&b;">]><ListBucketResult>&c;</ListBucketResult>',
        b"\xff\xfe\x00",
    ],
)
def test_what_is_no_list_is_refused(fetch, server, body):
    server.always["/idc-open-data"] = Fault(body=body)
    with pytest.raises(UserError, match="does not answer with a list of files"):
        fetch(server)


@pytest.mark.parametrize("key", ["../evil", "a/b", ".hidden", "a\\b", "01-aa.dcm.part", "a b", "ä.dcm", "x" * 300])
def test_a_list_with_a_name_that_leads_elsewhere_is_refused(fetch, server, tmp_path, key):
    server.files[path_of(key)] = b"x"
    with pytest.raises(UserError, match="cannot belong to a series"):
        fetch(server)
    assert waiting(tmp_path) == {}


def test_a_list_without_end_is_refused(fetch, server):
    page = server.listing("idc-open-data", {"prefix": [FOLDER], "max-keys": ["1"]})
    server.always["/idc-open-data"] = Fault(body=page)
    with pytest.raises(UserError, match="which cannot be one series"):
        fetch(server)


def test_a_missing_bucket_and_an_empty_folder_are_said(fetch, moto):
    with pytest.raises(UserError, match="the server answers 404"):
        fetch(moto, location="s3://nobodys/folder")
    with pytest.raises(UserError, match="has no files whose keys begin with nothing/here/"):
        fetch(moto, location="s3://idc-open-data/nothing/here")


def test_a_missing_slice_is_said_before_anything_is_fetched(fetch, server):
    del server.files[path_of("03-aa.dcm")]
    with pytest.raises(UserError, match="has 5 files, but the series has 6 slices"):
        fetch(server)
    assert len(server.requests) == 1


def test_a_series_of_another_size_is_said_before_anything_is_fetched(fetch, server):
    with pytest.raises(UserError, match=r"has 0\.\d+ MB, but the series has 2\.000 MB"):
        fetch(server, expected=ROW | {"size_mb": 2.0})
    assert len(server.requests) == 1


@pytest.mark.parametrize(
    ("stranger", "words"),
    [
        (file_of(3, SeriesInstanceUID=OTHER), rf"03-aa\.dcm, fetched from .* is of series {OTHER}, not of {UID}"),
        (file_of(3, SOPInstanceUID=f"{UID}.6".replace(".", "")), r"00-aa\.dcm and 03-aa\.dcm, .* are the same image"),
        (PAGE + bytes(len(SLICES["03-aa.dcm"]) - len(PAGE)), r"03-aa\.dcm, .* is not a DICOM file"),
        (SLICES["03-aa.dcm"][:200] + bytes(len(SLICES["03-aa.dcm"]) - 200), r"03-aa\.dcm"),
    ],
)
def test_a_file_that_does_not_belong_to_the_series_is_said(fetch, server, stranger, words):
    server.files[path_of("03-aa.dcm")] = stranger
    with pytest.raises(UserError, match=words):
        fetch(server)
    server.files[path_of("03-aa.dcm")] = SLICES["03-aa.dcm"]
    assert fetch(server) == right()  # once the server is mended


# What a user can write


@pytest.mark.parametrize("uid", [None, "", "../../etc", "1.2/3", "NoduleLayout_1", "1", "1." + "2" * 70])
def test_what_is_no_uid_names_no_folder(tmp_path, uid):
    with pytest.raises(UserError, match="`series_instance_uid`"):
        open_work_area(tmp_path, uid)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("location", ["idc-open-data", "s3://", "s3://bucket", "s3://bucket/", "https://host/bucket/a"])
def test_a_location_that_is_none_is_refused(fetch, moto, location):
    with pytest.raises(UserError, match=r"`location` says .* s3://bucket/folder"):
        fetch(moto, location=location)


def test_a_series_that_is_nowhere_named_is_refused(fetch, moto):
    with pytest.raises(UserError, match=rf"Series {UID} is not in .*\.tsv; name its place"):
        fetch(moto, expected=None)


# The machine fails

PROGRAM = f"""
import sys
from quietct.ct.sources import fetch_series
from types import SimpleNamespace
from quietct.logs import logged
with logged(SimpleNamespace(log=[sys.argv[2] + "/log"], rule="fetch_series", wildcards={{}}, threads=1)):
    fetch_series("idc", None, sys.argv[2] + "/dicom/{UID}", series_instance_uid="{UID}", expected={ROW!r},
                 downloads=sys.argv[2] + "/downloads", endpoint=sys.argv[1])
"""


@pytest.fixture
def half_way(server, tmp_path, repository):
    """A process that has fetched four of six files and waits in the middle of the others."""
    for name in list(SLICES)[4:]:
        server.faults[path_of(name)] = [Fault(stall_at=100_000)]
    process = subprocess.Popen(
        [sys.executable, "-c", PROGRAM, server.url, str(tmp_path)],
        env=os.environ | {"PYTHONPATH": str(repository / "scripts")}, stderr=subprocess.DEVNULL,
    )  # fmt: skip
    parts = [tmp_path / "downloads" / UID / f"{name}.part" for name in list(SLICES)[4:]]
    wait_for(lambda: all(part.exists() and part.stat().st_size == 65536 for part in parts))
    wait_for(lambda: set(waiting(tmp_path)) == {*list(SLICES)[:4], *(part.name for part in parts)})
    server.forget()
    yield process
    process.kill()
    process.wait()


def test_a_killed_download_goes_on_where_it_was(fetch, server, half_way, tmp_path):
    half_way.kill()
    half_way.wait()
    assert not (tmp_path / "dicom" / UID).exists()
    for leftover in (tmp_path / "dicom").iterdir():
        assert list(leftover.iterdir()) == []
        leftover.rmdir()
    assert fetch(server) == right()
    assert {path for path, _ in server.requests} == {"/idc-open-data", *map(path_of, list(SLICES)[4:])}
    assert [server.asked(path_of(name))[0]["Range"] for name in list(SLICES)[4:]] == ["bytes=65536-"] * 2
    listed = len(server.listing("idc-open-data", {"prefix": [FOLDER + "/"]}))
    assert server.bytes_sent == listed + sum(len(SLICES[name]) - 65536 for name in list(SLICES)[4:])


def test_an_interrupted_download_ends_at_once(half_way, tmp_path):
    half_way.send_signal(signal.SIGINT)
    assert half_way.wait(20) != 0  # the server would have been waited for for a minute
    assert not (tmp_path / "dicom" / UID).exists()


def test_a_full_disk_is_said_and_the_finished_files_are_kept(fetch, server, tmp_path):
    disk = tmp_path / "downloads"
    disk.mkdir()
    made = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=400k", "tmpfs", str(disk)], capture_output=True)
    if made.returncode:
        pytest.skip("needs the right to mount a small disk: run as root")
    try:
        with pytest.raises(UserError, match="The disk is full"):
            fetch(server)
        kept = whole(tmp_path)
        subprocess.run(["mount", "-o", "remount,size=4m", str(disk)], check=True)
        server.forget()
        assert fetch(server) == right()
        assert {path for path, _ in server.requests} == {"/idc-open-data", *map(path_of, set(SLICES) - kept)}
    finally:
        subprocess.run(["umount", str(disk)], check=True)
