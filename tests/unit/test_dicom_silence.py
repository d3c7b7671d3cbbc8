"""pydicom's warnings and errors quote values; none of them may reach a log."""

import logging
import warnings
from types import SimpleNamespace

import pytest
from dicom_files import write_series

from quietct.ct.dicom.convert import convert_series
from quietct.errors import UserError
from quietct.logs import logged

SECRET = b"Meier-Anna"


def spoil(path, old, new):
    whole = path.read_bytes()
    assert whole.count(old) == 1
    assert len(old) == len(new)
    path.write_bytes(whole.replace(old, new))


@pytest.mark.parametrize("keyword", ["SliceThickness", "KVP", "StudyInstanceUID", "PatientBirthDate", "Exposure"])
def test_no_value_of_a_header_is_quoted_in_a_log(tmp_path, keyword):
    text = {"PatientBirthDate": "20240101", "Exposure": 12345678}.get(keyword, "1234567890")
    folder = write_series(tmp_path / "d", (0.0, 3.0), **{keyword: text})
    for path in folder.iterdir():
        spoil(path, str(text).encode(), SECRET[: len(str(text))])
    with logged(SimpleNamespace(log=[tmp_path / "log"], rule="convert_series", wildcards={}, threads=1)):
        convert_series(folder, tmp_path / "v.npy", tmp_path / "v.json")
    logging.captureWarnings(False)
    log = (tmp_path / "log").read_text()
    assert "2 slices" in log
    assert "Meier" not in log
    if keyword != "StudyInstanceUID":
        assert "Meier" not in (tmp_path / "v.json").read_text()


def test_pydicom_speaks_again_afterwards(tmp_path):
    level = logging.getLogger("pydicom").level
    convert_series(write_series(tmp_path / "d"), tmp_path / "v.npy", tmp_path / "v.json")
    with pytest.raises(UserError):
        convert_series(write_series(tmp_path / "e", RescaleSlope=None), tmp_path / "v.npy", tmp_path / "v.json")
    assert logging.getLogger("pydicom").level == level
    with pytest.warns(UserWarning, match="heard"):
        warnings.warn("heard", stacklevel=1)
