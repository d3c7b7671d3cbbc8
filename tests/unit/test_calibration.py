"""Calibration: photons and kernels of simulated scanners are found again from repeat scans."""

import json
from dataclasses import replace

import numpy as np
import pytest
from PIL import Image

from quietct.ct.calibration import calibrate_noise
from quietct.ct.clipping import fill_clipped_air
from quietct.ct.low_dose import Kernel, Scanner, scan_noise
from quietct.ct.noise_fit import NoisyRegions, fit_scanner, smooth_gain
from quietct.ct.noisy_regions import cut, region_side, usable_regions
from quietct.ct.projection import project
from quietct.ct.volume import to_int16
from quietct.errors import UserError
from quietct.evaluation.noise_power import noise_power, ring_average
from quietct.figures.calibration import plot_calibration

PIXEL_MM, SIDE, VIEWS, SLICES = 1.4, 256, 60, 5
NYQUIST = 0.5 / PIXEL_MM
FREQUENCY = np.linspace(0, NYQUIST, 100)
HANN = np.cos(np.pi * FREQUENCY / (2 * NYQUIST)) ** 2
INFO = {
    "spacing_mm": [PIXEL_MM, PIXEL_MM],
    "slice_thickness_mm": 3.0,
    "kernel": "B40f",
    "kvp": 120.0,
    "exposure_mas": 100.0,
    "orientation": [1, 0, 0, 0, 1, 0],
    "gantry_tilt_deg": 0.0,
}


def chest(k, shift_px=(0.0, 0.0)):
    """An ellipse of soft tissue with two lungs and a spine, edges one pixel wide; slices differ a little."""
    y, x = np.mgrid[:SIDE, :SIDE] - SIDE // 2.0
    y, x = (y - shift_px[0]) * PIXEL_MM, (x - shift_px[1]) * PIXEL_MM
    hu = np.full((SIDE, SIDE), -1000.0)
    for cx, cy, rx, ry, value in (
        (0, 0, 160, 115, 40),
        (-95, 0, 30, 50 + k, -850),
        (95, 0, 30, 50, -850),
        (0, 75, 17, 17, 300),
    ):
        distance = (np.hypot((x - cx) / rx, (y - cy) / ry) - 1) * min(rx, ry) / PIXEL_MM
        hu += (value - hu) / (1 + np.exp(np.minimum(4 * distance, 50)))
    return hu


def scans(scanner, shifts, seed=0):
    """Repeat scans (repeats, slices, rows, columns) int16, each slice of a repeat shifted in its own way."""
    rng = np.random.default_rng(seed)
    repeats = []
    for shift in shifts:
        volume = []
        for k in range(SLICES):
            turn = np.pi * k / 2  # as a helical scan wobbles
            moved = (shift * np.cos(turn), shift * np.sin(turn))
            hu = chest(k, moved)
            volume.append(to_int16(hu + scan_noise(project(hu, PIXEL_MM, VIEWS), scanner, rng)))
        repeats.append(np.stack(volume))
    return np.stack(repeats)


def write(folder, volumes, **changes):
    """Write volumes and facts; the changes are those of the last one's facts. Gives the arguments of a calibration."""
    paths = [folder / f"scan.{n}.npy" for n in range(1, len(volumes) + 1)]
    for path, volume in zip(paths, volumes, strict=True):
        np.save(path, volume)
        info = INFO | {"shape": list(volume.shape), "z_mm": [3.0 * k for k in range(len(volume))]}
        if path == paths[-1]:
            info |= changes
        path.with_suffix(".json").write_text(json.dumps(info))
    infos = [path.with_suffix(".json") for path in paths]
    return paths, infos, folder / "fit.json"


def gain_of(fit):
    return np.interp(FREQUENCY, fit["kernel"]["frequency_per_mm"], fit["kernel"]["gain"])


TRUE = Scanner(2e5, kernel=Kernel(FREQUENCY, HANN), views=VIEWS)


@pytest.fixture(scope="module")
def fitted(tmp_path_factory):
    """Two repeats, shifted by half a pixel against each other, and what was found."""
    files = write(tmp_path_factory.mktemp("pair"), scans(TRUE, (0.0, 0.5)))
    calibrate_noise(*files, calibration="pair", views=VIEWS)
    return files, json.loads(files[2].read_text())


