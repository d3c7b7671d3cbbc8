"""The files that pydicom is tested with, as the outside judge: oddities of many makers, collected over the years.

Every CT among them is read with the HU that pydicom itself computes, file by file, or refused with a sentence;
everything else is refused. The files are in the packages `pydicom` and `pydicom-data`; nothing is downloaded.
"""

import json
import shutil
from pathlib import Path

import data_store
import numpy as np
import pydicom.data
import pytest
from pydicom import dcmread
from pydicom.errors import InvalidDicomError
from pydicom.pixels import apply_rescale
from pydicom.uid import CTImageStorage, EnhancedCTImageStorage, LegacyConvertedEnhancedCTImageStorage

from quietct.ct.dicom.convert import convert_series
from quietct.ct.sources import fetch_series
from quietct.errors import UserError

SHIPPED = Path(pydicom.data.__file__).parent
FOLDERS = {"pydicom": SHIPPED, "pydicom-data": Path(data_store.__file__).parent / "data"}
CT = {CTImageStorage, EnhancedCTImageStorage, LegacyConvertedEnhancedCTImageStorage}
# CT images that no volume can be made of, and a word of the sentence that says so.
UNUSABLE = {
    "TINY_ALPHA": "ImagePositionPatient",  # 50 files without geometry and pixels
    "CT2N": "no CT images",  # localisers
    "eCT_Supplemental.dcm": "",  # maps of blood flow
}


def found():
    return {
        f"{package}/{path.relative_to(folder)}": path
        for package, folder in FOLDERS.items()
        for path in sorted(folder.rglob("*"))
        if path.is_file() and path.suffix not in {".py", ".pyc"}
    }


FILES = found()


def kind(path):
    """SOP class, None if the file says none, or is no DICOM file."""
    try:
        header = dcmread(path, stop_before_pixels=True)
    except InvalidDicomError:
        return None
    return header.get("SOPClassUID")


CTS = {name: path for name, path in FILES.items() if kind(path) in CT}
USABLE = {name: path for name, path in CTS.items() if not set(UNUSABLE) & set(path.parts)}


def hu_by_pydicom(path):
    ds = dcmread(path)
    stored = ds.pixel_array
    hu = apply_rescale(stored, ds)
    if "PixelPaddingValue" in ds:
        hu[stored == ds.PixelPaddingValue] = -1024
    return np.rint(hu)


@pytest.fixture
def alone(tmp_path):
    """Function that converts a folder with nothing but the file in it."""

    def convert(path):
        (tmp_path / "series").mkdir()
        shutil.copyfile(path, tmp_path / "series" / "file.dcm")
        convert_series(tmp_path / "series", tmp_path / "v.npy", tmp_path / "v.json")
        volume = np.load(tmp_path / "v.npy")
        assert json.loads((tmp_path / "v.json").read_text())["shape"] == list(volume.shape)
        return volume

    return convert


def check_sentence(error, folder):
    text = str(error)
    assert "\n" not in text
    assert text.endswith(".")
    assert len(text) < 400
    assert str(folder) in text  # says where
    assert "Traceback" not in text
    assert not (folder.parent / "v.npy").exists()
    assert not (folder.parent / "v.json").exists()


def test_there_are_many_files_to_judge_with():
    assert len(FILES) > 250
    assert len(CTS) > 60
    assert len(USABLE) >= 17
    for word in UNUSABLE:
        assert any(word in path.parts for path in CTS.values()), word
    syntaxes = {dcmread(path, stop_before_pixels=True).file_meta.TransferSyntaxUID for path in USABLE.values()}
    assert len(syntaxes) >= 4


@pytest.mark.parametrize("name", USABLE)
def test_ct_has_the_hu_that_pydicom_computes(alone, name):
    volume = alone(USABLE[name])
    assert volume.shape[0] == 1
    assert np.array_equal(volume[0], hu_by_pydicom(USABLE[name]))


@pytest.mark.parametrize("name", [name for name in CTS if name not in USABLE])
def test_unusable_ct_is_refused_in_a_sentence(alone, tmp_path, name):
    with pytest.raises(UserError) as caught:
        alone(CTS[name])
    check_sentence(caught.value, tmp_path / "series")
    assert next(words for word, words in UNUSABLE.items() if word in CTS[name].parts) in str(caught.value)


@pytest.mark.parametrize("name", [name for name in FILES if name not in CTS])
def test_all_that_is_no_ct_is_refused_in_a_sentence(alone, tmp_path, name):
    with pytest.raises(UserError) as caught:
        alone(FILES[name])
    check_sentence(caught.value, tmp_path / "series")


def test_other_objects_beside_a_ct_are_passed_over(tmp_path):
    ct = SHIPPED / "test_files/CT_small.dcm"
    others = [path for name, path in FILES.items() if name not in CTS and kind(path)]
    others += [path for path in FILES.values() if path.suffix in {".txt", ".json", ".gz", ".dump", ".icc"}]
    assert len(others) > 150
    (tmp_path / "series").mkdir()
    for k, path in enumerate([*others, ct]):
        shutil.copyfile(path, tmp_path / "series" / f"{k}.dcm")
    convert_series(tmp_path / "series", tmp_path / "v.npy", tmp_path / "v.json")
    assert np.array_equal(np.load(tmp_path / "v.npy"), [hu_by_pydicom(ct)])


@pytest.mark.parametrize("location", ["", "DICOMDIR", "DICOMDIR-reordered", "98892001/CT5N"])
def test_a_series_of_a_real_medium_is_found_through_its_folder_or_index(tmp_path, location):
    medium = SHIPPED / "test_files/dicomdirtests"
    slices = [medium / "98892001/CT5N" / name for name in ("3353", "3023", "2693", "2392", "2062")]
    uid = str(dcmread(slices[0]).SeriesInstanceUID)
    fetch_series("directory", str(medium / location), tmp_path / "series", series_instance_uid=uid)
    convert_series(tmp_path / "series", tmp_path / "v.npy", tmp_path / "v.json")
    assert np.array_equal(np.load(tmp_path / "v.npy"), [hu_by_pydicom(path) for path in slices])
    assert json.loads((tmp_path / "v.json").read_text())["z_mm"] == [-1.2375, 1.2625, 3.7625, 6.2625, 8.7625]
