"""DICOM in, DICOM out: what is written, when, and where."""

import os
import re
import shutil
import tracemalloc
import zipfile

import numpy as np
import pytest
from dicom_files import make_enhanced, write_series, write_slice
from PIL import Image as Picture
from pydicom import dcmread

from quietct.apply.denoise_dicom import DEMO_WEIGHTS, denoise_dicom
from quietct.errors import UserError
from quietct.nn.architecture import Architecture
from quietct.nn.network import Network
from quietct.nn.weights import save_network

LAYERS = [{"filters": 4, "kernel": 5}, {"filters": 4, "kernel": 3}, {"filters": 1, "kernel": 3}]
DESCRIPTION = {"normalisation": {"shift_hu": -500, "scale_hu": 1000}, "network": "tiny", "variant": "sgd"}


@pytest.fixture(scope="module")
def network():
    network = Network(Architecture.from_config({"layers": LAYERS, "residual": True}))
    network.initialise(np.random.default_rng(3))
    return network


@pytest.fixture(scope="module")
def weights(tmp_path_factory, network):
    path = tmp_path_factory.mktemp("weights") / "weights.npz"
    save_network(path, network, DESCRIPTION)
    return path


def make_scan(folder, count=3, shape=(60, 44), **attributes):
    """A series of noise around water; no two slices, and no two pixels side by side, are the same."""
    rng = np.random.default_rng(5)
    for k in range(count):
        stored = rng.integers(900, 1200, shape).astype(np.uint16)
        write_slice(folder / f"{k}.dcm", 3.0 * k, stored, SOPInstanceUID=f"1.2.3.4.{k + 1}", BitsStored=12, HighBit=11,
                    SeriesDescription="Chest", **attributes)  # fmt: skip
    return folder


@pytest.fixture
def scan(tmp_path):
    return make_scan(tmp_path / "scan")


def contents(folder):
    return {path.name: path.read_bytes() for path in sorted(folder.iterdir())}


def hounsfield(folder):
    slices = [dcmread(path) for path in sorted(folder.glob("*.dcm"))]
    return np.stack([ds.pixel_array * float(ds.RescaleSlope) + float(ds.RescaleIntercept) for ds in slices])


def test_every_pixel_is_what_the_network_makes_of_the_whole_slice(tmp_path, scan, weights, network):
    assert denoise_dicom(weights, scan, tmp_path / "out", threads=1)
    before, after = hounsfield(scan), hounsfield(tmp_path / "out")
    shift, scale = np.float32(-500), np.float32(1000)
    whole = network.apply((before.astype(np.float32)[:, None] - shift) / scale)[:, 0] * scale + shift
    expected = np.rint(np.clip(whole, -1024, 3071))
    np.testing.assert_array_equal(after, expected)
    assert np.abs(after - before).mean() > 1


def test_tiles_and_threads_do_not_change_a_byte(tmp_path, scan, weights):
    for threads in (1, 3):  # as many tiles
        denoise_dicom(weights, scan, tmp_path / str(threads), threads=threads)
    assert contents(tmp_path / "1") == contents(tmp_path / "3")


def test_a_zip_gives_the_same_bytes_as_the_folder_and_leaves_nothing_unpacked(tmp_path, scan, weights):
    with zipfile.ZipFile(tmp_path / "scan.zip", "w", zipfile.ZIP_DEFLATED) as archive:
        for path in scan.iterdir():
            archive.write(path, f"IMAGES/{path.name}")
    denoise_dicom(weights, scan, tmp_path / "from_folder")
    denoise_dicom(weights, tmp_path / "scan.zip", tmp_path / "new" / "from_zip")
    assert contents(tmp_path / "from_folder") == contents(tmp_path / "new" / "from_zip")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["from_folder", "new", "scan", "scan.zip"]
    assert [path.name for path in (tmp_path / "new").iterdir()] == ["from_zip"]


