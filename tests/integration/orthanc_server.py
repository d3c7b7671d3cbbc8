"""A real Orthanc that only this machine can reach, and what it says over its REST API."""

import json
import os
import shutil
import socket
import subprocess

import pytest
import requests
from faulty_server import wait_for

# What each is installed with; Debian puts the server where only root looks.
PACKAGES = {"Orthanc": "orthanc", "storescu": "dcmtk"}
PATH = f"{os.environ.get('PATH', os.defpath)}{os.pathsep}/usr/sbin"


def program(name):
    path = shutil.which(name, path=PATH)
    if path is None:
        pytest.skip(f"{name} is missing: apt-get install {PACKAGES[name]}")
    return path


def free_ports():
    with socket.socket() as one, socket.socket() as other:
        for taken in (one, other):
            taken.bind(("127.0.0.1", 0))
        return one.getsockname()[1], other.getsockname()[1]


class Orthanc:
    """Its storage is a folder of the test. It takes images from this machine only, and answers HTTP here only."""

    def __init__(self, folder):
        self.folder = folder
        self.programs = {name: program(name) for name in PACKAGES}

    def __enter__(self):
        http, self.port = free_ports()
        self.url = f"http://127.0.0.1:{http}"
        settings = {
            "StorageDirectory": str(self.folder / "storage"),
            "IndexDirectory": str(self.folder / "storage"),
            "Plugins": [],
            "HttpPort": http,
            "RemoteAccessAllowed": False,
            "AuthenticationEnabled": False,
            "DicomPort": self.port,
            "DicomAet": "ARCHIVE",
            "DicomCheckCalledAet": True,
            "DicomAlwaysAllowStore": False,
            "DicomAlwaysAllowEcho": False,
            "DicomCheckModalityHost": True,
            "DicomModalities": {"scanner": ["SCANNER", "127.0.0.1", 104]},
        }
        (self.folder / "orthanc.json").write_text(json.dumps(settings))
        with open(self.folder / "orthanc.log", "wb") as log:
            self.process = subprocess.Popen(
                [self.programs["Orthanc"], str(self.folder / "orthanc.json")],
                cwd=self.folder,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
            )
        try:
            wait_for(self._answers, seconds=60)
        except BaseException:
            self.__exit__()
            raise
        return self

    def __exit__(self, *error):
        self.process.terminate()
        try:
            self.process.wait(timeout=30)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()

    def _answers(self):
        assert self.process.poll() is None, (self.folder / "orthanc.log").read_text(errors="replace")
        try:
            requests.get(f"{self.url}/system", timeout=5).raise_for_status()
            with socket.create_connection(("127.0.0.1", self.port), timeout=5):
                return True
        except (requests.RequestException, OSError):
            return False

    def send(self, folder):
        """Send all files of a folder as a user would."""
        start = [self.programs["storescu"], "-aet", "SCANNER", "-aec", "ARCHIVE", "+sd", "+r"]
        done = subprocess.run(
            [*start, "127.0.0.1", str(self.port), str(folder)],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            timeout=120,
            check=False,
        )
        assert done.returncode == 0, done.stdout

    def ask(self, path):
        answer = requests.get(f"{self.url}/{path}", timeout=30)
        answer.raise_for_status()
        return answer.json() if "json" in answer.headers["Content-Type"] else answer.content
