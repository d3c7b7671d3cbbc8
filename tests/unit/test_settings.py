import copy
import inspect

import numpy as np
import pytest

from quietct.errors import UserError
from quietct.experiment.settings import (
    DOWNLOAD,
    check_config,
    download_settings,
    load_yaml,
    schema_keys,
)
from quietct.methods import all_methods, base_variant, trained_methods

CONFIGS = ("config", "article", "chen2017", "redcnn", "real_slices", "noise2noise", "phantom_fda", "comparison",
           "phantom_fda_all")  # fmt: skip

LOW = {"model": "low_dose", "dose": 0.25, "photons": 1e5, "seed": 1}
CALIBRATED = {"model": "low_dose", "dose": 0.25, "calibration": "repeats", "seed": 1}
KERNEL = {"frequency_per_mm": [0, 0.7], "gain": [1, 0]}


@pytest.fixture(scope="module")
def schema(repository):
    return load_yaml(repository / "workflow/schemas/config.schema.yaml")


@pytest.fixture
def config(repository):
    return copy.deepcopy(load_yaml(repository / "tests/workflow/tiny.yaml"))


def put(config, path, value):
    *above, last = path.split(".")
    for part in above:
        config = config[part]
    config[last] = value


@pytest.mark.parametrize("name", CONFIGS)
def test_every_shipped_config_is_valid(repository, schema, name):
    check_config(load_yaml(repository / f"config/{name}.yaml"), schema, name)


def test_every_config_file_in_the_folder_is_tested(repository):
    assert {path.stem for path in (repository / "config").glob("*.yaml")} == set(CONFIGS)


def test_article_config_has_the_numbers_of_the_article(repository):
    config = load_yaml(repository / "config/article.yaml")
    train, variants = config["train"], config["variants"]
    assert config["noise"]["gaussian_30"] == {"model": "gaussian", "fraction": 0.3, "scale": "grey", "seed": 2018}
    assert config["patches"]["layout"] == "quadrants"
    assert config["networks"]["article"] == {
        "layers": [{"filters": 1, "kernel": 3}] * 3,
        "residual": False,
        "initialiser": {"kind": "normal", "std": 0.001},
    }
    assert train["loss"] == {"kind": "squared_error", "scale": 0.25, "gradient_scale": 0.125}
    assert (train["batch_size"], train["epochs"], train["init"]) == (4, 100, "independent")
    assert train["optimiser"] == {"kind": "sgd"}
    assert variants["sgd"]["learning_rate"] == 1e-10
    assert train["learning_rate"] == 1e-9
    for name in ("gradient_noise", "dilated_gradient_noise"):
        assert variants[name]["gradient_noise"] == {"mode": "absolute", "eta": 0.01, "gamma": 0.55}
    for name in ("dilated", "dilated_gradient_noise"):
        assert variants[name]["dilation"] == {"p": 0.05, "d": 0.07}
    low, high = config["window_hu"]
    shift, scale = train["normalisation"]["shift_hu"], train["normalisation"]["scale_hu"]
    assert (low - shift) / scale == 0
    assert (high - shift) / scale == pytest.approx(255, rel=1e-12)


