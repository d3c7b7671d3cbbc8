"""A server that speaks as NBIA does, and a fetch from it."""

from functools import partial

import pytest
from nbia_series import SERIES, make_images, table_row
from nbia_server import NbiaServer

from quietct.ct.sources import fetch_series, tcia
from quietct.ct.sources.download import Policy


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
    """Fetch the series from TCIA and give its files in order; `expected` is its row in the table."""
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