def test_photons_and_kernel_are_found_again_although_the_repeats_are_shifted(fitted):
    fit = fitted[1]
    assert fit["photons"] == pytest.approx(TRUE.photons, rel=0.1)
    lower = FREQUENCY < 0.75 * NYQUIST
    np.testing.assert_allclose(gain_of(fit)[lower], HANN[lower], atol=0.05)
    assert gain_of(fit)[0] == pytest.approx(1)


def test_the_file_says_how_well_it_fits(fitted):
    (_, _, path), fit = fitted
    settings = {key: value for key, value in fit.items() if key not in ("photons", "kernel", "fit")}
    assert settings == {
        "exposure_mas": 100.0,
        "slice_thickness_mm": 3.0,
        "electronic_noise": 0.0,
        "bowtie_mm": None,
        "views": VIEWS,
    }
    quality = fit["fit"]
    assert quality["sd_ratio"]["median"] == pytest.approx(1, abs=0.03)
    assert quality["sd_ratio"]["p16"] < quality["sd_ratio"]["median"] < quality["sd_ratio"]["p84"]
    # No wider than by chance.
    spread, chance = (quality[key]["p84"] - quality[key]["p16"] for key in ("sd_ratio", "sd_ratio_by_chance"))
    assert spread < 1.3 * chance
    assert quality["nps_rms_error"] < 0.08
    assert (quality["slices"], quality["repeats"], quality["series"]) == (SLICES, 2, ["scan.1", "scan.2"])
    assert quality["regions"] > 100
    np.testing.assert_allclose(np.hypot(*np.transpose(quality["shift_px"][0])), 0.5, atol=0.05)
    assert path.read_text().endswith("}\n")


def test_the_picture_shows_what_was_found(fitted, tmp_path):
    plot_calibration(fitted[0][2], tmp_path / "fit.png", "pair")
    with Image.open(tmp_path / "fit.png") as picture:
        assert np.asarray(picture.convert("L")).std() > 5


def test_a_scan_that_the_fit_has_not_seen_has_the_noise_that_is_simulated(fitted):
    fit = fitted[1]
    found = Scanner(fit["photons"], kernel=Kernel(**fit["kernel"]), views=VIEWS)
    sinogram = project(chest(1), PIXEL_MM, VIEWS)
    corners = np.array([[100, 100], [120, 140], [70, 120], [160, 100], [160, 140], [120, 110]])
    side, level, spectrum = region_side(PIXEL_MM), [], []
    for scanner, seed in ((TRUE, 5), (found, 6)):
        rng = np.random.default_rng(seed)
        noise = np.stack([cut(scan_noise(sinogram, scanner, rng), corners, side) for _ in range(20)])
        level.append(noise.std())
        frequency, rings = ring_average(noise_power(noise, PIXEL_MM).mean(axis=(0, 1)), PIXEL_MM)
        spectrum.append(rings[(frequency > 0) & (frequency < 0.75 * NYQUIST)])
    assert level[1] == pytest.approx(level[0], rel=0.04)
    assert np.sqrt(np.mean((spectrum[1] / spectrum[0] - 1) ** 2)) < 0.12


def test_three_repeats_electronic_noise_and_a_bowtie(tmp_path):
    true = Scanner(5e4, 8.0, 300.0, Kernel(FREQUENCY, 0.2 + 0.8 * HANN), VIEWS)
    files = write(tmp_path, scans(true, (0.0, 0.0, 0.0), seed=3))
    calibrate_noise(*files, calibration="three", electronic_noise=8.0, bowtie_mm=300.0, views=VIEWS)
    fit = json.loads(files[2].read_text())
    assert fit["photons"] == pytest.approx(true.photons, rel=0.1)
    lower = FREQUENCY < 0.75 * NYQUIST
    np.testing.assert_allclose(gain_of(fit)[lower], (0.2 + 0.8 * HANN)[lower], atol=0.06)
    assert (fit["electronic_noise"], fit["bowtie_mm"], fit["fit"]["repeats"]) == (8.0, 300.0, 3)
    assert fit["fit"]["shift_px"] == [[[0, 0]] * SLICES] * 2


