"""One file over HTTP, from real servers on 127.0.0.1 that fail in all the ways they do."""

import datetime
import email.utils
import hashlib
import os
import subprocess
import sys
import threading
import time

import numpy as np
import pytest
from faulty_server import PAGE, Fault, FaultyServer, wait_for
from network import ForwardProxy, TlsServer, closed_port

from quietct.ct.sources.download import CHUNK, Policy, RefusedError, StoppedError, fetch_file, get_text, new_session
from quietct.ct.sources.retries import retry_after_s
from quietct.errors import UserError

BODY = np.random.default_rng(0).bytes(600_000)
MD5 = hashlib.md5(BODY).hexdigest()
QUICK = Policy(retries=2, timeout_s=5, first_wait_s=0.01)


@pytest.fixture
def server():
    with FaultyServer() as server:
        server.files["/a"] = BODY
        yield server


@pytest.fixture
def fetch(server, tmp_path):
    """Fetch /a to tmp_path/a and give its bytes."""
    session = new_session()

    def fetch(policy=QUICK, **about):
        fetch_file(session, server.url + "/a", tmp_path / "a", policy, **about)
        assert names(tmp_path) == ["a"]
        return (tmp_path / "a").read_bytes()

    with session:
        yield fetch


def names(folder):
    return sorted(path.name for path in folder.iterdir())


def test_a_file_arrives_and_its_bytes_are_counted(fetch):
    counts = []
    assert fetch(size=len(BODY), md5=MD5, progress=counts.append) == BODY
    assert sum(counts) == len(BODY)
    assert max(counts) <= CHUNK


def test_a_file_that_is_there_is_not_fetched_again(fetch, server):
    fetch()
    server.forget()
    assert fetch(size=len(BODY), md5=MD5) == BODY
    assert server.requests == []


def test_a_file_that_is_there_but_wrong_is_fetched_again(fetch, tmp_path):
    (tmp_path / "a").write_bytes(b"x" * len(BODY))
    assert fetch(size=len(BODY), md5=MD5) == BODY


def test_an_empty_file_can_be_fetched(fetch, server):
    server.files["/a"] = b""
    assert fetch(size=0, md5=hashlib.md5(b"").hexdigest()) == b""


@pytest.mark.parametrize("status", [408, 425, 429, 500, 502, 503, 504])
@pytest.mark.parametrize("headers", [{}, {"Retry-After": "0"}, {"Retry-After": "soon"}])
def test_a_busy_server_is_asked_again(fetch, server, status, headers):
    server.faults["/a"] = [Fault(status=status, headers=headers, body=PAGE)] * 2
    assert fetch() == BODY
    assert len(server.requests) == 3


def test_a_server_that_stays_busy_is_given_up(fetch, server, tmp_path):
    server.always["/a"] = Fault(status=503, headers={"Retry-After": "0"})
    with pytest.raises(
        UserError, match=r"^http://127\.0\.0\.1:\d+/a could not be fetched, because the server answers "
    ):
        fetch()
    assert len(server.requests) == 3
    assert names(tmp_path) == []


@pytest.mark.parametrize("status", [400, 401, 403, 404, 410, 451])
def test_a_refusal_is_not_asked_for_twice(fetch, server, tmp_path, status):
    server.always["/a"] = Fault(status=status, body=PAGE)
    with pytest.raises(RefusedError, match=f"the server answers {status}") as caught:
        fetch()
    assert caught.value.status == status
    assert len(server.requests) == 1
    assert names(tmp_path) == []


def test_the_server_says_how_long_to_wait(fetch, server):
    server.faults["/a"] = [Fault(status=429, headers={"Retry-After": "1"})]
    began = time.monotonic()
    fetch(Policy(retries=1, first_wait_s=0))
    assert time.monotonic() - began >= 1


def test_the_server_cannot_ask_for_any_wait(fetch, server):
    server.faults["/a"] = [Fault(status=503, headers={"Retry-After": "86400"})]
    assert fetch(Policy(longest_wait_s=0.01)) == BODY