def test_a_damaged_slice_of_a_zip_is_named_as_in_the_zip(tmp_path, scan, weights):
    ds = dcmread(scan / "1.dcm")
    ds.compress("1.2.840.10008.1.2.5")
    ds.PixelData = ds.PixelData[:40] + b"\xff" * 200 + ds.PixelData[240:]
    ds.save_as(scan / "1.dcm")
    with zipfile.ZipFile(tmp_path / "scan.zip", "w") as archive:
        for path in scan.iterdir():
            archive.write(path, f"IMAGES/{path.name}")
    with pytest.raises(UserError, match=r"scan\.zip:IMAGES/1\.dcm"):
        denoise_dicom(weights, tmp_path / "scan.zip", tmp_path / "out")
    assert not (tmp_path / "out").exists()
    assert denoise_dicom(weights, tmp_path / "scan.zip", tmp_path / "out", unusable="skip")
    assert len(contents(tmp_path / "out")) == 2


def test_a_single_file_and_a_compressed_series_are_denoised(tmp_path, scan, weights):
    denoise_dicom(weights, scan, tmp_path / "plain")
    denoise_dicom(weights, scan / "1.dcm", tmp_path / "one")
    np.testing.assert_array_equal(hounsfield(tmp_path / "one")[0], hounsfield(tmp_path / "plain")[1])
    for path in scan.iterdir():
        ds = dcmread(path)
        ds.compress("1.2.840.10008.1.2.5")
        ds.save_as(path)
    denoise_dicom(weights, scan, tmp_path / "packed")
    np.testing.assert_array_equal(hounsfield(tmp_path / "packed"), hounsfield(tmp_path / "plain"))


def test_frames_of_an_enhanced_ct_become_slices_and_the_second_run_finds_them(tmp_path, weights):
    frames = [
        (z, np.random.default_rng(k).integers(900, 1200, (40, 30)).astype(np.uint16), {}) for k, z in enumerate((3, 0))
    ]
    (tmp_path / "scan").mkdir()
    make_enhanced(frames).save_as(tmp_path / "scan" / "enhanced.dcm", enforce_file_format=True)
    assert denoise_dicom(weights, tmp_path / "scan", tmp_path / "out")
    assert [dcmread(path).ImagePositionPatient[2] for path in sorted((tmp_path / "out").iterdir())] == [0, 3]
    assert not denoise_dicom(weights, tmp_path / "scan", tmp_path / "out")


def test_finished_output_is_left_alone(tmp_path, scan, weights):
    out = tmp_path / "out"
    assert denoise_dicom(weights, scan, out)
    for path in out.iterdir():
        os.utime(path, (1, 1))
    assert not denoise_dicom(weights, scan, out)
    assert {path.stat().st_mtime for path in out.iterdir()} == {1}
    assert denoise_dicom(weights, scan, out, force=True)
    assert 1 not in {path.stat().st_mtime for path in out.iterdir()}


def other_weights(tmp_path, scan, network):
    other = Network(network.architecture)
    other.parameters[...] = network.parameters * np.float32(1.01)
    save_network(tmp_path / "other.npz", other, DESCRIPTION)
    return tmp_path / "other.npz"


def other_pixels(tmp_path, scan, network):
    ds = dcmread(scan / "2.dcm")
    ds.PixelData = b"\x10\x04" + ds.PixelData[2:]
    ds.save_as(scan / "2.dcm")


def a_slice_less(tmp_path, scan, network):
    (tmp_path / "out" / "0002.dcm").unlink()


@pytest.mark.parametrize("change", [other_weights, other_pixels, a_slice_less])
def test_output_of_something_else_is_replaced_with_force_alone(tmp_path, scan, weights, network, change):
    out = tmp_path / "out"
    denoise_dicom(weights, scan, out)
    now = change(tmp_path, scan, network) or weights
    before = contents(out)
    with pytest.raises(UserError, match="--force"):
        denoise_dicom(now, scan, out)
    assert contents(out) == before
    assert denoise_dicom(now, scan, out, force=True)
    assert contents(out) != before
    assert not denoise_dicom(now, scan, out)


def test_exported_weights_give_the_same_result(tmp_path, scan, weights, network):
    save_network(tmp_path / "exported.npz", network, {**DESCRIPTION, "quality": {"window_hu": [0, 1]}})
    denoise_dicom(weights, scan, tmp_path / "out")
    assert not denoise_dicom(tmp_path / "exported.npz", scan, tmp_path / "out")


