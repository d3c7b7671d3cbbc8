"""The JSON of a physicist's measures: what it holds, and what it says where something is missing."""

import json
import math

import numpy as np
import pytest
from blurred_discs import PIXEL_MM, blurred_discs

from quietct.ct.volume import NO_VALUE, new_volume, to_int16, write_info
from quietct.evaluation.physics import MEASURES, measure_physics


@pytest.fixture(scope="module")
def chest():
    """Three slices of discs in lung above muscle, bone and air: HU (3, 200, 96), the nodules and the heights."""
    discs, table, z_mm = blurred_discs(0.6, (8.0, 8.0, 3.0), contrast_hu=800.0)
    target = np.full((3, 200, 96), 50.0)
    target[:, :96] = discs
    target[:, 196:198], target[:, 198:] = 400, -1000
    return target, table, z_mm


@pytest.fixture
def measure(tmp_path):
    """Function that measures an image of a target and gives the JSON, which must not hold NaN."""

    def run(image, target, table, z_mm, **more):
        for name, volume in (("image", image), ("target", target)):
            with new_volume(tmp_path / f"{name}.npy", volume.shape) as file:
                file[:] = to_int16(volume)
        table.to_csv(tmp_path / "nodules.tsv", sep="\t", index=False)
        spacing = more.pop("spacing_mm", [PIXEL_MM, PIXEL_MM])
        write_info(tmp_path / "series.json", {"spacing_mm": spacing, "z_mm": list(z_mm)})
        paths = [tmp_path / name for name in ("target.npy", "series.json", "image.npy", "nodules.tsv", "physics.json")]
        known = {"noise": "n", "method": "m", "series": "s", "exact_target": True, "no_task": "There is no task."}
        measure_physics(*paths, **known | more)

        def refuse(constant):
            raise AssertionError(f"{constant} is no number")

        return json.loads((tmp_path / "physics.json").read_text(), parse_constant=refuse)

    return run


def missing(found):
    return {name for name in MEASURES if "missing" in found[name]}


def test_everything_is_measured_and_named(measure, chest):
    target, table, z_mm = chest
    image = target + np.random.default_rng(1).normal(0, 20, target.shape)
    found = measure(image, target, table, z_mm)
    assert list(found) == ["noise", "method", "series", *MEASURES]
    assert [found[key] for key in ("noise", "method", "series")] == ["n", "m", "s"]
    assert missing(found) == {"detectability"}
    assert found["detectability"]["missing"] == "There is no task."
    assert found["noise_power"]["sd_hu"] == pytest.approx(20, rel=0.03)
    assert found["task_transfer"]["n_nodules"] == 2
    assert found["nodules"]["contrast_recovery"] == pytest.approx(1, abs=0.02)
    assert len(found["nodules"]["rows"]) == 3


def test_an_image_equal_to_its_target_has_no_infinite_numbers(measure, chest):
    target, table, z_mm = chest
    found = measure(target, target, table, z_mm)
    assert missing(found) == {"detectability"}
    assert found["noise_power"]["sd_hu"] == 0
    assert found["task_transfer"]["cnr"] is None
    assert found["nodules"]["cnr"] is None
    assert found["nodules"]["contrast_recovery"] == 1


def test_only_held_out_slices_are_measured(measure, chest):
    target, table, z_mm = chest
    image = target.copy()
    image[::2] = np.random.default_rng(6).normal(0, 100, image[::2].shape)
    split = {"every": 3, "offset_mm": 10.0}  # the second slice
    found = measure(image, target, table, z_mm, split=split)
    assert [row["slice"] for row in found["nodules"]["rows"]] == [1]
    assert found["nodules"]["contrast_recovery"] == 1
    assert found["noise_power"]["sd_hu"] == 0


def test_without_nodules_the_noise_is_still_measured(measure, chest):
    target, table, z_mm = chest
    found = measure(target, target, table.iloc[:0], z_mm)
    assert missing(found) == {"task_transfer", "nodules", "detectability"}
    assert found["nodules"]["missing"] == "It is not known where the series has nodules."


def test_nodules_above_the_scan_are_not_measured(measure, chest):
    target, table, z_mm = chest
    found = measure(target, target, table.assign(z_mm=500.0), z_mm)
    assert missing(found) == {"task_transfer", "nodules", "detectability"}


@pytest.mark.parametrize(("clip", "hidden"), [((-160, 240), True), ((-1024, -100), True), ((-1024, 240), False)])
def test_edges_that_the_grey_scale_cuts_off_are_not_measured(measure, chest, clip, hidden):
    """A picture from -160 HU shows the edge of a nodule in the lung steeper than it is, however blurred."""
    target, table, z_mm = chest
    found = measure(np.clip(target, *clip), np.clip(target, *clip), table, z_mm)
    of_nodules = {"task_transfer", "nodules"}
    assert missing(found) & of_nodules == (of_nodules if hidden else set())
    assert not hidden or found["nodules"]["missing"].startswith("The grey scale of the scan ends")


def test_the_scan_tells_where_the_grey_scale_ends(measure, chest, tmp_path):
    target, table, z_mm = chest
    np.save(tmp_path / "scan.npy", np.clip(target, -160, 240).astype(np.int16))
    assert "nodules" in missing(measure(target, target, table, z_mm, scan=tmp_path / "scan.npy"))


def test_a_method_that_failed_in_a_slice_has_no_numbers(measure, chest):
    target, table, z_mm = chest
    image = target.copy()
    image[1, 4, 5] = np.nan
    assert (to_int16(image) == NO_VALUE).sum() == 1
    found = measure(image, target, table, z_mm)
    assert missing(found) == set(MEASURES)
    assert found["noise_power"]["missing"] == "The method failed in 1 of 3 slices."


@pytest.mark.parametrize("hu", [-1000.0, 0.0, 50.0])
def test_a_constant_image_shows_no_edges_and_is_no_error(measure, chest, hu):
    target, table, z_mm = chest
    found = measure(np.full(target.shape, hu), target, table, z_mm)
    assert missing(found) == {"task_transfer", "detectability"}
    assert found["nodules"]["contrast_recovery"] == 0
    assert all(value is None or math.isfinite(value) for row in found["nodules"]["rows"] for value in row.values())


def test_a_constant_target_is_no_error(measure, chest):
    target, table, z_mm = chest
    flat = np.full(target.shape, 50.0)
    found = measure(flat, flat, table, z_mm)
    assert missing(found) == {"task_transfer", "nodules", "detectability"}
    assert found["noise_power"]["peak_per_mm"] is None


def test_an_image_smaller_than_a_region_and_a_single_slice_are_no_error(measure, chest):
    target, table, z_mm = chest
    small = target[:1, :12, :12]
    assert missing(measure(small, small, table, z_mm[:1])) == set(MEASURES)
    assert missing(measure(target[:1], target[:1], table, z_mm[:1])) == {"detectability"}


def test_pixels_that_are_no_squares_are_explained(measure, chest):
    target, table, z_mm = chest
    found = measure(target, target, table, z_mm, spacing_mm=[0.7, 1.0])
    assert found["task_transfer"]["missing"] == "The pixels are not square."
