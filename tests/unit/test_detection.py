"""The detection task: nodules where its JSON says, and slices alike but for them."""

import json

import numpy as np
import pytest

from quietct.ct.detection import detection_sites, make_detection_task, region_side
from quietct.ct.phantom import PIXEL_MM, phantom, soft_kernel
from quietct.ct.slice_profile import noise_cells
from quietct.ct.volume import open_volume, read_info, write_info
from quietct.errors import UserError
from quietct.evaluation.detectability import measure_detectability, regions_of

LAYOUT = 3
TASK = {"diameter_mm": 4.0, "density_hu": -600.0, "sites": 20, "slices": 2}


def facts(exposure_mas):
    own = {"spacing_mm": [PIXEL_MM] * 2, "slice_thickness_mm": 2.0, "exposure_mas": exposure_mas}
    return own | {"z_mm": [-4.0, -2.0, 0.0, 2.0], "kernel": "RAMP_HANN", "patient": "not to be copied"}


def made(folder, exposure_mas, **change):
    write_info(folder / "series.json", facts(exposure_mas))
    wanted = {"layout": LAYOUT, "repeat": 1} | TASK | change
    make_detection_task(folder / "series.json", folder / "task.npy", folder / "task.json", **wanted)
    return np.array(open_volume(folder / "task.npy"), float), read_info(folder / "task.json")


@pytest.fixture(scope="module")
def exact(tmp_path_factory):
    """A task without noise."""
    return made(tmp_path_factory.mktemp("exact"), None)


def test_slices_differ_by_the_nodules_alone_and_they_are_where_the_json_says(exact):
    volume, info = exact
    at = np.arange(512)
    assert volume.shape == (4, 512, 512)
    for pair in info["detection"]["pairs"]:
        more = volume[pair["present"]] - volume[pair["absent"]]
        places = list(zip(pair["rows"], pair["columns"], strict=True))
        assert len(places) == TASK["sites"]
        far = np.ones((512, 512), bool)
        for row, column in places:
            near = np.hypot(at[:, None] - row, at - column) * PIXEL_MM < 4.5
            far &= ~near
            weight = np.where(near, more, 0)
            assert (weight * at[:, None]).sum() / weight.sum() == pytest.approx(row, abs=0.1)
            assert (weight * at).sum() / weight.sum() == pytest.approx(column, abs=0.1)
            assert 190 < more[row, column] < 320  # from about -850 to -600 HU
        assert np.abs(more[far]).max() <= 5  # ripples of the kernel


def test_slices_show_the_chest_at_the_heights_of_the_series_without_its_own_nodules(exact):
    volume, info = exact
    pairs = info["detection"]["pairs"]
    assert [pair["chest_z_mm"] for pair in pairs] == [-4, 2]
    expected = soft_kernel(phantom(LAYOUT).render_slice(-4.0, 2.0, with_nodules=False))
    assert np.abs(volume[0] - np.rint(expected)).max() <= 1


def test_no_two_slices_share_noise_in_the_model_of_low_dose(exact):
    info = exact[1]
    cells = [{cell for cell, _ in own} for own in noise_cells(info["z_mm"], info["slice_thickness_mm"])]
    assert all(not a & b for k, a in enumerate(cells) for b in cells[:k])


def test_the_json_is_like_that_of_a_series(exact):
    info = exact[1]
    assert info["shape"] == [4, 512, 512]
    assert len(info["z_mm"]) == 4
    assert info["kernel"] == "RAMP_HANN"
    assert "patient" not in info


def test_scans_have_independent_noise_of_the_exposure_and_are_made_again_alike(tmp_path, exact):
    volume, info = made(tmp_path, 100.0, slices=1)
    noise = (volume - exact[0][:2])[:, 200:312, 200:312].reshape(2, -1)
    assert noise.std() == pytest.approx(12 * np.sqrt(3 / 2), rel=0.15)  # 12 HU at 100 mAs and 3 mm
    assert abs(np.corrcoef(noise)[0, 1]) < 0.05
    again, _ = made(tmp_path, 100.0, slices=1)
    assert np.array_equal(volume, again)
    assert json.loads((tmp_path / "task.json").read_text()) == info


def test_regions_of_sites_do_not_overlap_and_hold_neither_wall_nor_airway():
    truth = phantom(LAYOUT).render_slice(0.0, 1.0, with_nodules=False)
    side = region_side(3.0, PIXEL_MM)
    assert side % 2
    assert side * PIXEL_MM >= 9
    sites = detection_sites(truth, 3.0, 40, np.random.default_rng(1))
    assert len(sites) == 40
    taken = np.zeros((512, 512), int)
    for row, column in sites:
        region = np.s_[row - side // 2 : row + side // 2 + 1, column - side // 2 : column + side // 2 + 1]
        taken[region] += 1
        assert truth[region].max() < -500
        assert truth[region].min() > -950
    assert taken.max() == 1
    assert {tuple(site) for site in sites} != {
        tuple(site) for site in detection_sites(truth, 3.0, 40, np.random.default_rng(2))
    }


def test_more_nodules_than_the_lungs_have_room_for_are_refused(tmp_path):
    with pytest.raises(UserError, match=r"detection.sites is 200, but at -4 mm the lungs .* have room for \d+ nodules"):
        made(tmp_path, None, sites=200)
    assert not (tmp_path / "task.npy").exists()


def test_the_observer_looks_at_the_middle_of_the_nodules(exact):
    volume, info = exact
    task = info["detection"]
    present, absent = (regions_of(volume, task["pairs"], kind, task["side_px"]) for kind in ("present", "absent"))
    more, at = (present - absent).mean(axis=0), np.arange(task["side_px"]) - task["side_px"] // 2
    assert [(more * at[:, None]).sum() / more.sum(), (more * at).sum() / more.sum()] == pytest.approx([0, 0], abs=0.1)


def test_plain_nodules_are_detected_and_their_absence_is_not(exact):
    volume, info = exact
    pairs = info["detection"]["pairs"] * 2
    info = info | {"detection": info["detection"] | {"pairs": pairs}}
    rng = np.random.default_rng(4)
    found = measure_detectability(volume + rng.normal(0, 20, volume.shape), info)
    assert found["n_present"] == found["n_absent"] == 80
    assert found["d_prime"] > 6
    assert found["auc"] > 0.99
    alike = volume.copy()
    alike[1::2] = alike[::2]
    nothing = measure_detectability(alike + rng.normal(0, 20, volume.shape), info)
    assert nothing["d_prime"] < 1
    assert nothing["auc"] == pytest.approx(0.5, abs=0.2)


def test_a_constant_image_and_too_few_places_are_explained(exact):
    volume, info = exact
    assert measure_detectability(volume, info)["missing"].startswith(
        "The detection task has 40 places in 2 slices, but "
    )
    more = info | {"detection": info["detection"] | {"pairs": info["detection"]["pairs"] * 2}}
    assert "look alike" in measure_detectability(np.zeros_like(volume), more)["missing"]