def test_waits_are_given_in_seconds_or_as_a_date():
    now = datetime.datetime.now(datetime.UTC)
    later = email.utils.format_datetime(now + datetime.timedelta(seconds=100), usegmt=True)
    assert retry_after_s("7") == 7
    assert retry_after_s(later) == pytest.approx(100, abs=5)
    assert retry_after_s("Sun Nov  6 08:49:37 1994") < 0  # asctime has no zone
    for nonsense in (None, "", "-1", "1.5", "tomorrow", "Thu, 01 Jan 99999 00:00:00 GMT", "²"):
        assert retry_after_s(nonsense) is None
    assert retry_after_s("9" * 5000) == float("inf")


def test_without_a_network_the_ways_without_one_are_named(tmp_path):
    with pytest.raises(UserError) as caught:
        fetch_file(new_session(), f"http://127.0.0.1:{closed_port()}/a", tmp_path / "a", QUICK)
    for words in ("refuses the connection", "3 attempts", "resources/dicom/", "`directory`", "`phantom`"):
        assert words in str(caught.value)
    assert names(tmp_path) == []


def test_an_unknown_server_is_named(tmp_path):
    with pytest.raises(UserError, match=r"http://nowhere\.invalid/a .*name of the server is not known"):
        fetch_file(new_session(), "http://nowhere.invalid/a", tmp_path / "a", Policy(retries=0))


@pytest.mark.parametrize("url", ["nonsense", "ftp://127.0.0.1/a", "http://", "http://[::1/a", "http://127.0.0.1:x/a"])
def test_an_address_that_is_none_is_refused_at_once(tmp_path, url):
    with pytest.raises(UserError, match="check the address"):
        fetch_file(new_session(), url, tmp_path / "a", Policy(retries=5, first_wait_s=100))


# Bodies that break off


@pytest.mark.parametrize("about", [{}, {"size": len(BODY)}, {"md5": MD5}])
@pytest.mark.parametrize("fault", ["cut_at", "stall_at"])
def test_what_came_before_a_break_is_not_sent_again(fetch, server, about, fault):
    server.faults["/a"] = [Fault(**{fault: 400_000})]
    counts = []
    assert fetch(Policy(timeout_s=0.3, first_wait_s=0.01), progress=counts.append, **about) == BODY
    first, second = server.asked("/a")
    assert "Range" not in first
    assert second["If-Range"] == f'"{MD5}"'
    assert len(BODY) <= server.bytes_sent <= len(BODY) + CHUNK
    assert sum(counts) == len(BODY)


def test_a_file_that_has_changed_since_the_break_is_not_mixed_with_the_old_one(fetch, server):
    newer = BODY[::-1]
    server.faults["/a"] = [Fault(cut_at=400_000)]

    def changes(count):
        server.files["/a"] = newer

    assert fetch(progress=changes) == newer


@pytest.mark.parametrize("server_knows", [{"ranges": False}, {"etags": False}])
def test_a_server_without_ranges_or_versions_sends_the_file_from_the_start(tmp_path, server_knows):
    with FaultyServer(**server_knows) as server, new_session() as session:
        server.files["/a"] = BODY
        server.faults["/a"] = [Fault(cut_at=400_000)]
        counts = []
        fetch_file(session, server.url + "/a", tmp_path / "a", QUICK, progress=counts.append)
        assert (tmp_path / "a").read_bytes() == BODY
        assert sum(counts) == len(BODY)


def test_a_break_costs_no_attempt_if_it_came_after_new_bytes(fetch, server):
    server.faults["/a"] = [Fault(cut_at=100_000)] * 5
    assert fetch(Policy(retries=0, first_wait_s=0.01)) == BODY


def test_a_server_that_always_breaks_at_the_same_byte_is_given_up(tmp_path):
    with FaultyServer(ranges=False) as server, new_session() as session:
        server.files["/a"] = BODY
        server.always["/a"] = Fault(cut_at=400_000)
        with pytest.raises(UserError, match="the connection broke"):
            fetch_file(session, server.url + "/a", tmp_path / "a", QUICK)
        assert len(server.requests) == 4  # the first brought new bytes
        assert not (tmp_path / "a").exists()


def test_a_server_that_stays_silent_is_given_up(fetch, server, tmp_path):
    server.always["/a"] = Fault(stall_at=0)
    with pytest.raises(UserError, match=r"the server does not answer \(3 attempts\)"):
        fetch(Policy(retries=2, timeout_s=0.1, first_wait_s=0.01))
    assert not (tmp_path / "a").exists()