@pytest.mark.parametrize(
    ("path", "value", "words"),
    [
        ("epochs", 5, ["unknown key epochs"]),
        ("train.epoch", 5, ["train has the unknown key epoch", "epochs"]),
        ("train.epochs", 0, ["train.epochs is 0", "at least 1"]),
        ("train.learning_rate", "1e-3", ["train.learning_rate is '1e-3'", "number", "1.0e-3"]),
        ("train.learning_rate", -1.0, ["train.learning_rate is -1.0", "greater than 0"]),
        ("train.seeds", [1, 1], ["train.seeds is [1,1]", "without repeats"]),
        ("train.seeds", [1, -1], ["train.seeds[1] is -1", "at least 0"]),
        ("train.init", "same", ["train.init is 'same'", "shared, independent"]),
        ("train.optimiser", {"kind": "momentum"}, ["train.optimiser lacks the key momentum"]),
        ("train.optimiser", {"kind": "sgd", "beta1": 0.9}, ["train.optimiser.beta1", "remove it"]),
        ("train.schedule", {"kind": "step"}, ["train.schedule lacks the key every, factor"]),
        ("train.loss", {"kind": "squared_error", "scale": 1}, ["train.loss lacks the key gradient_scale"]),
        ("noise.gaussian_10.fraction", 0, ["noise.gaussian_10.fraction is 0", "greater than 0"]),
        ("noise.gaussian_10.fraction", float("nan"), ["noise.gaussian_10.fraction is nan", "finite"]),
        ("noise.gaussian_10.model", "poisson", ["model is 'poisson'", "one of gaussian, low_dose, measured"]),
        ("noise.gaussian_10", {}, ["noise.gaussian_10 lacks the key model"]),
        ("noise.gaussian_10", {"model": "gaussian", "fraction": 1, "scale": "hu"}, ["lacks the key seed"]),
        ("noise.gaussian_10.dose", 0.5, ["noise.gaussian_10.dose", "remove it"]),
        ("noise.low", {"model": "measured", "seed": 1}, ["noise.low.seed", "remove it"]),
        ("noise.low", {"model": "measured", "photons": 1}, ["noise.low.photons", "remove it"]),
        ("noise.low", LOW | {"fraction": 1}, ["noise.low.fraction", "remove it"]),
        ("noise.low", LOW | {"dose": 0}, ["noise.low.dose is 0", "greater than 0"]),
        ("noise.low", LOW | {"dose": 1.1}, ["noise.low.dose is 1.1", "at most 1"]),
        ("noise.low", LOW | {"photons": 0}, ["noise.low.photons is 0", "greater than 0"]),
        ("noise.low", LOW | {"exposure_mas": 25}, ["noise.low has the keys dose and exposure_mas", "only one"]),
        ("noise.low", {"model": "low_dose", "seed": 1, "photons": 1}, ["low lacks one of the keys dose, exposure_mas"]),
        ("noise.low", LOW | {"photons_per_mas": 1}, ["noise.low has the keys photons and photons_per_mas", "only one"]),
        ("noise.low", {"model": "low_dose", "seed": 1, "dose": 1}, ["one of the keys photons, photons_per_mas, cal"]),
        ("noise.low", CALIBRATED, ["noise.low.calibration is 'repeats'", "the config has no calibration"]),
        ("noise.low", CALIBRATED | {"bowtie_mm": 300}, ["noise.low.bowtie_mm", "remove it"]),
        ("noise.low", CALIBRATED | {"electronic_noise": 3}, ["noise.low.electronic_noise", "remove it"]),
        ("noise.low", CALIBRATED | {"kernel": KERNEL}, ["noise.low.kernel", "remove it"]),
        ("noise.low", LOW | {"kernel": KERNEL | {"gain": [1]}}, ["noise.low.kernel.gain is [1]", "at least 2"]),
        ("noise.low", LOW | {"kernel": KERNEL | {"gain": [1, 1, 1]}}, ["2 values of frequency_per_mm, but 3 of gain"]),
        ("noise.low", LOW | {"kernel": KERNEL | {"frequency_per_mm": [1, 1]}}, ["frequency_per_mm must rise"]),
        ("calibration", {"repeats": {}}, ["calibration.repeats lacks the key series"]),
        ("calibration", {"repeats": {"series": ["a", "a"]}}, ["calibration.repeats.series", "without repeats"]),
        ("split", {"every": 1}, ["split.every is 1", "at least 2"]),
        ("split", {"every": 7, "width": 3, "margin": 2}, ["split.every is 7", "take 7 slices", "larger"]),
        ("split", {"every": 7, "offset": 2}, ["split has the unknown key offset", "offset_mm"]),
        ("noise", {"Gaussian-10": {}}, ["noise has the name 'Gaussian-10'"]),
        ("patches.size", 4, ["patches.size is 4", "at least 8"]),
        ("patches.layout", "quadrants", ["patches.", "remove it"]),
        ("patches.min_body_fraction", 1.5, ["patches.min_body_fraction is 1.5", "at most 1"]),
        ("networks.small.layers", [{"filters": 1, "kernel": 4}], ["layers[0].kernel is 4", "odd"]),
        ("networks.small.layers", [{"filters": 2, "kernel": 3}], ["networks.small: The last layer", "one filter"]),
        ("networks.small.layers", [{"filters": 1, "kernel": 3, "padding": "valid"}], ["small: ", "`padding: full`"]),
        ("networks.small.layers", [{"filters": 1, "kernel": 3, "add": 0}], ["networks.small: ", "keep one"]),
        ("networks.small.layers", [{"filters": 1, "kernel": 3, "add": 1}, {"filters": 1, "kernel": 3}],
         ["networks.small: Layer 1 adds layer 1"]),
        ("networks.small.layers", [{"filters": 1, "kernel": 3, "add": -1}], ["layers[0].add is -1", "at least 0"]),
        ("networks.small.layers",
         [{"filters": 1, "kernel": 41, "padding": "valid"}, {"filters": 1, "kernel": 41, "padding": "full"}],
         ["networks.small: Images of", "too small"]),
        ("networks.small.initialiser", {"kind": "normal"}, ["initialiser lacks the key std"]),
        ("networks.median", {"layers": [{"filters": 1, "kernel": 3}], "residual": True, "initialiser": {"kind": "he"}},
         ["networks.median has the name of a baseline"]),
        ("variants.adam", {}, ["unknown variant 'adam'", "sgd, gradient_noise, dilated, dilated_gradient_noise"]),
        ("variants.sgd", {"dilation": {"p": 1, "d": 1}}, ["variants.sgd.dilation does not belong"]),
        ("variants.dilated", {}, ["variants.dilated lacks the key dilation"]),
        ("variants.gradient_noise_strong", {}, ["variants.gradient_noise_strong lacks the key gradient_noise"]),
        ("variants.dilated_gradient_noise.dilation.p", -0.1, ["noise.dilation.p is -0.1", "at least 0"]),
        ("variants.dilated_gradient_noise.gradient_noise", {"mode": "absolute", "ratio": 1, "gamma": 1}, ["lacks"]),
        ("window_hu", [150, -1350], ["window_hu is [150, -1350]", "lower"]),
        ("window_hu", [150], ["window_hu is [150]", "at least 2"]),
        ("run", "../elsewhere", ["run is '../elsewhere'"]),
        ("baselines.bm4d", {}, ["baselines has the unknown key bm4d"]),
        ("baselines.bm3d", {}, ["baselines.bm3d lacks the key sigma_factor"]),
        ("baselines.median.size_px", [4], ["baselines.median.size_px[0] is 4", "odd"]),
        ("preview.zoom", {"row": 1, "column": 1}, ["preview.zoom lacks the key size"]),
        ("unusable_dicom", "ignore", ["unusable_dicom is 'ignore'", "strict, skip"]),
        ("download", {"retry": 1}, ["download has the unknown key retry", "retries"]),
        ("download", {"idc_endpoint": "s3.amazonaws.com"}, ["download.idc_endpoint is 's3.amazonaws.com'", "http"]),
        ("download", {"bandwidth_mbit": 0}, ["download.bandwidth_mbit is 0", "at least 1"]),
        ("download", {"bandwidth_mbit": 0.5}, ["download.bandwidth_mbit is 0.5", "integer"]),
        ("download", {"retries": -1}, ["download.retries is -1", "at least 0"]),
        ("download", {"timeout_s": 0}, ["download.timeout_s is 0", "greater than 0"]),
    ],
)  # fmt: skip
def test_a_mistake_is_told_in_one_sentence_with_file_and_key(config, schema, path, value, words):
    put(config, path, value)
    with pytest.raises(UserError) as caught:
        check_config(config, schema, "config/mine.yaml")
    sentence = str(caught.value)
    assert sentence.startswith("config/mine.yaml")
    assert sentence.endswith(".")
    assert "\n" not in sentence
    for word in words:
        assert word in sentence


