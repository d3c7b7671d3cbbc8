"""Weights to pass on: the same network to the last bit, with what was measured of it, and a text for people."""

import json

import numpy as np
import pandas as pd
import pytest

from quietct.apply.description import describe
from quietct.apply.export import export_weights
from quietct.errors import UserError
from quietct.evaluation.columns import MEASURES, WINDOW_COLUMNS
from quietct.evaluation.summary import summarize_quality
from quietct.nn.architecture import Architecture
from quietct.nn.inference import TiledInference
from quietct.nn.network import Network
from quietct.nn.weights import load_network, network_digest, save_network

METHOD = "small-dilated-seed7"
DESCRIPTION = {
    "noise": "dose_25",
    "network": "small",
    "variant": "dilated",
    "seed": 7,
    "variant_settings": {"dilation": {"p": 0.05, "d": 2.0}},
    "training": {
        "epochs": 30,
        "batch_size": 4,
        "optimiser": {"kind": "adam", "beta2": 0.99},
        "learning_rate": 0.001,
        "schedule": {"kind": "cosine", "final_fraction": 0.01},
        "loss": {"kind": "mean_squared_error"},
    },
    "normalisation": {"shift_hu": -600, "scale_hu": 750},
    "window_hu": [-1350, 150],
    "version": "0.9.1",
    "training_data": {
        "series": 2,
        "patches": 12345,
        "patch_px": [64, 48],
        "pixels": 12345 * 64 * 48,
        "noise_hu": [11.2, 13.9],
        "lung_fraction": [0.41, 0.47],
        "hu_quantiles": {"0.001": -1040.0, "0.01": -1010.0, "0.5": -300.0, "0.99": 300.0, "0.999": 612.0},
        "spacing_mm": [0.68, 0.7031],
        "slice_thickness_mm": [3.0, 3.0],
        "exposure_mas": [100.0, 200.0],
        "kvp": [100.0, 120.0],
        "kernels": ["B30f", "B40f"],
        "scanners": ["SIEMENS Sensation 64"],
    },
}


@pytest.fixture
def run(tmp_path):
    """Weights and a summary of two noises, as a run has made them."""
    layers = [{"filters": 6, "kernel": 5}, {"filters": 1, "kernel": 3}]
    network = Network(Architecture.from_config({"layers": layers, "residual": True}))
    network.initialise(np.random.default_rng(4))
    save_network(tmp_path / "weights.npz", network, DESCRIPTION)
    psnr = {"dose_25": {"noisy": (20.0, 22.0), METHOD: (30.0, 33.0)}, "other": {"noisy": (5.0,), METHOD: (6.0,)}}
    rows = [
        {"noise": noise, "method": method, "series": "a", "slice": k, **dict.fromkeys(MEASURES, np.nan)}
        | {"psnr_db": value, "ssim": value / 50, "rmse_hu": 100 / value, "bias_hu": 0.0}
        | dict(zip(WINDOW_COLUMNS, (-1350.0, 150.0, -1350.0, 150.0, -160.0, 240.0), strict=True))
        for noise, methods in psnr.items()
        for method, values in methods.items()
        for k, value in enumerate(values)
    ]
    pd.DataFrame(rows).to_csv(tmp_path / "metrics.tsv", sep="\t", index=False)
    summarize_quality([tmp_path / "metrics.tsv"], tmp_path / "summary.tsv")
    return tmp_path


def export(run, noise="dose_25", method=METHOD):
    export_weights(run / "weights.npz", run / "summary.tsv", run / "out" / "exported.npz", noise, method)
    return run / "out" / "exported.npz"


def test_exported_weights_denoise_to_the_same_bits(run):
    hu = np.random.default_rng(1).normal(-300, 200, (70, 50)).astype(np.float32)
    images, digests = [], []
    for path in (run / "weights.npz", export(run)):
        network, description = load_network(path)
        with TiledInference(network, *hu.shape) as inference:
            images.append(inference.denoise_hu(hu, description["normalisation"]))
        digests.append(network_digest(network, description))
    np.testing.assert_array_equal(*images)
    assert abs(images[0] - hu).max() > 1
    assert digests[0] == digests[1]


def test_exported_weights_tell_the_quality_of_their_method_beside_that_of_the_noisy_slices(run):
    _, before = load_network(run / "weights.npz")
    _, description = load_network(export(run))
    quality = description.pop("quality")
    assert description == before
    assert quality == {
        "method": METHOD,
        "window_hu": [-1350.0, 150.0],
        "n_slices": 2,
        "denoised": {
            "psnr_db": 31.5,
            "ssim": pytest.approx(0.63),
            "rmse_hu": pytest.approx((100 / 30 + 100 / 33) / 2, rel=1e-5),
        },
        "noisy": {
            "psnr_db": 21.0,
            "ssim": pytest.approx(0.42),
            "rmse_hu": pytest.approx((100 / 20 + 100 / 22) / 2, rel=1e-5),
        },
    }