@pytest.mark.parametrize("beginning", [BODY[:400_000], BODY, BODY + b"more", b"other bytes"])
def test_what_an_earlier_process_left_is_continued_if_it_is_of_this_file(fetch, server, tmp_path, beginning):
    (tmp_path / "a.part").write_bytes(beginning)
    assert fetch(md5=MD5) == BODY
    if beginning == BODY[:400_000]:
        assert server.bytes_sent == 200_000


def test_what_an_earlier_process_left_is_not_trusted_without_a_hash(fetch, tmp_path):
    (tmp_path / "a.part").write_bytes(b"x" * 400_000)
    assert fetch(size=len(BODY)) == BODY


def test_a_file_that_only_lacked_its_name_is_not_fetched_again(fetch, server, tmp_path):
    (tmp_path / "a.part").write_bytes(BODY)
    assert fetch(size=len(BODY), md5=MD5) == BODY
    assert server.requests == []


def test_another_part_than_was_asked_for_is_not_taken(fetch, server):
    server.faults["/a"] = [
        Fault(cut_at=400_000),
        Fault(headers={"Content-Range": f"bytes 0-{len(BODY) - 1}/{len(BODY)}"}),
    ]
    assert fetch(md5=MD5) == BODY


# Wrong bodies


@pytest.mark.parametrize(
    ("fault", "words"),
    [
        (Fault(body=BODY[:-1]), "it has 599999 bytes instead of 600000"),
        (Fault(body=BODY[:-1] + b"x"), "its MD5 hash is not the right one"),
        (Fault(body=BODY, endless=True), "bytes instead of 600000"),
        (Fault(body=PAGE, headers={"Content-Type": "text/html; charset=utf-8"}), "a web page instead of the file"),
    ],
)
def test_a_wrong_file_is_tried_again_and_then_refused(fetch, server, tmp_path, fault, words):
    server.always["/a"] = fault
    with pytest.raises(UserError, match=words):
        fetch(Policy(retries=9, first_wait_s=0.01), size=len(BODY), md5=MD5)
    assert len(server.requests) == 3
    assert names(tmp_path) == []


def test_a_file_that_is_right_the_second_time_is_taken(fetch, server):
    server.faults["/a"] = [Fault(body=BODY[:-1] + b"x")]
    assert fetch(md5=MD5.upper()) == BODY


def test_a_compressed_answer_is_refused(fetch, server, tmp_path):
    server.always["/a"] = Fault(headers={"Content-Encoding": "gzip"})
    with pytest.raises(UserError, match="comes compressed"):
        fetch()
    assert server.asked("/a")[0]["Accept-Encoding"] == "identity"
    assert names(tmp_path) == []


def test_a_redirect_is_followed_but_not_for_ever(fetch, server, tmp_path):
    server.files["/b"] = BODY
    server.faults["/a"] = [Fault(status=302, headers={"Location": "/b"})]
    assert fetch() == BODY
    (tmp_path / "a").unlink()
    server.always["/a"] = Fault(status=302, headers={"Location": "/a"})
    with pytest.raises(UserError, match="leads in circles"):
        fetch()


# Small answers


def test_a_text_is_asked_for_again_until_it_comes_whole(server):
    server.files["/t"] = "Größe".encode()
    server.faults["/t"] = [Fault(status=503, headers={"Retry-After": "0"}), Fault(cut_at=3), Fault(stall_at=3)]
    with new_session() as session:
        assert get_text(session, server.url + "/t", Policy(timeout_s=0.3, first_wait_s=0.01)) == "Größe"


def test_an_endless_text_is_refused(server):
    server.always["/a"] = Fault(endless=True)
    with new_session() as session, pytest.raises(UserError, match="more than 4 MB"):
        get_text(session, server.url + "/a", QUICK)


def test_a_message_shows_neither_password_nor_query(server):
    with new_session() as session, pytest.raises(RefusedError) as caught:
        get_text(session, server.url.replace("//", "//user:secret@") + "/nowhere", QUICK, params={"q": "secret"})
    assert "secret" not in str(caught.value)


# The rest of the world


def test_a_download_uses_no_more_than_its_bandwidth(fetch):
    began = time.monotonic()
    fetch(Policy(bandwidth_mbit=12))
    assert time.monotonic() - began > 0.8 * len(BODY) * 8 / 12e6


