"""What a series has that the training data had not is told; what is alike raises no alarm."""

import json
import re

import numpy as np
import pytest
from pydicom import dcmread
from pydicom.data import get_testdata_file

from quietct.apply.domain import UNKNOWN, differences, slices_to_compare, training_facts
from quietct.ct.dicom.convert import series_info
from quietct.ct.dicom.images import read_images
from quietct.ct.patches import patch_corners
from quietct.ct.phantom import phantom, soft_kernel
from quietct.ct.volume import to_int16
from quietct.spread import spread_over
from quietct.training_data import lung_fraction, noise_level

NOISE_HU = 40.0
INFO = {
    "series_instance_uid": "1.2.3.4.5",
    "study_instance_uid": "1.2.3.4",
    "series_description": "Chest of Jane Doe",
    "spacing_mm": [0.703125, 0.703125],
    "slice_thickness_mm": 3.0,
    "kernel": "B40f",
    "kvp": 120.0,
    "exposure_mas": 200.0,
    "manufacturer": "SIEMENS",
    "model": "Sensation 64",
    "sop_instance_uids": ["1.2.3.4.5.6", "1.2.3.4.5.7"],
}


@pytest.fixture(scope="module")
def chest():
    """Three slices of the synthetic chest, as sharp as a scanner's, without noise."""
    return [soft_kernel(phantom(3).render_slice(z)) for z in (-30.0, 0.0, 30.0)]


def noisy(slices, seed, sigma=NOISE_HU):
    rng = np.random.default_rng(seed)
    return [to_int16(image + rng.normal(0, sigma, image.shape)) for image in slices]


def cut(slices):
    """Patches as the workflow cuts them, with themselves as targets."""
    settings = {"layout": "random", "size": 64, "per_slice": 24, "min_body_fraction": 0.3, "body_threshold_hu": -500}
    corners = [patch_corners(image, settings, np.random.default_rng(k)) for k, image in enumerate(slices)]
    windows = [image[r : r + 64, c : c + 64] for image, of in zip(slices, corners, strict=True) for r, c in of]
    return np.stack([windows, windows], axis=1)


@pytest.fixture(scope="module")
def trained(chest):
    """Description of weights that were trained on the chest."""
    return {"training_data": training_facts([INFO], [cut(noisy(chest, 1))])}


@pytest.fixture(scope="module")
def repeat(chest):
    """The chest again, with other noise."""
    return noisy(chest, 2)


def test_training_data_and_a_repeat_of_it_raise_no_alarm(chest, trained, repeat):
    assert differences(trained, INFO, noisy(chest, 1)) == []
    assert differences(trained, INFO, repeat) == []
    assert differences(trained, INFO, repeat[1:2]) == []


def test_facts_survive_json_and_do_not_depend_on_anything_but_the_data(chest, trained, repeat):
    again = training_facts([INFO], [cut(noisy(chest, 1))])
    assert json.dumps(again) == json.dumps(trained["training_data"])
    read = json.loads(json.dumps(trained, allow_nan=False))
    assert read == trained
    assert differences(read, INFO, repeat) == []


def test_facts_tell_no_uid_no_description_and_no_patient(trained):
    text = json.dumps(trained)
    assert "1.2.3" not in text
    assert "Doe" not in text
    assert set(trained["training_data"]) == {
        *("series", "patches", "patch_px", "pixels", "noise_hu", "lung_fraction", "hu_quantiles"),
        *("spacing_mm", "slice_thickness_mm", "exposure_mas", "kvp", "kernels", "scanners"),
    }


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        ({"spacing_mm": [0.9, 0.9]}, "The pixels measure 0.9 mm; those of the training data 0.703 mm."),
        ({"spacing_mm": [0.703125, 0.5]}, "The pixels measure 0.5 to 0.703 mm; those of the training data 0.703 mm."),
        ({"slice_thickness_mm": 5.0}, "The slices are 5 mm thick; those of the training data 3 mm."),
        ({"slice_thickness_mm": 1.25}, "The slices are 1.25 mm thick; those of the training data 3 mm."),
        ({"kernel": "B70f"}, "The kernel is B70f; the training data had B40f."),
        ({"kvp": 80.0}, "The tube voltage is 80 kV; the training data had 120 kV."),
        (
            {"kernel": None, "kvp": None},
            "The series does not tell its kernel and its tube voltage, so that this could not be compared.",
        ),
        (
            {"spacing_mm": None, "slice_thickness_mm": None},
            "The series does not tell the size of its pixels and the thickness of its slices, "
            "so that this could not be compared.",
        ),
    ],
)
def test_each_change_of_the_header_is_one_sentence(trained, repeat, change, sentence):
    assert differences(trained, INFO | change, repeat) == [sentence]