@pytest.mark.parametrize(
    "noise",
    [
        LOW | {"kernel": KERNEL, "electronic_noise": 5, "bowtie_mm": 250, "views": 720},
        {"model": "low_dose", "exposure_mas": 25, "photons_per_mas": 500, "seed": 1},
        CALIBRATED,
        {"model": "measured"},
    ],
)
def test_noises_of_every_model_are_accepted(config, schema, noise):
    config["calibration"] = {"repeats": {"series": ["a", "b"], "views": 180}}
    config["split"] = {"every": 7, "width": 2, "margin": 2, "offset_mm": -1.5}
    config["noise"] = {"low": noise}
    check_config(config, schema, "mine.yaml")


def test_simulated_dose_refuses_scans_that_were_clipped_to_the_window(config, schema):
    config["noise"], config["clip_to_window"] = {"low": LOW}, True
    with pytest.raises(
        UserError, match=r"noise\.low needs scans with their own HU in bone and air; remove the key clip"
    ):
        check_config(config, schema, "mine.yaml")


def test_calibration_refuses_scans_that_were_clipped_to_the_window(config, schema):
    config["calibration"], config["clip_to_window"] = {"scanner": {"series": ["a", "b"]}}, True
    with pytest.raises(
        UserError, match=r"mine\.yaml: calibration needs scans with their own HU in bone and air; remove"
    ):
        check_config(config, schema, "mine.yaml")


def test_the_demo_simulates_the_scanner_that_its_scans_were_made_with(repository):
    from quietct.ct.phantom import scanner

    (noise,) = load_yaml(repository / "config/config.yaml")["noise"].values()
    true = scanner(200.0, 3.0)
    assert noise["photons_per_mas"] * 200 * 3 == true.photons
    assert noise["electronic_noise"] == true.electronic_noise
    frequency = np.linspace(0, 0.7, 100)
    gains = [
        np.interp(frequency, *kernel)
        for kernel in (
            (noise["kernel"]["frequency_per_mm"], noise["kernel"]["gain"]),
            (true.kernel.frequency_per_mm, true.kernel.gain),
        )
    ]
    assert np.abs(np.subtract(*gains)).max() < 0.02


