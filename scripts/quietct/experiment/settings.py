"""The config of an experiment: checked, with its mistakes told in one sentence, and what follows from it."""

from __future__ import annotations

import json
import math
from collections.abc import Iterator, Mapping
from itertools import pairwise
from pathlib import Path
from typing import Any

import yaml
from jsonschema import Draft202012Validator, ValidationError
from jsonschema.exceptions import best_match

from quietct.errors import UserError
from quietct.methods import VARIANTS, base_variant
from quietct.nn.architecture import Architecture

# In place of the keys that a config leaves out.
DOWNLOAD = {
    "idc_endpoint": "https://s3.amazonaws.com",
    "tcia_endpoint": "https://nbia.cancerimagingarchive.net/nbia-api/services/v4",
    "bandwidth_mbit": 250,
    "retries": 5,
    "timeout_s": 60,
}

UNCLIPPED = "needs scans with their own HU in bone and air; remove the key clip_to_window."


def check_schema(value: Any, schema: Mapping[str, Any], where: str) -> None:
    """Check a value against a JSON schema.

    Parameters
    ----------
    value : dict
        A config, or a row of a series sheet.
    schema : dict
        Draft 2020-12.
    where : str
        Name of the file for the sentence, such as "config/config.yaml".

    Raises
    ------
    UserError
        With one sentence on the first mistake that matters.
    """
    error = best_match(Draft202012Validator(schema).iter_errors(value))
    if error is not None:
        raise UserError(explain(error, where))


def explain(error: ValidationError, where: str) -> str:
    """Tell a schema error in one sentence that names the file, the key and what would be right."""
    key = dotted(error.absolute_path)
    place = f"{where}: {key}" if key else where
    rule, value, found = error.validator, error.validator_value, _short(error.instance)
    if "propertyNames" in error.absolute_schema_path:
        if key == "variants":
            return f"{place} has the unknown variant {found}; known are {', '.join(VARIANTS)}, each also with a suffix."
        return f"{place} has the name {found}, but names may only hold a-z, 0-9 and _."
    if rule == "additionalProperties":
        known = sorted(error.schema.get("properties", {}))
        unknown = sorted(set(error.instance) - set(known))
        return f"{place} has the unknown key {', '.join(unknown)}; known are {', '.join(known)}."
    if rule == "required":
        missing = [name for name in value if name not in error.instance]
        return f"{place} lacks the key {', '.join(missing)}."
    if rule == "not" and not value:  # the schema forbids the key beside its neighbours
        return f"{place} has no meaning beside the keys around it; remove it."
    if rule == "type":
        hint = " (write 1.0e-3, because YAML takes 1e-3 for text)" if _is_number_text(error.instance) else ""
        kinds = " or ".join([value] if isinstance(value, str) else value)
        return f"{place} is {found}, but must be of the type {kinds}{hint}."
    if rule == "enum":
        return f"{place} is {found}, but must be one of {', '.join(map(str, value))}."
    wanted = {
        "minimum": f"at least {value}",
        "maximum": f"at most {value}",
        "exclusiveMinimum": f"greater than {value}",
        "exclusiveMaximum": f"less than {value}",
        "minItems": f"a list of at least {value}",
        "maxItems": f"a list of at most {value}",
        "minLength": "some text",
        "minProperties": "a mapping with at least one entry",
        "uniqueItems": "a list without repeats",
        "not": "an odd number",
        "pattern": f"text that matches {value}",
    }
    return f"{place} is {found}, but must be {wanted.get(str(rule), f'such that {rule} is {value}')}."


def dotted(path: Any) -> str:
    """Write the path of a key as `train.seeds[0]`."""
    text = ""
    for part in path:
        text += f"[{part}]" if isinstance(part, int) else f".{part}"
    return text.removeprefix(".")


