"""The noise model low_dose on whole volumes, and what it asks of settings and series."""

import json
import logging
import math
import os
import signal

import numpy as np
import pytest
from water import disc, distance, shoulders

from quietct.ct.dose_settings import dose_of, scanner_of
from quietct.ct.low_dose import Kernel, Scanner
from quietct.ct.noise import add_noise, noisy_slices
from quietct.ct.volume import new_volume, write_info
from quietct.errors import UserError

SIDE = 64
SETTINGS = {"dose": 0.25, "photons": 2e4, "views": 60, "seed": 1}
INFO = {"spacing_mm": [3.0, 3.0], "exposure_mas": 200.0, "slice_thickness_mm": 2.5, "z_mm": [0.0, 1.0, 2.0, 3.0]}


@pytest.fixture
def scan(tmp_path):
    """Write a volume and its facts; by default four equal slices of water, 2.5 mm thick and 1 mm apart."""

    def write(hu=None, slices=4, **facts):
        hu = disc((SIDE, SIDE), 24) if hu is None else hu
        with new_volume(tmp_path / "scan.npy", (slices, *hu.shape)) as volume:
            volume[:] = hu
        write_info(tmp_path / "scan.json", INFO | facts)
        return tmp_path

    return write


def insert(folder, name="noisy", series="a", threads=1, calibration=None, **settings):
    settings = {key: value for key, value in (SETTINGS | settings).items() if value is not None}
    paths = folder / "scan.npy", folder / f"{name}.npy"
    add_noise(*paths, "low_dose", settings, (-1350, 150), series, folder / "scan.json", calibration, threads)
    return np.load(paths[1]) - np.load(paths[0]).astype(float)


def test_at_full_dose_the_image_comes_back_bit_by_bit(scan):
    hu = np.random.default_rng(1).integers(-2000, 3000, (SIDE, SIDE))
    folder = scan(hu)
    for settings in ({"dose": 1}, {"dose": 1.0}, {"dose": None, "exposure_mas": 200}):
        assert not insert(folder, **settings).any()
        assert (folder / "noisy.npy").read_bytes() == (folder / "scan.npy").read_bytes()


def test_a_series_clipped_like_a_picture_gets_the_noise_of_its_scan(scan, caplog):
    hu = disc((SIDE, SIDE), 24)
    hu[distance((SIDE, SIDE)) < 8] = -850  # a lung
    hu[20:22, 20:22] = 240
    water = (distance((SIDE, SIDE)) > 12) & (distance((SIDE, SIDE)) < 20) & (hu < 100)
    expected = insert(scan(hu))
    assert "clipped" not in caplog.text
    found = insert(scan(np.clip(hu, -160, 240)))
    assert "Nothing is below -160 HU" in caplog.text
    assert "border" not in caplog.text
    assert np.abs(found[:, water] - np.clip(expected[:, water], -160, 240)).max() <= 1
    assert np.load(scan(np.clip(hu, -160, 240)) / "noisy.npy").min() == -160


def test_a_picture_without_air_keeps_its_fat(scan):
    hu = np.full((SIDE, SIDE), 40.0)
    hu[10:14, 10:14] = -150
    fat = insert(scan(hu))
    hu[10:14, 10:14] = -149
    assert np.abs(insert(scan(hu)) - fat).max() < 2


def test_noise_follows_dose_and_exposure(scan):
    folder = scan()
    where = distance((SIDE, SIDE)) < 20
    quarter = insert(folder)
    assert np.array_equal(insert(folder, dose=None, exposure_mas=50), quarter)
    half = insert(folder, dose=0.5)
    assert quarter[:, where].std() / half[:, where].std() == pytest.approx(math.sqrt(3), rel=0.01)
    assert np.array_equal(insert(folder, photons=None, photons_per_mas=2e4 / 200 / 2.5), quarter)