@pytest.mark.parametrize("name", ["notes.txt", "0004.dcm"])
def test_not_even_force_removes_what_quietct_did_not_write(tmp_path, scan, weights, name):
    out = tmp_path / "out"
    denoise_dicom(weights, scan, out)
    shutil.copy(scan / "1.dcm", out / name)
    before = contents(out)
    with pytest.raises(UserError, match=f"did not write, for example {name}"):
        denoise_dicom(weights, scan, out, force=True)
    assert contents(out) == before


@pytest.mark.parametrize(
    ("source", "output", "preview", "sentence"),
    [
        ("scan", "scan", None, "lies in the input"),
        ("scan", "scan/out", None, "lies in the input"),
        ("scan", "link/out", None, "lies in the input"),
        ("scan", ".", None, "lies in the output"),
        ("scan", "scan/0.dcm", None, "lies in the input"),
        ("scan/0.dcm", "scan", None, "lies in the output"),
        ("scan", "file", None, "is a file"),
        ("scan", "out", "look.jpg", r"\.png"),
        ("scan", "out", "out/look.png", "nothing but DICOM"),
        ("scan", "out", "scan/look.png", "nothing but DICOM"),
        ("scan", "out", "there.png", "exists"),
        ("nowhere", "out", None, "does not exist"),
        ("scan", "/proc/quietct/out", None, "cannot be used"),
    ],
)
def test_places_that_do_not_fit_are_refused_before_anything_is_written(
    tmp_path, monkeypatch, scan, weights, source, output, preview, sentence
):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "link").symlink_to(scan)
    for name in ("file", "there.png"):
        (tmp_path / name).write_text("mine")
    before = sorted(tmp_path.rglob("*"))
    with pytest.raises(UserError, match=sentence):
        denoise_dicom(weights, source, output, preview=preview)
    assert sorted(tmp_path.rglob("*")) == before


def test_an_empty_folder_is_filled(tmp_path, scan, weights):
    (tmp_path / "out").mkdir()
    assert denoise_dicom(weights, scan, tmp_path / "out")
    assert len(contents(tmp_path / "out")) == 3