def test_exporting_twice_gives_the_same_bytes(run):
    first = export(run).read_bytes()
    assert export(run).read_bytes() == first


def test_numbers_that_are_none_become_null(run):
    table = pd.read_csv(run / "summary.tsv", sep="\t")
    table.loc[table["method"] == "noisy", "psnr_db"] = np.inf
    table.to_csv(run / "summary.tsv", sep="\t", index=False)
    with np.load(export(run)) as archive:
        text = str(archive["description"])
    quality = json.loads(text, parse_constant=lambda name: pytest.fail(f"{name} is no JSON"))["quality"]
    assert quality["noisy"]["psnr_db"] is None
    assert "noisy: SSIM 0.420" in describe(load_network(run / "out" / "exported.npz")[1])


@pytest.mark.parametrize(
    ("noise", "method", "message"),
    [
        ("dose_25", "small-sgd-seed7", r"was trained as small-dilated-seed7 on noise dose_25, not as small-sgd-seed7"),
        ("dose_25", "small-dilated-seed8", r"not as small-dilated-seed8 on noise dose_25\.$"),
        ("other", METHOD, r"on noise dose_25, not as small-dilated-seed7 on noise other\.$"),
    ],
)
def test_weights_of_another_method_are_refused(run, noise, method, message):
    with pytest.raises(UserError, match=message):
        export(run, noise, method)
    assert not (run / "out").exists()


@pytest.mark.parametrize("method", [METHOD, "noisy"])
def test_a_summary_without_the_method_is_refused(run, method):
    table = pd.read_csv(run / "summary.tsv", sep="\t")
    table[(table["method"] != method) | (table["noise"] != "dose_25")].to_csv(
        run / "summary.tsv", sep="\t", index=False
    )
    with pytest.raises(UserError, match=rf"summary\.tsv has 0 rows of the method {method} on noise dose_25"):
        export(run)


def test_description_for_people_tells_all(run):
    network, description = load_network(export(run))
    lines = describe(description, network_digest(network, description)).splitlines()
    text = "\n".join(line[15:] for line in lines)
    # (25 + 1) x 6 weights and biases, then 9 x 6 + 1; 1 + 4 + 2 pixels.
    assert "small: 2 layers, 211 parameters, sees 7 x 7 pixels" in text
    assert "1. 6 filters of 5 x 5, ReLU\n2. 1 filter of 3 x 3 + input\n" in text
    assert "30 epochs, batches of 4, seed 7\n" in text
    assert "adam (beta2 0.99), learning rate 0.001, cosine (final_fraction 0.01), loss mean_squared_error\n" in text
    assert "back-propagation dilated: dilation (d 2.0, p 0.05)\n" in text
    assert "2 series, 12,345 patches of 64 x 48 pixels\n" in text
    assert "pixels of 0.68 to 0.703 mm, slices of 3 mm, exposure 100 to 200 mAs, 100 and 120 kV" in text
    assert "kernel B30f and B40f, SIEMENS Sensation 64\n" in text
    assert "-1040 to 612 HU, noise 11.2 to 13.9 HU in tissue, 41% to 47% of the body lung\n" in text
    assert "0 is -600 HU, 1 is 750 HU more\n-1350 to 150 HU\n2 test slices, window -1350 to 150 HU\n" in text
    assert "noisy: PSNR 21.00 dB, SSIM 0.420, RMSE 4.8 HU\ndenoised: PSNR 31.50 dB, SSIM 0.630, RMSE 3.2 HU\n" in text
    assert lines[-1] == f"Weights        sha256 {network_digest(network, description)}"
    assert "version 0.9.1\n" in text


def test_description_of_a_network_that_failed_says_so(run):
    network, description = load_network(export(run))
    description["quality"]["denoised"] = dict.fromkeys(description["quality"]["denoised"])
    assert "denoised: no value\n" in describe(description, network_digest(network, description))


def test_description_of_weights_that_tell_little_says_so(tmp_path):
    network = Network(Architecture.from_config({"layers": [{"filters": 1, "kernel": 3}]}))
    save_network(tmp_path / "w.npz", network, {"normalisation": {"shift_hu": 0, "scale_hu": 1}})
    text = describe(load_network(tmp_path / "w.npz")[1])
    assert "Network        unnamed: 1 layer, 10 parameters, sees 3 x 3 pixels\n" in text
    assert "Training data  not told\n" in text
    assert "Measured       not told" in text