def check_config(config: Mapping[str, Any], schema: Mapping[str, Any], where: str) -> None:
    """Check a merged config: first against the schema, then what a schema cannot say.

    Parameters
    ----------
    config : dict
        As Snakemake merged it.
    schema : dict
        `workflow/schemas/config.schema.yaml`.
    where : str
        Name of the config file for the sentence.

    Raises
    ------
    UserError
        With one sentence on the first mistake.
    """
    check_schema(config, schema, where)
    for key, value in _leaves(config):
        if isinstance(value, float) and not math.isfinite(value):
            raise UserError(f"{where}: {dotted(key)} is {value}, but must be a finite number.")
    low, high = config["window_hu"]
    if low >= high:
        raise UserError(f"{where}: window_hu is [{low}, {high}], but the first number must be the lower one.")
    if config.get("calibration") and config.get("clip_to_window"):
        raise UserError(f"{where}: calibration {UNCLIPPED}")
    for name, noise in config["noise"].items():
        if noise["model"] == "low_dose":
            _check_low_dose(noise, config, f"{where}: noise.{name}")
    if "split" in config:
        _check_split(config["split"], f"{where}: split")
    for name, network in config["networks"].items():
        try:
            architecture = Architecture.from_config(network)
            if "size" in config["patches"]:
                architecture.place(1, config["patches"]["size"], config["patches"]["size"])
        except UserError as error:
            raise UserError(f"{where}: networks.{name}: {error}") from None
    for name, rules in config["variants"].items():
        kind = base_variant(name)
        if kind is None:
            raise UserError(f"{where}: variants has the unknown variant {name}; known are {', '.join(VARIANTS)}.")
        for part in ("gradient_noise", "dilation"):
            expected = ("gradient_noise" in kind) if part == "gradient_noise" else kind.startswith("dilated")
            if expected and part not in rules:
                raise UserError(f"{where}: variants.{name} lacks the key {part}.")
            if not expected and part in rules:
                raise UserError(f"{where}: variants.{name}.{part} does not belong to the variant {kind}; remove it.")
    for name in config["baselines"]:
        if name in config["networks"]:
            raise UserError(f"{where}: networks.{name} has the name of a baseline; choose another.")


def _check_low_dose(noise: Mapping[str, Any], config: Mapping[str, Any], place: str) -> None:
    """Refuse settings of the model `low_dose` that are unclear or contradict each other."""
    for choice in (("dose", "exposure_mas"), ("photons", "photons_per_mas", "calibration")):
        given = [key for key in choice if key in noise]
        if not given:
            raise UserError(f"{place} lacks one of the keys {', '.join(choice)}.")
        if len(given) > 1:
            raise UserError(f"{place} has the keys {' and '.join(given)}, but only one of them can hold.")
    calibrations = config.get("calibration", {})
    if "calibration" in noise and noise["calibration"] not in calibrations:
        known = f"the config has only {', '.join(calibrations)}" if calibrations else "the config has no calibration"
        raise UserError(f"{place}.calibration is {noise['calibration']!r}, but {known}.")
    if "kernel" in noise:
        frequency, gain = noise["kernel"]["frequency_per_mm"], noise["kernel"]["gain"]
        if len(frequency) != len(gain):
            raise UserError(f"{place}.kernel has {len(frequency)} values of frequency_per_mm, but {len(gain)} of gain.")
        if any(after <= before for before, after in pairwise(frequency)):
            raise UserError(f"{place}.kernel.frequency_per_mm must rise from each value to the next.")
    if config.get("clip_to_window"):
        raise UserError(f"{place} {UNCLIPPED}")


def _check_split(split: Mapping[str, Any], place: str) -> None:
    taken = split.get("width", 1) + 2 * split.get("margin", 0)
    if taken >= split["every"]:
        raise UserError(
            f"{place}.every is {split['every']}, but width and two margins take {taken} slices of these, so that none "
            "is left to train on; make every larger."
        )


def download_settings(config: Mapping[str, Any]) -> dict[str, Any]:
    """Give the settings of downloads: those of the config, and the usual ones for the keys that it leaves out."""
    return {**DOWNLOAD, **config.get("download", {})}


def load_yaml(path: str | Path) -> Any:
    """Read a YAML file."""
    return yaml.safe_load(Path(path).read_text(encoding="utf-8"))


def schema_keys(schema: Mapping[str, Any], path: str = "") -> Iterator[str]:
    """Go through all keys that a schema allows, free names written as `<name>` and list items as `[]`."""
    for name, part in schema.get("properties", {}).items():
        key = f"{path}.{name}" if path else name
        yield key
        yield from schema_keys(part, key)
    if isinstance(schema.get("additionalProperties"), dict):
        yield from schema_keys(schema["additionalProperties"], f"{path}.<name>")
    if isinstance(schema.get("items"), dict) and "properties" in schema["items"]:
        yield from schema_keys(schema["items"], f"{path}[]")


def _leaves(value: Any, path: tuple[Any, ...] = ()) -> Iterator[tuple[tuple[Any, ...], Any]]:
    if isinstance(value, Mapping):
        for key, part in value.items():
            yield from _leaves(part, (*path, key))
    elif isinstance(value, list):
        for index, part in enumerate(value):
            yield from _leaves(part, (*path, index))
    else:
        yield path, value


def _short(value: Any) -> str:
    text = json.dumps(value, separators=(",", ":"), ensure_ascii=False) if not isinstance(value, str) else repr(value)
    return text if len(text) <= 60 else f"{text[:57]}..."


def _is_number_text(value: Any) -> bool:
    if not isinstance(value, str):
        return False
    try:
        float(value)
    except ValueError:
        return False
    return True
