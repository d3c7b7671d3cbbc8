"""A server on 127.0.0.1 that speaks as NBIA's REST API v4 does, from DICOM files of the test, with faults on demand.

It follows the source of NBIA (github.com/CBIIT/NBIA-TCIA, nbia-api, restAPI/v4): unknown parameters and unknown series
are answered with 400; archives come as a chunked stream of deflated entries that end with the list of MD5s; ranges are
not known.
"""

import hashlib
import io
import json
import threading
import time
import zipfile
from collections import Counter
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import parse_qs, urlsplit

PREFIX = "/nbia-api/services/v4/"
PARAMETERS = {
    "getImageWithMD5Hash": {"SeriesInstanceUID"},
    "getSOPInstanceUIDs": {"SeriesInstanceUID", "format"},
    "getMD5HashForImage": {"SOPInstanceUID"},
    "getSingleImage": {"SeriesInstanceUID", "SOPInstanceUID"},
}
OUTAGE = b"<!DOCTYPE html><html><head><title>The Cancer Imaging Archive</title></head><body>Maintenance</body></html>"


@dataclass
class Fault:
    """What goes wrong with one answer; the defaults change nothing."""

    status: int = 200
    headers: dict[str, str] = field(default_factory=dict)
    body: bytes | None = None  # in place of the right one
    cut_at: int | None = None  # the connection ends after so many bytes of the body
    end_at: int | None = None  # the body ends there, as if that were all
    stall_at: int | None = None  # silence from there on
    bytes_per_s: float | None = None


class NbiaServer:
    """Serves the series in `series`: for each UID the images' SOPInstanceUIDs and bytes, in the database's order."""

    def __init__(self):
        self.series: dict[str, dict[str, bytes]] = {}
        self.archives: dict[str, bytes] = {}  # in place of the right one
        self.faults: dict[str, list[Fault]] = {}  # by call; each is used once, save the last if `for_ever`
        self.for_ever = False
        self.calls: Counter[str] = Counter()
        self.images_sent: Counter[str] = Counter()  # by getSingleImage
        self.bytes_sent = 0
        self.stopped = threading.Event()
        self._lock = threading.Lock()

    def __enter__(self):
        outer = self

        class Handler(_Handler):
            nbia = outer

        self._http = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._http.daemon_threads = True
        self.endpoint = f"http://127.0.0.1:{self._http.server_port}{PREFIX[:-1]}"
        threading.Thread(target=self._http.serve_forever, args=(0.02,), daemon=True).start()
        return self

    def __exit__(self, *_):
        self.stopped.set()
        self._http.shutdown()
        self._http.server_close()

    def next_fault(self, call):
        with self._lock:
            self.calls[call] += 1
            waiting = self.faults.get(call, [])
            if not waiting:
                return Fault()
            return waiting[0] if self.for_ever and len(waiting) == 1 else waiting.pop(0)


def archive_of(images, *, digests=None, extra=(), listed=True):
    """Write an archive as NBIA does: `images` by name in the archive, `digests` and `extra` entries on top."""
    stream = _Unseekable()
    digests = {name: hashlib.md5(data).hexdigest() for name, data in images.items()} | (digests or {})
    with zipfile.ZipFile(stream, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, data in images.items():
            archive.writestr(zipfile.ZipInfo(name), data, zipfile.ZIP_DEFLATED)
        for entry, data in extra:
            archive.writestr(entry, data)
        if listed:
            lines = [f"{name},{digest}\n" for name, digest in digests.items()]
            archive.writestr("md5hashes.csv", "".join(["Filename,MD5Hash\n", *lines]))
    return stream.getvalue()


class _Unseekable(io.BytesIO):
    """Makes zipfile write sizes and CRCs behind the data, as a stream to a network has them."""

    def seekable(self):
        return False

    def tell(self):
        raise io.UnsupportedOperation

    def seek(self, *_):
        raise io.UnsupportedOperation


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    nbia: NbiaServer

    def log_message(self, *_):
        pass

    def do_GET(self):
        url = urlsplit(self.path)
        call, given = url.path.removeprefix(PREFIX), {k: v[0] for k, v in parse_qs(url.query).items()}
        if not url.path.startswith(PREFIX) or call not in PARAMETERS:
            return self._send(Fault(status=404), OUTAGE, "text/html")
        fault = self.nbia.next_fault(call)
        if fault.status != 200:
            return self._send(fault, OUTAGE, "text/html")
        if set(given) - PARAMETERS[call]:
            return self._send(Fault(status=400), b"Invalid query parameter", "text/plain")
        return getattr(self, call)(fault, **given)

    def getImageWithMD5Hash(self, fault, SeriesInstanceUID):  # noqa: N802, N803
        if SeriesInstanceUID not in self.nbia.series:
            text = (
                f"The user has not been granted the access to image with given SeriesInstanceUID,{SeriesInstanceUID}."
            )
            return self._send(Fault(status=400), text.encode(), "application/json")
        images = self.nbia.series[SeriesInstanceUID].values()
        archive = self.nbia.archives.get(SeriesInstanceUID)
        if archive is None:
            archive = archive_of({f"{k:08}.dcm": data for k, data in enumerate(images, start=1)})
        return self._send(fault, archive, "application/octet-stream", chunked=True)

    def getSOPInstanceUIDs(self, fault, SeriesInstanceUID, format="json"):  # noqa: N802, N803
        rows = [{"SOPInstanceUID": uid} for uid in self.nbia.series.get(SeriesInstanceUID, {})]
        return self._send(fault, json.dumps(rows).encode() if rows else b"", "application/json")

    def getMD5HashForImage(self, fault, SOPInstanceUID):  # noqa: N802, N803
        found = [images[SOPInstanceUID] for images in self.nbia.series.values() if SOPInstanceUID in images]
        return self._send(fault, hashlib.md5(found[0]).hexdigest().encode() if found else b"", "text/plain")

    def getSingleImage(self, fault, SeriesInstanceUID, SOPInstanceUID):  # noqa: N802, N803
        image = self.nbia.series.get(SeriesInstanceUID, {}).get(SOPInstanceUID)
        if image is None:
            return self._send(Fault(status=500), OUTAGE, "text/html")
        self.nbia.images_sent[SOPInstanceUID] += 1
        return self._send(fault, image, "application/dicom")

    def _send(self, fault, body, kind, chunked=False):
        body = body if fault.body is None else fault.body
        body = body[: fault.end_at]
        self.send_response(fault.status)
        self.send_header("Content-Type", kind)
        for name, value in fault.headers.items():
            self.send_header(name, value)
        if chunked:
            self.send_header("Transfer-Encoding", "chunked")
        else:
            self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        end = min(x for x in (fault.cut_at, fault.stall_at, len(body)) if x is not None)
        step = 4096 if fault.bytes_per_s is None else max(1, int(fault.bytes_per_s / 50))
        try:
            for start in range(0, end, step):
                self._write(body[start : min(start + step, end)], chunked)
                if fault.bytes_per_s is not None:
                    time.sleep(step / fault.bytes_per_s)
            if fault.stall_at is not None:
                self.wfile.flush()
                self.nbia.stopped.wait(30)
            if end < len(body):
                self.close_connection = True
            elif chunked:
                self.wfile.write(b"0\r\n\r\n")
        except OSError:  # the client has gone
            self.close_connection = True

    def _write(self, data, chunked):
        self.wfile.write(b"%x\r\n%b\r\n" % (len(data), data) if chunked else data)
        self.nbia.bytes_sent += len(data)