@pytest.mark.parametrize("fault", [Fault(status=503, headers={"Retry-After": "100"}), Fault(cut_at=400_000)])
def test_a_waiting_download_can_be_stopped(server, tmp_path, fault):
    server.always["/a"] = fault
    stop, ended = threading.Event(), []

    def run():
        with new_session() as session, pytest.raises(StoppedError):
            fetch_file(session, server.url + "/a", tmp_path / "a", Policy(first_wait_s=100), stop=stop)
        ended.append(True)

    thread = threading.Thread(target=run)
    thread.start()
    wait_for(lambda: server.requests)
    stop.set()
    thread.join(20)
    assert ended


def test_a_full_disk_is_said_and_what_came_is_kept(server, tmp_path):
    disk = tmp_path / "disk"
    disk.mkdir()
    made = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=256k", "tmpfs", str(disk)], capture_output=True)
    if made.returncode:
        pytest.skip("needs the right to mount a small disk: run as root")
    try:
        with (
            new_session() as session,
            pytest.raises(UserError, match=r"The disk is full: .*disk/a could not be written"),
        ):
            fetch_file(session, server.url + "/a", disk / "a", QUICK, md5=MD5)
        assert names(disk) == ["a.part"]
        subprocess.run(["mount", "-o", "remount,size=2m", str(disk)], check=True)
        server.forget()
        with new_session() as session:
            fetch_file(session, server.url + "/a", disk / "a", QUICK, md5=MD5)
        assert (disk / "a").read_bytes() == BODY
        assert server.bytes_sent < len(BODY)
    finally:
        subprocess.run(["umount", str(disk)], check=True)


def test_a_proxy_named_in_the_environment_is_used(server, fetch, monkeypatch, tmp_path):
    with ForwardProxy() as proxy:
        monkeypatch.setenv("HTTP_PROXY", proxy.url)
        monkeypatch.setenv("http_proxy", proxy.url)
        monkeypatch.delenv("NO_PROXY", raising=False)
        monkeypatch.delenv("no_proxy", raising=False)
        assert fetch(md5=MD5) == BODY
        assert proxy.asked == [server.url + "/a"]
    (tmp_path / "a").unlink()
    monkeypatch.setenv("http_proxy", f"http://user:secret@127.0.0.1:{closed_port()}")
    with pytest.raises(UserError, match="the proxy named in the environment") as caught:
        fetch()
    assert "secret" not in str(caught.value)


def test_a_certificate_must_be_trusted_and_can_be_named(tmp_path, monkeypatch):
    with TlsServer(tmp_path) as server:
        with new_session() as session, pytest.raises(UserError, match="no certificate that this machine trusts"):
            fetch_file(session, server.url, tmp_path / "a", Policy(retries=5, first_wait_s=100))
        monkeypatch.setenv("REQUESTS_CA_BUNDLE", str(tmp_path / "certificate.pem"))
        with new_session() as session:
            fetch_file(session, server.url, tmp_path / "a", QUICK)
        assert (tmp_path / "a").read_bytes() == b"hello"
        monkeypatch.setenv("REQUESTS_CA_BUNDLE", str(tmp_path / "nowhere.pem"))
        with new_session() as session, pytest.raises(UserError, match="REQUESTS_CA_BUNDLE"):
            fetch_file(session, server.url, tmp_path / "b", QUICK)


MEASURE = """
import resource, sys
from pathlib import Path
from quietct.ct.sources.download import Policy, fetch_file, new_session
def fetch(name, size):
    fetch_file(new_session(), sys.argv[1] + name, Path(sys.argv[2]) / name.strip("/"), Policy(), size=size)
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
small = fetch("/a", 600_000)
print(fetch("/big", 200_000_000) - small)
"""


def test_memory_does_not_grow_with_the_file(server, tmp_path, repository):
    server.files["/big"] = bytes(200_000_000)
    done = subprocess.run(
        [sys.executable, "-c", MEASURE, server.url, str(tmp_path)],
        env=os.environ | {"PYTHONPATH": str(repository / "scripts")}, capture_output=True, text=True, check=True,
    )  # fmt: skip
    assert (tmp_path / "big").stat().st_size == 200_000_000
    assert int(done.stdout) < 4096  # kB