def test_noise_is_the_same_whatever_the_number_of_processes(scan):
    folder = scan()
    expected = insert(folder)
    for threads in (2, 3, 9):
        insert(folder, "shared", threads=threads)
        assert (folder / "shared.npy").read_bytes() == (folder / "noisy.npy").read_bytes()
    assert expected.any()


@pytest.mark.parametrize("photons", [2e4, 300])
def test_seed_and_series_make_the_noise(scan, photons):
    folder = scan()
    first = insert(folder, photons=photons)
    assert np.array_equal(insert(folder, photons=photons), first)
    for change in ({"seed": 2}, {"series": "b"}):
        other = insert(folder, "other", photons=photons, **change)
        assert abs(np.corrcoef(first.ravel(), other.ravel())[0, 1]) < 0.05


def test_neighbouring_slices_share_noise_as_far_as_they_overlap(scan):
    noise = insert(scan(slices=16, z_mm=list(range(16, 0, -1))))
    measured = np.corrcoef(noise[:, distance((SIDE, SIDE)) < 22])
    for step in range(5):
        assert np.diag(measured, step).mean() == pytest.approx(max(0, 1 - step / 2.5), abs=0.03), step


@pytest.mark.parametrize(
    "facts", [{"slice_thickness_mm": None}, {"z_mm": None}, {"z_mm": [0.0, 1.0]}, {"slice_thickness_mm": 1.0}]
)
def test_noise_is_independent_where_overlap_is_unknown_or_none(scan, facts, caplog):
    noise = insert(scan(**facts))
    measured = np.corrcoef(noise[:, distance((SIDE, SIDE)) < 22])
    assert np.abs(measured - np.eye(4)).max() < 0.1
    told = any("independent" in record.message for record in caplog.records if record.levelno == logging.WARNING)
    assert told == (facts != {"slice_thickness_mm": 1.0})


def test_rays_without_light_share_no_noise(scan):
    """The streaks between shoulders differ from slice to slice, though the slices overlap."""
    noise = insert(scan(shoulders(SIDE, 8.0, 480, 200), spacing_mm=[8.0, 8.0]), photons=300)
    middle = distance((SIDE, SIDE)) < 5
    assert noise[:, middle].std() > 100
    assert abs(np.corrcoef(noise[:2, middle])[0, 1]) < 0.4


@pytest.mark.parametrize("shape", [(40, 64), (64, 40), (41, 63)])
def test_slices_that_are_not_square_are_noisy_all_over(scan, shape):
    noise = insert(scan(disc(shape, 15) + np.random.default_rng(1).normal(0, 9, shape)))
    assert noise.shape == (4, *shape)
    assert (np.abs(noise).max(axis=0) > 0).mean() > 0.9
    assert 1 < noise[:, distance(shape) < 10].std() / noise[:, distance(shape) > 25].std() < 10


def test_one_slice_that_fills_the_corners_gives_all_slices_the_same_geometry(scan):
    folder = scan()
    volume = np.lib.format.open_memmap(folder / "scan.npy", mode="r+")
    volume[2, 60:, 60:] = -100
    volume.flush()
    noise = insert(folder)
    assert noise[:, :8, :8].std(axis=(1, 2)).min() > 0


