"""Enhanced CT: many slices in one file."""

import json
import shutil
import subprocess
import tracemalloc

import numpy as np
import pytest
from dicom_files import FRAME_TYPE, images_of, item, make_enhanced, write_slice
from pydicom.uid import (
    DeflatedExplicitVRLittleEndian,
    ImplicitVRLittleEndian,
    LegacyConvertedEnhancedCTImageStorage,
    RLELossless,
)

from quietct.ct.dicom.convert import convert_series
from quietct.ct.dicom.series import read_series
from quietct.ct.sources import fetch_series
from quietct.errors import UserError


def stored(k, shape=(6, 4)):
    return np.random.default_rng(k).integers(0, 4000, shape).astype(np.uint16)


def saved(folder, ds, name="a.dcm"):
    folder.mkdir(exist_ok=True)
    ds.save_as(folder / name, enforce_file_format=True)
    return folder


def converted(folder, tmp_path, **options):
    convert_series(folder, tmp_path / "v.npy", tmp_path / "v.json", **options)
    return np.load(tmp_path / "v.npy"), json.loads((tmp_path / "v.json").read_text())


def scaled(slope, intercept):
    return {
        "PixelValueTransformationSequence": item(RescaleSlope=slope, RescaleIntercept=intercept, RescaleType="HU"),
    }


def typed(*kind, **properties):
    return {"CTImageFrameTypeSequence": item(FrameType=list(kind), **(FRAME_TYPE | properties))}


@pytest.mark.parametrize("syntax", [None, ImplicitVRLittleEndian, DeflatedExplicitVRLittleEndian, RLELossless])
def test_each_frame_is_a_slice_with_its_own_place_and_scale(tmp_path, syntax):
    heights = (6.0, 0.0, 3.0)
    frames = [(z, stored(k), scaled(1 + k, -1024 + k)) for k, z in enumerate(heights)]
    ds = make_enhanced(frames, {"PixelValueTransformationSequence": None}, SOPInstanceUID="1.2.8")
    if syntax == RLELossless:
        ds.compress(RLELossless, generate_instance_uid=False)
    elif syntax:
        ds.file_meta.TransferSyntaxUID = syntax
    volume, info = converted(saved(tmp_path / "d", ds), tmp_path)
    truth = [stored(k).astype(int) * (1 + k) - 1024 + k for k in (1, 2, 0)]
    assert np.array_equal(volume, truth)
    assert info["z_mm"] == [0.0, 3.0, 6.0]
    assert (info["multi_frame"], info["frames"]) == (True, [2, 3, 1])
    assert info["sop_instance_uids"] == ["1.2.8"] * 3
    assert (info["kernel"], info["kvp"], info["exposure_mas"]) == ("B40f", 120.0, 26.0)
    assert (info["spacing_mm"], info["slice_thickness_mm"]) == ([0.7, 0.8], 3.0)


def test_the_same_values_as_classic_files_give_the_same_volume(tmp_path):
    for k in range(3):
        write_slice(tmp_path / "classic" / f"{k}", 3.0 * k, stored(k))
    saved(tmp_path / "enhanced", make_enhanced([(3.0 * k, stored(k), {}) for k in range(3)]))
    (tmp_path / "one").mkdir()
    (tmp_path / "many").mkdir()
    one, a = converted(tmp_path / "classic", tmp_path / "one")
    many, b = converted(tmp_path / "enhanced", tmp_path / "many")
    assert np.array_equal(one, many)
    for key in ("z_mm", "spacing_mm", "orientation", "kernel", "slice_thickness_mm", "shape", "gantry_tilt_deg"):
        assert a[key] == b[key], key


def test_attributes_that_a_conversion_did_not_assign_are_found(tmp_path):
    ds = make_enhanced(
        [(0.0, stored(0), {"CTExposureSequence": None}), (3.0, stored(1), {"CTExposureSequence": None})],
        {
            "CTReconstructionSequence": None,
            "CTXRayDetailsSequence": None,
            "UnassignedSharedConvertedAttributesSequence": item(ConvolutionKernel="C", KVP=90, Exposure=33),
        },
    )
    for frame in ds.PerFrameFunctionalGroupsSequence:
        del frame.CTExposureSequence
    ds.SOPClassUID = ds.file_meta.MediaStorageSOPClassUID = LegacyConvertedEnhancedCTImageStorage
    _, info = converted(saved(tmp_path / "d", ds), tmp_path)
    assert (info["kernel"], info["kvp"], info["exposure_mas"]) == ("C", 90.0, 33.0)


@pytest.mark.parametrize(
    "other",
    [
        typed("ORIGINAL", "PRIMARY", "LOCALIZER", "NONE"),
        typed("DERIVED", "SECONDARY", "VOLUME", "MAXIMUM"),
        typed("DERIVED", "SECONDARY", "VOLUME", "NONE", VolumeBasedCalculationTechnique="VOLUME_RENDER"),
        typed("DERIVED", "SECONDARY", "VOLUME", "NONE", VolumetricProperties="DISTORTED"),
        typed("DERIVED", "PRIMARY", "PERFUSION", "RCBF"),
        typed("DERIVED", "SECONDARY", "VOLUME", "RESAMPLED"),
    ],
)
def test_frames_that_are_no_slices_are_left_out(tmp_path, other):
    frames = [(0.0, stored(0), {}), (1.5, stored(9), other), (3.0, stored(1), {})]
    folder = saved(tmp_path / "d", make_enhanced(frames, {"CTImageFrameTypeSequence": None}))
    for frame in images_of(folder / "a.dcm"):  # a frame that says nothing of its own is what the file says
        assert frame.kind[0] in ("ORIGINAL", "DERIVED")
    volume, _ = converted(folder, tmp_path)
    assert np.array_equal(volume, [stored(0).astype(int) - 1024, stored(1).astype(int) - 1024])


