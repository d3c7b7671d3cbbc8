"""
The checked config and series sheet, and the functions that the rules ask for their inputs and params. Holds no rule.
"""

import os
import re

from quietct.digests import code_digest
from quietct.methods import all_methods, split_method, trained_methods
from quietct.settings import canonical_json, check_config, digest_of, load_yaml
from quietct.sheet import check_split, preview_of, read_sheet, series_of

CONFIG_FILE = os.path.relpath(workflow.configfiles[-1]) if workflow.configfiles else "the config"


def load_series():
    """Check the config and read the series sheet that it names."""
    schemas = REPOSITORY.joinpath("workflow", "schemas")
    check_config(config, load_yaml(schemas.joinpath("config.schema.yaml")), CONFIG_FILE)
    sheet = config["series"]
    rows = read_sheet(find_file(sheet), load_yaml(schemas.joinpath("series.schema.yaml")), sheet)
    check_split(rows, sheet, lambda location: os.path.realpath(find_file(location)))
    for row in rows:
        fetched = Path("resources", "dicom", row["series"])
        if "location" in row and not Path(find_file(row["location"])).exists() and not fetched.exists():
            raise UserError(f"{sheet}: the location {row['location']} of series {row['series']} does not exist.")
    return {row["series"]: row for row in rows}


with one_sentence():
    SERIES = load_series()
    PREVIEW = preview_of(list(SERIES.values()), config["preview"]["series"], CONFIG_FILE)

TRAIN_SERIES = series_of(list(SERIES.values()), "train")
TEST_SERIES = series_of(list(SERIES.values()), "test")
ALL_METHODS = all_methods(config)
TRAINED_METHODS = trained_methods(config)
# Pictures of all seeds would be many and look alike; the first seed stands for the others.
SHOWN_METHODS = [method for method in TRAINED_METHODS if method.endswith(f"-seed{config['train']['seeds'][0]}")]


def one_of(names):
    """Wildcard constraint: exactly one of the names of this experiment, so that a misspelt target is refused."""
    return "|".join(re.escape(str(name)) for name in names) or "(?!)"


def get_code(script):
    """Digest of the package files that a script imports; Snakemake by itself does not see an edit there."""
    return code_digest(REPOSITORY.joinpath("scripts", f"{script}.py"))


def get_location(wildcards):
    """The folder or zip file a series is read from, if it has one."""
    row = SERIES.get(wildcards.series, {})
    return [find_file(row["location"])] if "location" in row else []


def get_cell(column):
    """Params function for one cell of the series sheet; None if it is empty."""
    return lambda wildcards: SERIES[wildcards.series].get(column)


def get_noise_settings(wildcards):
    """The noise entry as canonical JSON, without its model."""
    entry = config["noise"][wildcards.noise]
    return canonical_json({key: value for key, value in entry.items() if key != "model"})


def get_training_settings():
    """What all trainings share, as canonical JSON; seed and threads are given by themselves."""
    return canonical_json({key: value for key, value in config["train"].items() if key not in ("seeds", "threads")})


def get_checkpoint(wildcards):
    """Where a killed training is kept: the name is a digest of everything that its weights depend on."""
    name = digest_of(
        [SERIES[name] for name in (*TRAIN_SERIES, PREVIEW)],
        config["window_hu"],
        config["noise"][wildcards.noise],
        config["patches"],
        config["networks"][wildcards.network],
        config["variants"][wildcards.variant],
        get_training_settings(),
        config["preview"]["slice"],
        [wildcards.network, wildcards.variant, wildcards.seed],
        get_code("train_network"),
    )
    return f"results/{config['run']}/checkpoints/{name}.npz"


def get_model(wildcards):
    """What a method denoises with: the weights of a network, or the tuned settings of a baseline."""
    network, variant, seed = split_method(wildcards.method)
    if network is None:
        return f"<results>/baselines/{wildcards.noise}/{wildcards.method}.json"
    return f"<results>/models/{wildcards.noise}/{network}/{variant}/seed{seed}/weights.npz"


def get_image(wildcards):
    """The volume to be measured: the noisy one, or what a method made of it."""
    if wildcards.method == "noisy":
        return "<results>/noisy/{noise}/{series}.npy"
    return "<results>/denoised/{noise}/{method}/{series}.npy"
