"""What to tell people about a trained network."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from math import prod
from typing import Any

from quietct.nn.architecture import Architecture, Layer

UNKNOWN = "not told"


def describe(description: Mapping[str, Any], digest: str | None = None) -> str:
    """Write down all that the weights say of a network.

    Parameters
    ----------
    description : mapping
        From `quietct.nn.weights.load_network`.
    digest : str, optional
        Of the weights, `quietct.nn.weights.network_digest`.

    Returns
    -------
    str
        Lines for people to read.
    """
    sections = {
        "Network": _network_lines(description),
        "Training": _training_lines(description),
        "Training data": _data_lines(description.get("training_data")),
        "Noise": [str(description.get("noise", UNKNOWN))],
        "Normalisation": ["0 is {shift_hu:g} HU, 1 is {scale_hu:g} HU more".format_map(description["normalisation"])],
        "Window": [_window(description["window_hu"])] if "window_hu" in description else [],
        "Measured": _quality_lines(description),
        "quietct": [f"version {description.get('version', UNKNOWN)}"],
        "Weights": [f"sha256 {digest}"] if digest else [],
    }
    width = max(map(len, sections)) + 2
    lines = []
    for heading, texts in sections.items():
        lines += [f"{'' if k else heading:<{width}}{text}" for k, text in enumerate(texts)]
    return "\n".join(lines)


def _network_lines(description: Mapping[str, Any]) -> list[str]:
    architecture = Architecture.from_config(description["architecture"])
    parameters = sum(prod(shape) + shape[0] for shape in architecture.weight_shapes)
    field = 1 + sum(layer.kernel - 1 for layer in architecture.layers)
    name, count = description.get("network", "unnamed"), len(architecture.layers)
    return [
        f"{name}: {count} layer{'s' * (count > 1)}, {parameters:,} parameters, sees {field} x {field} pixels",
        *(f"{k}. {_layer(layer)}" for k, layer in enumerate(architecture.layers, start=1)),
    ]


def _layer(layer: Layer) -> str:
    words = f"{layer.filters} filter{'s' * (layer.filters > 1)} of {layer.kernel} x {layer.kernel}"
    if layer.padding != "same":
        words += f" ({layer.padding})"
    if layer.add is not None:
        words += " + input" if layer.add == 0 else f" + layer {layer.add}"
    return words + ", ReLU" * layer.relu


def _training_lines(description: Mapping[str, Any]) -> list[str]:
    training = description.get("training", {})
    facts = [
        (f"{training['epochs']} epochs" if "epochs" in training else ""),
        (f"batches of {training['batch_size']}" if "batch_size" in training else ""),
        (f"seed {description['seed']}" if "seed" in description else ""),
    ]
    steps = [
        f"{what}{_settings(training[key])}"
        for key, what in (("optimiser", ""), ("learning_rate", "learning rate "), ("schedule", ""), ("loss", "loss "))
        if key in training
    ]
    lines = [", ".join(filter(None, facts)) or UNKNOWN, ", ".join(steps)]
    rules = ", ".join(f"{key} {_settings(value)}" for key, value in description.get("variant_settings", {}).items())
    lines.append(f"back-propagation {description.get('variant', UNKNOWN)}{f': {rules}' if rules else ''}")
    lines.append(description.get("diverged", ""))
    return [line for line in lines if line]


def _settings(value: Any) -> str:
    """Write an entry of the config: {'kind': 'adam', 'beta2': 0.99} as 'adam (beta2 0.99)'."""
    if not isinstance(value, Mapping):
        return str(value)
    rest = ", ".join(f"{key} {_settings(entry)}" for key, entry in value.items() if key != "kind")
    return " ".join(filter(None, (value.get("kind"), f"({rest})" if rest else "")))


def _data_lines(facts: Mapping[str, Any] | None) -> list[str]:
    if facts is None:
        return [UNKNOWN]
    size = " x ".join(map(str, facts["patch_px"]))
    lines = [f"{facts['series']} series, {facts['patches']:,} patches of {size} pixels"]
    headers = [
        f"{what} {unit_range(facts[key], unit)}"
        for key, what, unit in (
            ("spacing_mm", "pixels of", "mm"),
            ("slice_thickness_mm", "slices of", "mm"),
            ("exposure_mas", "exposure", "mAs"),
        )
        if facts[key]
    ]
    headers += [f"{joined([f'{voltage:g}' for voltage in facts['kvp']])} kV"] if facts["kvp"] else []
    headers += [f"kernel {joined(facts['kernels'])}"] if facts["kernels"] else []
    headers += [joined(facts["scanners"])] if facts["scanners"] else []
    lines += [", ".join(headers)] if headers else []
    quantiles = facts["hu_quantiles"]
    measured = [f"{quantiles['0.001']:.0f} to {quantiles['0.999']:.0f} HU"]
    measured += [f"noise {unit_range(facts['noise_hu'], 'HU')} in tissue"] if facts["noise_hu"] else []
    if facts["lung_fraction"]:
        measured.append(f"{percent_range(facts['lung_fraction'])} of the body lung")
    return [*lines, ", ".join(measured)]


def _quality_lines(description: Mapping[str, Any]) -> list[str]:
    quality = description.get("quality")
    if quality is None:
        return ["not told; the rule export_weights adds it"]
    lines = [f"{quality['n_slices']} test slices, window {_window(quality['window_hu'])}"]
    for row in ("noisy", "denoised"):
        values = [
            f"{what} {quality[row][key]:.{digits}f}{unit}"
            for key, what, digits, unit in (
                ("psnr_db", "PSNR", 2, " dB"),
                ("ssim", "SSIM", 3, ""),
                ("rmse_hu", "RMSE", 1, " HU"),
            )
            if quality[row][key] is not None
        ]
        lines.append(f"{row}: {', '.join(values) or 'no value'}")
    return lines


def _window(window_hu: Sequence[float]) -> str:
    return f"{window_hu[0]:g} to {window_hu[1]:g} HU"


def unit_range(ends: Sequence[float], unit: str) -> str:
    """Write a range, or a number if it is none: '0.5 to 0.7 mm'."""
    return " to ".join(dict.fromkeys(f"{end:.3g}" for end in ends)) + f" {unit}"


def joined(words: Sequence[str]) -> str:
    """Write a list: 'a, b and c'."""
    *first, last = words
    return f"{', '.join(first)} and {last}" if first else last


def percent_range(shares: Sequence[float]) -> str:
    """Write a range of shares: '46% to 48%'."""
    return " to ".join(dict.fromkeys(f"{share:.0%}" for share in shares))