@pytest.fixture(scope="module")
def pair():
    """Two quick repeats with white noise, for what is refused before anything is fitted."""
    rng = np.random.default_rng(0)
    return [np.stack([to_int16(chest(k) + rng.normal(0, 15, (SIDE, SIDE))) for k in range(2)]) for _ in range(2)]


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"spacing_mm": [1.3, 1.3]}, "pixel spacing"),
        ({"kernel": "B60f"}, "kernel"),
        ({"exposure_mas": 25.0}, "exposure"),
        ({"exposure_mas": None}, "exposure"),
        ({"slice_thickness_mm": 1.0}, "slice thickness"),
        ({"kvp": 140.0}, "tube voltage"),
        ({"z_mm": [100.0, 103.0]}, "no height"),
    ],
)
def test_what_is_no_repeat_is_refused(tmp_path, pair, changes, said):
    with pytest.raises(UserError, match=rf"Calibration x.*scan\.1.*scan\.2.*{said}"):
        calibrate_noise(*write(tmp_path, pair, **changes), calibration="x")
    assert not (tmp_path / "fit.json").exists()


def test_repeats_of_another_size_are_refused(tmp_path, pair):
    with pytest.raises(UserError, match="size"):
        calibrate_noise(*write(tmp_path, [pair[0], pair[1][:, :200]]), calibration="x")


def test_a_single_series_is_refused(tmp_path, pair):
    with pytest.raises(UserError, match="has 1 series"):
        calibrate_noise(*write(tmp_path, pair[:1]), calibration="x")


@pytest.mark.parametrize("order", [(0, 0), (0, 1, 1)])
def test_the_same_images_twice_are_refused(tmp_path, pair, order):
    with pytest.raises(UserError, match="same images"):
        calibrate_noise(*write(tmp_path, [pair[k] for k in order]), calibration="x")


def test_slices_that_do_not_tell_their_shift_are_left_out_and_the_file_stays_plain_json(tmp_path):
    volumes = scans(TRUE, (0.0, 0.5), seed=8)
    volumes[:, 2] = -1000  # beyond the body
    files = write(tmp_path, volumes)
    calibrate_noise(*files, calibration="gap", views=20)
    fit = json.loads(files[2].read_text(), parse_constant=pytest.fail)["fit"]
    assert (fit["slices"], fit["z_mm"], len(fit["shift_px"][0])) == (SLICES - 1, [0, 3, 9, 12], SLICES - 1)


def test_scans_of_different_objects_are_refused(tmp_path, pair):
    with pytest.raises(UserError, match="do not show the same object"):
        calibrate_noise(*write(tmp_path, [pair[0], pair[1].swapaxes(1, 2)[:, ::-1]]), calibration="x")


@pytest.mark.parametrize(
    ("spacing", "said"), [(None, "pixel spacing"), ([0.0, 0.0], "pixel spacing"), ([1.0, 1.2], "square pixels")]
)
def test_pixels_of_unknown_or_unequal_sides_are_refused(tmp_path, pair, spacing, said):
    files = write(tmp_path, pair)
    for info in files[1]:
        info.write_text(json.dumps(json.loads(info.read_text()) | {"spacing_mm": spacing}))
    with pytest.raises(UserError, match=said):
        calibrate_noise(*files, calibration="x")


def test_scans_without_a_homogeneous_region_are_refused(tmp_path):
    rng = np.random.default_rng(1)
    bumpy = chest(0) + 80 * np.sin(np.arange(SIDE) / 2) * np.sin(np.arange(SIDE) / 2)[:, None]
    volumes = [to_int16(bumpy + rng.normal(0, 15, (2, SIDE, SIDE))) for _ in range(2)]
    with pytest.raises(UserError, match="finds 0 regions"):
        calibrate_noise(*write(tmp_path, volumes), calibration="x")


def test_regions_keep_away_from_edges_and_from_the_ends_of_the_scale():
    rng = np.random.default_rng(2)
    clean = chest(0)
    clean[170:, :] = np.where(clean[170:, :] > 0, 230, clean[170:, :])  # too near to the end at 240 HU
    images = np.clip(clean + rng.normal(0, 15, (2, SIDE, SIDE)), -1000, 240).astype(np.float32)
    corners, power = usable_regions(images, PIXEL_MM, (-1000, 240))
    side = region_side(PIXEL_MM)
    assert len(corners) > 30
    assert power.shape == (len(corners), 1, side, side)
    assert {round(value) for value in cut(clean, corners, side).std(axis=(1, 2))} <= {0, 1, 2, 3, 4}
    assert cut(clean, corners, side).max() < 240 - 3 * 14
    assert cut(clean, corners, side).min() > -1000 + 3 * 14
    np.testing.assert_allclose(power.mean(), 225 * PIXEL_MM**2, rtol=0.05)