@pytest.mark.parametrize("key", ["run", "series", "noise", "train", "preview", "gifs"])
def test_a_missing_key_is_named(config, schema, key):
    del config[key]
    with pytest.raises(UserError, match=f"mine.yaml lacks the key {key}."):
        check_config(config, schema, "mine.yaml")


def test_a_suffix_makes_a_second_variant_of_a_kind(config, schema):
    config["variants"] = {
        "dilated_strong": {"dilation": {"p": 0.5, "d": 0.07}},
        "dilated_gradient_noise_2": {
            "dilation": {"p": 0.5, "d": 0},
            "gradient_noise": {"mode": "relative", "ratio": 1, "gamma": 0},
        },
    }
    check_config(config, schema, "mine.yaml")
    assert base_variant("dilated_strong") == "dilated"
    assert base_variant("dilated_gradient_noise_2") == "dilated_gradient_noise"
    assert base_variant("gradient_noise") == "gradient_noise"


def objects(schema):
    yield schema
    for part in schema.get("properties", {}).values():
        yield from objects(part)
    for key in ("additionalProperties", "items"):
        if isinstance(schema.get(key), dict):
            yield from objects(schema[key])


@pytest.mark.parametrize("name", ["config", "series"])
def test_schemas_are_strict_and_describe_every_key(repository, name):
    schema = load_yaml(repository / f"workflow/schemas/{name}.schema.yaml")
    for part in objects(schema):
        if part.get("type") == "object":
            assert "additionalProperties" in part
        for key, value in part.get("properties", {}).items():
            assert value.get("description", "").endswith("."), key


@pytest.mark.parametrize(("name", "heading"), [("config", "key"), ("series", "column of the series sheet")])
def test_the_table_in_the_readme_lists_exactly_the_keys_of_the_schema(repository, name, heading):
    keys = list(schema_keys(load_yaml(repository / f"workflow/schemas/{name}.schema.yaml")))
    text = (repository / "config/README.md").read_text(encoding="utf-8")
    table = text.split(f"| {heading} | value | meaning |\n|---|---|---|\n")[1].split("\n\n")[0]
    assert [line.split("`")[1] for line in table.splitlines() if line] == keys


def test_registries_in_the_code_have_the_names_of_the_schemas(repository, schema):
    from quietct.ct.noise import MODELS
    from quietct.ct.sources import SOURCES
    from quietct.evaluation.baselines import BASELINES

    series = load_yaml(repository / "workflow/schemas/series.schema.yaml")
    noise = schema["properties"]["noise"]["additionalProperties"]["properties"]
    assert set(noise["model"]["enum"]) == {*MODELS, "measured"}  # which adds nothing
    assert set(series["properties"]["source"]["enum"]) == set(SOURCES)
    baselines = schema["properties"]["baselines"]["properties"]
    assert set(baselines) == set(BASELINES)
    for name, function in BASELINES.items():
        _, *parameters = inspect.signature(function).parameters.values()
        assert set(baselines[name]["properties"]) == {parameter.name for parameter in parameters}
        required = {parameter.name for parameter in parameters if parameter.default is parameter.empty}
        assert set(baselines[name]["required"]) == required


def test_downloads_have_usual_settings_for_what_the_config_leaves_out(config, schema):
    assert download_settings(config) == DOWNLOAD
    config["download"] = {"retries": 0, "timeout_s": 0.5}
    check_config(config, schema, "mine.yaml")
    assert download_settings(config) == {**DOWNLOAD, "retries": 0, "timeout_s": 0.5}
    described = schema["properties"]["download"]["properties"]
    assert set(described) == set(DOWNLOAD)
    for key, value in DOWNLOAD.items():
        assert f" {value} when absent" in described[key]["description"]
    check_config({**config, "download": DOWNLOAD}, schema, "mine.yaml")


def test_methods_are_noisy_baselines_and_all_trainings(config):
    config["train"]["seeds"] = [1, 7]
    config["variants"] = {"sgd": {}, "dilated": {}}
    config["baselines"] = {"tv": {}}
    trained = ["small-sgd-seed1", "small-sgd-seed7", "small-dilated-seed1", "small-dilated-seed7"]
    assert trained_methods(config) == trained
    assert all_methods(config) == ["noisy", "tv", *trained]
