"""What stands between a client and a server: a proxy, TLS, a port where nobody listens."""

import shutil
import socket
import subprocess
import threading

import pytest
from faulty_server import wait_for


def closed_port():
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        return taken.getsockname()[1]


class ForwardProxy:
    """A forward proxy for plain HTTP that remembers what it was asked for."""

    def __enter__(self):
        self.asked = []
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.url = f"http://127.0.0.1:{self.listener.getsockname()[1]}"
        threading.Thread(target=self._serve, daemon=True).start()
        return self

    def __exit__(self, *error):
        self.listener.close()

    def _serve(self):
        while True:
            try:
                client, _ = self.listener.accept()
            except OSError:
                return
            threading.Thread(target=self._forward, args=(client,), daemon=True).start()

    def _forward(self, client):
        with client:
            request = b""
            while b"\r\n\r\n" not in request:
                request += client.recv(1 << 16)
            line, rest = request.split(b"\r\n", 1)
            url = line.split()[1].decode()
            self.asked.append(url)
            host, path = url.removeprefix("http://").split("/", 1)
            with socket.create_connection(tuple(host.split(":"))) as upstream:
                upstream.sendall(f"GET /{path} HTTP/1.0\r\n".encode() + rest)
                while piece := upstream.recv(1 << 16):
                    client.sendall(piece)


class TlsServer:
    """`openssl s_server` with a certificate of its own; it serves the file `hello`."""

    def __init__(self, folder):
        self.folder = folder

    def __enter__(self):
        if shutil.which("openssl") is None:
            pytest.skip("openssl is missing: apt-get install openssl")
        (self.folder / "hello").write_bytes(b"HTTP/1.0 200 OK\r\nContent-Length: 5\r\n\r\nhello")
        make = "req -x509 -newkey rsa:2048 -nodes -days 2 -subj /CN=127.0.0.1 -addext subjectAltName=IP:127.0.0.1"
        subprocess.run(
            ["openssl", *make.split(), "-keyout", "key.pem", "-out", "certificate.pem"],
            cwd=self.folder, check=True, capture_output=True,
        )  # fmt: skip
        port = closed_port()
        self.process = subprocess.Popen(
            ["openssl", "s_server", "-accept", str(port), "-key", "key.pem", "-cert", "certificate.pem", "-HTTP"],
            cwd=self.folder, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
        )  # fmt: skip
        self.url = f"https://127.0.0.1:{port}/hello"

        def listens():
            with socket.socket() as client:
                return client.connect_ex(("127.0.0.1", port)) == 0

        wait_for(listens)
        return self

    def __exit__(self, *error):
        self.process.kill()
        self.process.wait()