def test_regions_of_images_smaller_than_one_are_none():
    corners, power = usable_regions(np.zeros((2, 12, 12), np.float32), PIXEL_MM, (-1000, 1000))
    assert (len(corners), len(power)) == (0, 0)


def test_slow_shading_between_repeats_is_no_noise():
    rng = np.random.default_rng(4)
    images = (chest(0) + rng.normal(0, 15, (2, SIDE, SIDE))).astype(np.float32)
    _, still = usable_regions(images, PIXEL_MM, (-2000, 2000))
    images[1] += 0.2 * np.arange(SIDE, dtype=np.float32)
    _, shaded = usable_regions(images, PIXEL_MM, (-2000, 2000))
    assert shaded.mean() == pytest.approx(still.mean(), rel=0.01)


def test_dark_rays_beside_the_body_do_not_change_what_is_found():
    """Behind the bowtie they are darker than all others, so that their electronic noise would outweigh the rest."""
    y, x = (np.mgrid[:256, :256] - 128) * 1.6
    hu = np.where((x / 110) ** 2 + (y / 100) ** 2 < 1, 40.0, -1000.0)
    sinogram, true = project(hu, 1.6, VIEWS), Scanner(8e5, 20.0, 360.0, views=VIEWS)
    images = hu + np.stack([scan_noise(sinogram, true, np.random.default_rng(seed)) for seed in (7, 8)])
    regions = [NoisyRegions(sinogram, *usable_regions(images, 1.6, (-1e4, 1e4)))]
    far, near = (fit_scanner(regions, replace(true, photons=photons)) for photons in (1e5, 8e5))
    assert far.photons == pytest.approx(near.photons, rel=0.02)


def test_a_smooth_gain_goes_through_the_usual_windows():
    frequency, grid = np.arange(18) / 24, np.linspace(0, 0.75, 40)
    for window in (
        lambda f: np.cos(np.pi * np.minimum(f / 1.2, 0.5)) ** 2,
        lambda f: np.ones_like(f),
        lambda f: (1 + 1.5 * (f / 0.4) ** 2) * np.exp(-((f / 0.65) ** 4)),
    ):
        gain = window(frequency) + 0.01 * (-1) ** np.arange(18)  # a ripple that it shall not follow
        gain[:2] = 7  # of what the trend has left there
        found = smooth_gain(frequency, gain, np.full(18, 5000), grid)
        lower = grid < 0.55
        np.testing.assert_allclose(found[lower], window(grid)[lower], atol=0.03)


def test_clipped_air_gets_its_attenuation_back():
    true = chest(0)
    clipped = np.clip(true, -160, 240)
    filled = fill_clipped_air(clipped, -160)
    assert np.abs(filled - np.minimum(true, 240))[true < -990].max() < 10
    assert filled[128, 128 - 68] == -850
    np.testing.assert_array_equal(filled[true > -140], clipped[true > -140].astype(np.float32))
    np.testing.assert_array_equal(fill_clipped_air(true, None), true.astype(np.float32))


def test_real_repeats_clipped_to_a_soft_tissue_window(tmp_path, repository):
    folder = repository.parent / "shared" / "data" / "phantom_fda_jpeg"
    if not folder.is_dir():
        pytest.skip("needs shared/data")
    volumes = []
    for repeat in (1, 2):
        pictures = sorted((folder / f"repeat_{repeat}").glob("*.jpg"))[9:119:25]
        grey = np.stack([np.asarray(Image.open(path).convert("L"), dtype=np.float64) for path in pictures])
        volumes.append(to_int16(grey / 255 * 400 - 160))
    files = write(tmp_path, volumes)
    for info in files[1]:
        info.write_text(json.dumps(json.loads(info.read_text()) | {"spacing_mm": [0.7, 0.7]}))
    calibrate_noise(*files, calibration="fda", views=60)
    fit = json.loads(files[2].read_text())
    assert fit["fit"]["sd_ratio"]["median"] == pytest.approx(1, abs=0.04)
    assert 0.88 < fit["fit"]["sd_ratio"]["p16"] < fit["fit"]["sd_ratio"]["p84"] < 1.15
    assert fit["fit"]["nps_rms_error"] < 0.12
    assert 4e5 < fit["photons"] < 9e5
    frequency, gain = fit["kernel"]["frequency_per_mm"], fit["kernel"]["gain"]
    np.testing.assert_allclose(np.interp([0.2, 0.4, 0.6], frequency, gain), [0.94, 0.81, 0.7], atol=0.1)