def test_padding_outside_a_circular_field_stays_as_it_is(scan):
    hu = disc((SIDE, SIDE), 24)
    hu[distance(hu.shape) > SIDE // 2] = -2000
    noise = insert(scan(hu), photons=100, kernel={"frequency_per_mm": [0, 0.05], "gain": [1, 0]})
    assert not noise[:, hu == -2000].any()
    assert noise[:, hu > -2000].any(axis=0).all()


def test_a_body_that_is_cut_off_is_told(scan, caplog):
    insert(scan(shoulders(SIDE, 3.0, 400, 150)))
    assert "The body reaches the border of the image in 4 of 4 slices" in caplog.text
    caplog.clear()
    insert(scan())
    assert "border" not in caplog.text


@pytest.mark.parametrize(
    ("settings", "sentence"),
    [
        ({"dose": 0}, "`dose` is 0; it must be a number above 0"),
        ({"dose": -0.1}, "`dose` is -0.1"),
        ({"dose": 1.5}, "`dose` is 1.5; it is a fraction of the scan's own and at most 1"),
        ({"dose": "low"}, "`dose` is 'low'"),
        ({"dose": float("nan")}, "`dose` is nan"),
        ({"dose": True}, "`dose` is True"),
        ({"dose": None}, "exactly one of dose, exposure_mas; there is none"),
        ({"exposure_mas": 20}, "exactly one of dose, exposure_mas; there is dose and exposure_mas"),
        ({"dose": None, "exposure_mas": 201}, "`exposure_mas` is 201, but the scan has 200 mAs"),
        ({"dose": None, "exposure_mas": 0}, "`exposure_mas` is 0"),
        ({"photons": 0}, "`photons` is 0; it must be a number above 0"),
        ({"photons": -5}, "`photons` is -5"),
        ({"photons": "many"}, "`photons` is 'many'"),
        ({"photons": None}, "exactly one of photons, photons_per_mas, calibration; there is none"),
        ({"photons_per_mas": 5}, "there is photons and photons_per_mas"),
        ({"photons": None, "photons_per_mas": 0}, "`photons_per_mas` is 0"),
        ({"electronic_noise": -1}, "`electronic_noise` is -1"),
        ({"bowtie_mm": 0}, "`bowtie_mm` is 0"),
        ({"views": 3}, "`views` is 3"),
        ({"kernel": [1, 2]}, "`kernel` must have exactly the keys"),
        ({"kernel": {"gain": [1]}}, "`kernel` must have exactly the keys"),
        ({"kernel": {"frequency_per_mm": [1], "gain": [1, 2]}}, "1 frequencies but 2 gains"),
        ({"fraction": 0.1}, "no setting `fraction`"),
        ({"seed": -1}, "`seed` is -1"),
        ({"seed": 1.5}, "`seed` is 1.5"),
    ],
)
def test_senseless_settings_are_refused_and_leave_nothing(scan, settings, sentence):
    folder = scan()
    with pytest.raises(UserError, match=sentence):
        insert(folder, **settings)
    assert sorted(path.name for path in folder.iterdir()) == ["scan.json", "scan.npy"]


@pytest.mark.parametrize(
    ("facts", "settings", "sentence"),
    [
        ({"spacing_mm": None}, {}, r"scan.json gives no pixel spacing"),
        ({"spacing_mm": []}, {}, "no pixel spacing"),
        ({"spacing_mm": [0.7, 0]}, {}, "no pixel spacing"),
        ({"spacing_mm": ["a", "b"]}, {}, "no pixel spacing"),
        ({"spacing_mm": [0.7, 0.8]}, {}, "rows are 0.7 mm apart, columns 0.8 mm"),
        ({"exposure_mas": None}, {"dose": None, "exposure_mas": 10}, "needs the scan's own exposure"),
        ({"exposure_mas": 0}, {"dose": None, "exposure_mas": 10}, "needs the scan's own exposure"),
        ({"exposure_mas": None}, {"photons": None, "photons_per_mas": 10}, "needs the scan's exposure"),
        ({"slice_thickness_mm": None}, {"photons": None, "photons_per_mas": 10}, "needs the scan's slice thickness"),
    ],
)
def test_facts_that_a_series_lacks_are_named(scan, facts, settings, sentence):
    with pytest.raises(UserError, match=sentence):
        insert(scan(**facts), **settings)


def test_models_that_need_no_noise_or_lack_facts_are_refused(scan):
    folder = scan()
    paths = folder / "scan.npy", folder / "noisy.npy"
    with pytest.raises(UserError, match="`measured` puts no noise on a scan"):
        add_noise(*paths, "measured", {}, (-1350, 150), "a")
    with pytest.raises(UserError, match="needs the facts of the series"):
        add_noise(*paths, "low_dose", SETTINGS, (-1350, 150), "a")


CALIBRATION = {
    "photons": 1e5,
    "exposure_mas": 100.0,
    "slice_thickness_mm": 5.0,
    "electronic_noise": 12.0,
    "bowtie_mm": 320.0,
    "views": 90,
    "kernel": {"frequency_per_mm": [0.0, 0.3], "gain": [1.0, 0.0]},
    "fit": {},
}


def written(path, fit):
    path.write_text(fit if isinstance(fit, str) else json.dumps(fit))
    return path


def test_a_calibration_is_scaled_to_exposure_and_thickness(tmp_path):
    path = written(tmp_path / "fit.json", CALIBRATION)
    expected = Scanner(1e5 * (200 / 100) * (2.5 / 5), 12.0, 320.0, Kernel([0, 0.3], [1, 0]), 90)
    assert scanner_of({"dose": 0.5, "calibration": "mine"}, INFO, path) == expected
    assert scanner_of({"dose": 0.5, "calibration": "mine", "views": 45}, INFO, path).views == 45


def test_facts_that_are_not_known_of_a_calibration_count_as_equal(tmp_path, caplog):
    path = written(tmp_path / "fit.json", CALIBRATION | {"slice_thickness_mm": None})
    assert scanner_of({"calibration": "mine"}, INFO, path).photons == 2e5
    assert "`slice_thickness_mm` is not known" in caplog.text
    assert scanner_of({"calibration": "mine"}, {}, path).photons == 1e5


@pytest.mark.parametrize(
    ("fit", "sentence"),
    [
        ("{", "is no calibration"),
        ("[1]", "is no calibration"),
        ("null", "is no calibration"),
        ({}, r"is no calibration \(KeyError: 'photons'\)"),
        (CALIBRATION | {"photons": -1}, "photons is -1"),
        (CALIBRATION | {"photons": None}, "photons is None"),
        (CALIBRATION | {"kernel": {"gain": [1]}}, "`kernel` must have"),
        (CALIBRATION | {"electronic_noise": "x"}, "`electronic_noise` is 'x'"),
        (CALIBRATION | {"views": None}, "`views` is None"),
    ],
)
def test_a_broken_calibration_is_named(tmp_path, fit, sentence):
    path = written(tmp_path / "fit.json", fit)
    with pytest.raises(UserError, match=sentence) as caught:
        scanner_of({"dose": 0.5, "calibration": "mine"}, INFO, path)
    assert str(path) in str(caught.value)


def test_a_calibration_that_is_absent_or_given_twice_is_refused(tmp_path):
    with pytest.raises(UserError, match="`calibration` is 'mine', but there is no file of it"):
        scanner_of({"calibration": "mine"}, INFO, None)
    with pytest.raises(UserError, match=r"fit\.json does not exist"):
        scanner_of({"calibration": "mine"}, INFO, tmp_path / "fit.json")
    for key in ("electronic_noise", "bowtie_mm", "kernel"):
        with pytest.raises(UserError, match=f"`{key}` comes from the calibration"):
            scanner_of({"calibration": "mine", key: 1}, INFO, written(tmp_path / "fit.json", CALIBRATION))


def test_exposure_equal_to_the_scans_up_to_rounding_is_full_dose():
    assert dose_of({"exposure_mas": 100 / 3}, {"exposure_mas": 33.333333}) == 1
    assert dose_of({"exposure_mas": 25}, {"exposure_mas": 200}) == 0.125


def killed(k, hu):
    """A model whose process dies."""
    os.kill(os.getpid(), signal.SIGKILL)


def failing(k, hu):
    raise UserError(f"slice {k} fails")


def test_a_process_that_is_killed_ends_in_a_sentence(scan):
    with pytest.raises(UserError, match="A process that added noise was killed"):
        list(noisy_slices(killed, scan() / "scan.npy", 4, 2))


def test_an_error_in_a_process_is_the_callers(scan):
    with pytest.raises(UserError, match="slice 0 fails"):
        list(noisy_slices(failing, scan() / "scan.npy", 4, 2))