@pytest.mark.parametrize(
    "change",
    [{"spacing_mm": [0.8, 0.8]}, {"slice_thickness_mm": 2.6}, {"kernel": "b40F"}, {"kvp": 121.0}, {"exposure_mas": 50}],
)
def test_small_changes_of_the_header_raise_no_alarm(trained, repeat, change):
    assert differences(trained, INFO | change, repeat) == []


def test_what_occurs_in_any_training_series_is_known(chest, repeat):
    infos = [INFO, INFO | {"spacing_mm": [0.9, 0.9], "slice_thickness_mm": 1.0, "kernel": "B30f", "kvp": 100.0}]
    patches = [cut(noisy(chest, 1)), cut(noisy(chest, 3, 20.0))]
    facts = training_facts(infos, patches)
    assert (facts["kernels"], facts["kvp"], facts["spacing_mm"]) == (["B30f", "B40f"], [100.0, 120.0], [0.7031, 0.9])
    assert facts["noise_hu"] == [pytest.approx(20, rel=0.05), pytest.approx(40, rel=0.05)]
    between = INFO | {"spacing_mm": [0.8, 0.8], "slice_thickness_mm": 2.0, "kernel": "B30f", "kvp": 100.0}
    assert differences({"training_data": facts}, between, noisy(chest, 4, 28.0)) == []
    [sentence] = differences({"training_data": facts}, between | {"kernel": "B70f"}, repeat)
    assert sentence == "The kernel is B70f; the training data had B30f and B40f."


@pytest.mark.parametrize(("sigma", "what"), [(80.0, "stronger"), (20.0, "weaker")])
def test_twice_and_half_the_noise_are_told(chest, trained, sigma, what):
    [sentence] = differences(trained, INFO, noisy(chest, 2, sigma))
    assert sentence.startswith("The noise is ")
    assert f"{what} than the" in sentence
    assert float(sentence.split()[3]) == pytest.approx(sigma, rel=0.05)


@pytest.mark.parametrize("sigma", [31.0, 52.0])
def test_a_third_more_or_less_noise_raises_no_alarm(chest, trained, sigma):
    assert differences(trained, INFO, noisy(chest, 2, sigma)) == []


def test_an_export_clipped_to_a_window_is_told(trained, repeat):
    low, high = differences(trained, INFO, [np.clip(image, -160, 240) for image in repeat])
    assert low.startswith("No pixel is below -160 HU, where the training data had air or lung down to -1024 HU")
    assert high.startswith("Many pixels are at 240 HU and none above")
    [low] = differences(trained, INFO, [np.maximum(image, -300) for image in repeat])
    assert low.startswith("No pixel is below -300 HU")


def test_a_series_without_bone_is_not_taken_for_clipped(chest, trained):
    boneless = noisy([np.minimum(image, 60) for image in chest], 2)
    assert max(image.max() for image in boneless) < trained["training_data"]["hu_quantiles"]["0.999"] - 100
    assert differences(trained, INFO, boneless) == []


def test_values_that_training_never_saw_are_told(chest, trained, repeat):
    metal = [image.copy() for image in repeat]
    for image in metal:
        image[200:260, 200:260] = 3000
    [sentence] = differences(trained, INFO, metal)
    assert sentence.startswith("1.4% of the pixels are far above the training data, which end at ")
    windowed = [np.clip(image, -160, 240) for image in noisy(chest, 1)]
    of_window = {"training_data": training_facts([INFO], [cut(windowed)])}
    assert differences(of_window, INFO, windowed) == []
    sentences = differences(of_window, INFO, repeat)
    assert any("far below the training data, which begin at -160 HU" in sentence for sentence in sentences)