def test_derived_frames_of_no_unit_are_refused(tmp_path):
    frames = [(z, stored(0), typed("DERIVED", "PRIMARY", "VOLUME", "NONE")) for z in (0.0, 3.0)]
    unit = {"PixelValueTransformationSequence": item(RescaleSlope=1, RescaleIntercept=0, RescaleType="US")}
    with pytest.raises(UserError, match=r"frame 1 of .*a\.dcm is in units of US"):
        read_series(saved(tmp_path / "d", make_enhanced(frames, unit)))


def test_two_stacks_in_a_file_are_refused_with_what_differs(tmp_path):
    sagittal = {"PlaneOrientationSequence": item(ImageOrientationPatient=[0, 1, 0, 0, 0, -1])}
    frames = [(0.0, stored(0), {}), (3.0, stored(1), {}), (0.0, stored(2), sagittal)]
    with pytest.raises(UserError, match=r"orientation is .* in 2 of them, such as frame 1 of .* in frame 3 of"):
        read_series(saved(tmp_path / "d", make_enhanced(frames)))


def test_one_acquisition_can_be_chosen_among_frames(tmp_path):
    def of(number):
        return {"FrameContentSequence": item(FrameAcquisitionNumber=number)}

    frames = [(3.0 * (k % 3), stored(k), of(1 + k // 3)) for k in range(6)]
    folder = saved(tmp_path / "d", make_enhanced(frames))
    with pytest.raises(UserError, match=r"acquisitions 1 \(3 slices\), 2 \(3 slices\).*`acquisition_number`"):
        read_series(folder)
    volume, info = converted(folder, tmp_path, acquisition_number=2)
    assert info["frames"] == [4, 5, 6]
    assert np.array_equal(volume[0], stored(3).astype(int) - 1024)


@pytest.mark.parametrize("count", [1, 3, 100000])
def test_a_file_that_miscounts_its_frames_is_refused(tmp_path, count):
    ds = make_enhanced([(3.0 * k, stored(k), {}) for k in range(2)])
    ds.NumberOfFrames = count
    with pytest.raises(UserError, match=r"a\.dcm does not describe each of its frames"):
        read_series(saved(tmp_path / "d", ds))


def test_missing_pixels_of_the_last_frame_are_noticed(tmp_path):
    ds = make_enhanced([(3.0 * k, stored(k), {}) for k in range(3)])
    ds.PixelData = ds.PixelData[:-48]
    with pytest.raises(UserError, match=r"incomplete: 96 of 144 bytes"):
        read_series(saved(tmp_path / "d", ds))


def test_the_directory_source_copies_the_whole_file_once(tmp_path):
    given = saved(tmp_path / "given", make_enhanced([(3.0 * k, stored(k), {}) for k in range(3)]))
    fetch_series("directory", str(given / "a.dcm"), tmp_path / "d")
    assert [path.name for path in (tmp_path / "d").iterdir()] == ["0001.dcm"]
    assert (tmp_path / "d" / "0001.dcm").read_bytes() == (given / "a.dcm").read_bytes()


def test_memory_stays_at_one_slice(tmp_path):
    shape = (256, 256)
    folder = saved(tmp_path / "d", make_enhanced([(float(k), stored(k, shape), {}) for k in range(40)]))
    converted(folder, tmp_path)  # imports
    tracemalloc.start()
    converted_peak = (
        convert_series(folder, tmp_path / "v.npy", tmp_path / "v.json") or tracemalloc.get_traced_memory()[1]
    )
    tracemalloc.stop()
    assert converted_peak < 16 * 256 * 256 * 2  # 40 frames in the file; 12 slices' worth are its headers


def test_the_validator_finds_frames_as_they_should_be(tmp_path):
    if shutil.which("dciodvfy") is None:
        pytest.skip("dciodvfy is missing: apt-get install dicom3tools")
    folder = saved(tmp_path / "d", make_enhanced([(3.0 * k, stored(k), {}) for k in range(2)]))
    done = subprocess.run(["dciodvfy", str(folder / "a.dcm")], capture_output=True, text=True, check=False)
    lines = (done.stdout + done.stderr).splitlines()
    assert "EnhancedCTImage" in lines
    wrong = [
        line
        for line in lines
        if line.startswith("Error")
        and any(
            word in line
            for word in (
                "PixelValueTransformation",
                "PlanePosition",
                "PlaneOrientation",
                "PixelMeasures",
                "CTImageFrameType",
                "Rescale",
                "NumberOfFrames",
                "BitsAllocated",
            )
        )
    ]
    assert wrong == []
