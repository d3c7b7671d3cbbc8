"""An HTTP server on 127.0.0.1 that serves files from memory, lists them as S3 does, and fails as a test asks it to."""

import hashlib
import threading
import time
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from itertools import count
from urllib.parse import parse_qs, unquote, urlsplit
from xml.sax.saxutils import escape

PAGE = b"<!DOCTYPE html><html><body><p>Please log in.<br></body></html>"


@dataclass
class Fault:
    """What goes wrong with one answer; the defaults change nothing."""

    status: int | None = None
    headers: dict[str, str] = field(default_factory=dict)
    body: bytes | None = None  # in place of the right one
    cut_at: int | None = None  # the connection ends after so many bytes of the body
    stall_at: int | None = None  # silence from there on
    endless: bool = False  # the body is sent again and again, and its length isn't


class FaultyServer:
    """Serves `files` (path: bytes). Paths are `/bucket/folder/name`; `/bucket?list-type=2` lists a bucket.

    Each fault in `faults` (path: list) is used once, save those in `always`.
    """

    def __init__(self, ranges=True, etags=True):
        self.ranges, self.etags = ranges, etags
        self.files: dict[str, bytes] = {}
        self.faults: dict[str, list[Fault]] = {}
        self.always: dict[str, Fault] = {}
        self.listed_sizes: dict[str, int] = {}  # where the listing lies
        self.listed_etags: dict[str, str] = {}
        self.xml_namespace = "http://s3.amazonaws.com/doc/2006-03-01/"
        self.requests: list[tuple[str, dict[str, str]]] = []
        self.bytes_sent = 0
        self.stopped = threading.Event()
        self.lock = threading.Lock()

    def __enter__(self):
        outer = self

        class Handler(_Handler):
            server_state = outer

        self._server = _Server(("127.0.0.1", 0), Handler)
        threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True).start()
        self.url = f"http://127.0.0.1:{self._server.server_port}"
        return self

    def __exit__(self, *error):
        self.stopped.set()
        self._server.shutdown()
        self._server.server_close()

    def asked(self, path):
        """Headers of the requests for a path, in their order."""
        with self.lock:
            return [headers for asked, headers in self.requests if asked == path]

    def forget(self):
        """Count from here."""
        with self.lock:
            self.requests.clear()
            self.bytes_sent = 0

    def listing(self, bucket, query):
        """Answer as ListObjectsV2 does; its continuation tokens are keys."""
        prefix, page, after = (query.get(key, [""])[0] for key in ("prefix", "max-keys", "continuation-token"))
        keys = sorted(path.removeprefix(f"/{bucket}/") for path in self.files if path.startswith(f"/{bucket}/{prefix}"))
        keys = [key for key in keys if key > after]
        here = keys[: int(page or 1000)]
        more = len(keys) > len(here)
        entries = "".join(self._entry(bucket, key) for key in here)
        token = f"<NextContinuationToken>{escape(here[-1])}</NextContinuationToken>" if more else ""
        return (
            f'<?xml version="1.0" encoding="UTF-8"?><ListBucketResult xmlns="{self.xml_namespace}">'
            f"<Name>{bucket}</Name><IsTruncated>{str(more).lower()}</IsTruncated>{token}{entries}</ListBucketResult>"
        ).encode()

    def _entry(self, bucket, key):
        path = f"/{bucket}/{key}"
        size = self.listed_sizes.get(path, len(self.files[path]))
        etag = self.listed_etags.get(path, hashlib.md5(self.files[path]).hexdigest())
        return f"<Contents><Key>{escape(key)}</Key><ETag>&quot;{etag}&quot;</ETag><Size>{size}</Size></Contents>"


class _Server(ThreadingHTTPServer):
    daemon_threads = True

    def handle_error(self, request, client_address):
        pass  # clients that leave are what is tested here


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True
    server_state: FaultyServer

    def do_GET(self):
        state = self.server_state
        url = urlsplit(self.path)
        path, query = unquote(url.path), parse_qs(url.query)
        with state.lock:
            state.requests.append((path, dict(self.headers)))
            faults = state.faults.get(path)
            fault = faults.pop(0) if faults else state.always.get(path, Fault())
        if "list-type" in query:
            body, kind = state.listing(path.strip("/"), query), "application/xml"
        else:
            body, kind = state.files.get(path), "application/dicom"
        if fault.body is not None:
            body = fault.body
        if body is None:
            return self._answer(
                404, b"<Error><Code>NoSuchKey</Code></Error>", {"Content-Type": "application/xml"}, fault
            )
        headers = {"Content-Type": kind}
        etag = f'"{hashlib.md5(body).hexdigest()}"'
        if state.etags:
            headers["ETag"] = etag
        asked = self.headers.get("Range")
        if asked and state.ranges and self.headers.get("If-Range", etag) == etag and fault.status is None:
            start = int(asked.removeprefix("bytes=").removesuffix("-"))
            if start >= len(body):
                return self._answer(416, b"", headers | {"Content-Range": f"bytes */{len(body)}"}, fault)
            headers["Content-Range"] = f"bytes {start}-{len(body) - 1}/{len(body)}"
            return self._answer(206, body[start:], headers, fault)
        return self._answer(200, body, headers, fault)

    def _answer(self, status, body, headers, fault):
        headers = headers | ({"Connection": "close"} if fault.endless else {"Content-Length": str(len(body))})
        self.send_response(fault.status or status)
        for name, value in (headers | fault.headers).items():
            self.send_header(name, value)
        self.end_headers()
        end = min(v for v in (fault.cut_at, fault.stall_at, len(body)) if v is not None)
        for _ in count() if fault.endless else range(1):
            for start in range(0, end, 1 << 16):
                if not self._send(body[start : min(start + (1 << 16), end)]):
                    return
        if fault.stall_at is not None:
            self.server_state.stopped.wait(60)
        if fault.stall_at is not None or fault.cut_at is not None or fault.endless:
            self.close_connection = True

    def _send(self, piece):
        with self.server_state.lock:
            self.server_state.bytes_sent += len(piece)  # before the client can have them
        try:
            self.wfile.write(piece)
        except OSError:
            self.close_connection = True
            return False
        return not self.server_state.stopped.is_set()

    def log_message(self, *message):
        pass


def wait_for(condition, seconds=20):
    """Wait until something is so."""
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, "It did not come about."
        time.sleep(0.01)