@pytest.mark.parametrize(
    "change", [{"Modality": "MR", "SOPClassUID": "1.2.840.10008.5.1.4.1.1.4"}, {"RescaleSlope": None}]
)
def test_what_is_not_ct_in_hounsfield_units_is_refused(tmp_path, weights, change):
    folder = write_series(tmp_path / "scan", **change)
    with pytest.raises(UserError, match=r"no CT images|no rescale slope"):
        denoise_dicom(weights, folder, tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_a_diverged_network_is_refused_and_writes_nothing(tmp_path, scan):
    diverged = Network(Architecture.from_config({"layers": LAYERS, "residual": True}))
    diverged.initialise(np.random.default_rng(3))
    diverged.parameters[:] *= 1e30
    save_network(tmp_path / "diverged.npz", diverged, DESCRIPTION)
    with pytest.raises(UserError, match=r"no numbers for .*Use other weights"):
        denoise_dicom(tmp_path / "diverged.npz", scan, tmp_path / "out")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["diverged.npz", "scan"]


def test_what_differs_from_the_training_data_is_told(tmp_path, scan, network, caplog):
    facts = {"spacing_mm": [0.3, 0.4], "slice_thickness_mm": [3, 3], "kernels": ["B40f"], "kvp": []}
    save_network(tmp_path / "w.npz", network, {**DESCRIPTION, "training_data": facts})
    denoise_dicom(tmp_path / "w.npz", scan, tmp_path / "out")
    assert [record.getMessage() for record in caplog.records if record.levelname == "WARNING"] == [
        "Warning: The pixels measure 0.7 to 0.8 mm; those of the training data 0.3 to 0.4 mm."
    ]


def test_the_preview_shows_the_middle_slice_before_and_after(tmp_path, weights):
    # Slices of one grey each: what is black and white in the picture tells which slice it shows.
    rng = np.random.default_rng(1)
    for k, hu in enumerate((-1000, 0, 1000)):
        stored = (hu + 1024 + rng.integers(0, 3, (200, 200))).astype(np.uint16)
        write_slice(tmp_path / "scan" / f"{k}.dcm", 3.0 * k, stored)
    denoise_dicom(weights, tmp_path / "scan", tmp_path / "out", preview=tmp_path / "look.png", window_hu=(-400, 400))
    with Picture.open(tmp_path / "look.png") as picture:
        grey = np.asarray(picture.convert("L"), float)
        assert picture.width == 1500
    assert np.median(grey[250:350, 200:300]) == pytest.approx(255 * (1 + 400) / 800, abs=2)
    after = hounsfield(tmp_path / "out")[1]
    assert np.median(grey[250:350, 700:800]) == pytest.approx(
        np.clip(255 * (np.median(after) + 400) / 800, 0, 255), abs=2
    )


def test_a_gif_scrolls_through_all_slices_and_is_drawn_of_finished_output_too(tmp_path, scan, weights):
    denoise_dicom(weights, scan, tmp_path / "out")
    assert not denoise_dicom(weights, scan, tmp_path / "out", preview=tmp_path / "look.gif")
    with Picture.open(tmp_path / "look.gif") as film:
        assert film.n_frames == 3
    drawn = (tmp_path / "look.gif").stat().st_mtime_ns
    assert not denoise_dicom(weights, scan, tmp_path / "out", preview=tmp_path / "look.gif")
    assert (tmp_path / "look.gif").stat().st_mtime_ns == drawn


def test_the_weights_of_the_package_are_small_and_say_what_they_are(tmp_path, scan, caplog):
    assert DEMO_WEIGHTS.stat().st_size < 300_000
    with caplog.at_level("INFO"):
        denoise_dicom(None, scan, tmp_path / "out")
    assert "synthetic chest" in caplog.text
    assert "not for diagnosis" in caplog.text


def peak_mb(weights, scan, out):
    denoise_dicom(weights, scan, out.with_name("warm"))  # imports count for nothing
    tracemalloc.start()
    denoise_dicom(weights, scan, out)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    shutil.rmtree(out.with_name("warm"))
    return peak / 1e6


def test_memory_does_not_grow_with_the_number_of_slices(tmp_path, weights):
    few, many = (
        peak_mb(weights, make_scan(tmp_path / f"scan{count}", count, (256, 256)), tmp_path / f"out{count}")
        for count in (2, 12)
    )
    assert many < 1.1 * few


def test_memory_of_the_network_is_that_of_a_tile(tmp_path):
    """The layers of a whole slice of 1536 x 1024 pixels would take 201 MB, those of a tile 17 MB."""
    wide = Network(Architecture.from_config({"layers": [{"filters": 16, "kernel": 3}] * 2 + [LAYERS[-1]]}))
    wide.initialise(np.random.default_rng(3))
    narrow = Network(Architecture.from_config({"layers": [{"filters": 1, "kernel": 3}] * 3}))
    narrow.initialise(np.random.default_rng(3))
    scan = make_scan(tmp_path / "scan", 1, (1536, 1024))
    peaks = []
    for name, network in (("wide", wide), ("narrow", narrow)):
        save_network(tmp_path / f"{name}.npz", network, DESCRIPTION)
        peaks.append(peak_mb(tmp_path / f"{name}.npz", scan, tmp_path / f"out_{name}"))
    assert peaks[0] - peaks[1] < 60


def test_the_script_of_the_page_measures_the_noise_index(tmp_path, monkeypatch, capsys, repository):
    page = (repository / "docs" / "your_scans.md").read_text(encoding="utf-8")
    script = page.partition("```python\n")[2].partition("```")[0]
    rng = np.random.default_rng(1)
    for folder, sigma in (("scan", 40), ("denoised", 10)):
        for k in range(8):
            stored = np.rint(1074 + sigma * rng.standard_normal((340, 340))).astype(np.uint16)
            write_slice(tmp_path / folder / f"{k}.dcm", 3.0 * k, stored)
    monkeypatch.chdir(tmp_path)
    exec(script, {})
    lines = [line for line in capsys.readouterr().out.splitlines() if "noise index" in line]
    found = [[float(number) for number in re.findall(r"(?<=mean |ndex )[\d.]+", line)] for line in lines]
    # 6 of 400 degrees of freedom go into the slope that is taken off.
    np.testing.assert_allclose(found, [[50, 40 * np.sqrt(394 / 400)], [50, 10 * np.sqrt(394 / 400)]], rtol=0.04)