def test_padding_outside_the_field_of_view_raises_no_alarm(trained, repeat):
    rows, columns = np.ogrid[-255.5:256, -255.5:256]
    outside = rows**2 + columns**2 > 250**2
    for value in (-1024, -2000, -3024):
        assert differences(trained, INFO, [np.where(outside, value, image) for image in repeat]) == []


def test_a_body_without_lungs_is_told(chest, trained, repeat):
    solid = noisy([np.where((image > -980) & (image < -400), 50, image) for image in chest], 2)
    [sentence] = differences(trained, INFO, solid)
    assert "of the body has the density of lung, in the training data" in sentence
    of_solid = {"training_data": training_facts([INFO], [cut(solid)])}
    assert differences(of_solid, INFO, solid) == []
    [sentence] = differences(of_solid, INFO, repeat)
    assert "of the body has the density of lung" in sentence


def test_what_it_cannot_tell(trained, repeat):
    """A chest upside down has the same noise and densities. The sentences promise no more than they measure."""
    assert differences(trained, INFO, [image[::-1] for image in repeat]) == []


def test_a_real_slice_of_another_scanner_differs_in_what_it_differs(trained):
    path = get_testdata_file("CT_small.dcm")
    with open(path, "rb") as file:
        images = read_images(file, 10**6, "CT_small.dcm")
    dataset = dcmread(path)
    hu = dataset.pixel_array * dataset.RescaleSlope + dataset.RescaleIntercept
    thickness, kernel, noise, bright = differences(trained, series_info(images, []), [hu])
    assert thickness == "The slices are 5 mm thick; those of the training data 3 mm."
    assert kernel == "The kernel is STANDARD; the training data had B40f."
    assert "weaker" in noise
    # The vertebra fills much of the small field. The lungs on its sides are as much as in a whole chest.
    assert "far above" in bright
    # The muscles of the back alone have neither lung nor air, nor much bone.
    *same, dark = differences(trained, series_info(images, []), [hu[80:]])
    assert same[:2] == [thickness, kernel]
    assert re.match(r"No pixel is below -\d+ HU, .* shows none, or was clipped to a window\.$", dark)


def test_weights_without_training_data_are_told_in_one_sentence(repeat):
    assert differences({"network": "old"}, INFO, repeat) == [UNKNOWN]


def test_slices_without_tissue_have_no_noise_to_compare(trained):
    first, *_ = differences(trained, INFO, noisy([np.full((64, 64), -900.0)], 1))
    assert first == "The noise could not be compared with that of the training data: the slices show no tissue."


@pytest.mark.parametrize("sigma", [3.0, 30.0, 150.0])
def test_noise_level_of_white_noise_is_its_standard_deviation(sigma):
    rng = np.random.default_rng(1)
    image = 50 + rng.normal(0, sigma, (256, 256))
    assert noise_level([image]) == pytest.approx(sigma, rel=0.03)
    # Padding, what a window clips and lungs change nothing.
    image[:64], image[64:96], image[96:128] = -1024, 240, rng.normal(-850, 5 * sigma, (32, 256)).clip(max=-600)
    assert noise_level([image]) == pytest.approx(sigma, rel=0.05)
    assert noise_level([np.full((64, 64), 50.0)]) is None


def test_tissue_ends_between_fat_and_lung():
    white = np.random.default_rng(1).normal(0, 10, (128, 128))
    assert noise_level([white - 230]) == pytest.approx(10, rel=0.05)
    assert noise_level([white - 370]) is None


def test_lung_fraction_counts_lung_in_the_body_and_no_air():
    image = np.full((64, 64), -1000.0)
    image[:32] = -850
    image[32:48] = 40
    rng = np.random.default_rng(1)
    assert lung_fraction([image, image]) == pytest.approx(2 / 3)
    assert lung_fraction([image + rng.normal(0, 40, image.shape)]) == pytest.approx(2 / 3, abs=0.01)
    assert lung_fraction([np.full((64, 64), -1000.0)]) is None


def test_samples_are_spread_over_all():
    assert spread_over(range(3), 5) == [0, 1, 2]
    assert spread_over(range(10), 5) == [1, 3, 5, 7, 9]
    assert spread_over(range(1), 5) == [0]
    assert slices_to_compare(119) == [11, 35, 59, 83, 107]
