"""What denoising methods and back-propagation variants are called."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from importlib.util import find_spec
from typing import Any

# The article's cases 1 to 4.
VARIANTS = ("sgd", "gradient_noise", "dilated", "dilated_gradient_noise")

# Baselines of a package that is not installed with quietct, because of its licence.
OPTIONAL_BASELINES = ("bm3d",)

NETWORK_METHOD = re.compile(r"(?P<network>[^-]+)-(?P<variant>[^-]+)-seed(?P<seed>\d+)")


def base_variant(variant: str) -> str | None:
    """Find which of the four variants a name such as `gradient_noise_strong` stands for; None for none of them."""
    bases = [base for base in VARIANTS if variant == base or variant.startswith(f"{base}_")]
    return max(bases, key=len, default=None)


def split_method(method: str) -> tuple[str | None, str | None, int | None]:
    """Take a method's name apart.

    Parameters
    ----------
    method : str
        `<network>-<variant>-seed<k>` for a trained network, any other name for a baseline or `noisy`.

    Returns
    -------
    network, variant, seed
        All None when the method is no trained network.
    """
    match = NETWORK_METHOD.fullmatch(method)
    if match is None:
        return None, None, None
    return match["network"], match["variant"], int(match["seed"])


def trained_methods(config: Mapping[str, Any]) -> list[str]:
    """Give the method names `<network>-<variant>-seed<k>` of all trainings, in the order of the config."""
    return [
        f"{network}-{variant}-seed{seed}"
        for network in config["networks"]
        for variant in config["variants"]
        for seed in config["train"]["seeds"]
    ]


def all_methods(config: Mapping[str, Any]) -> list[str]:
    """Give `noisy`, the baselines and the trained methods."""
    return ["noisy", *config["baselines"], *trained_methods(config)]


def missing_baselines(baselines: Iterable[str]) -> list[str]:
    """Give those of some baselines whose package is not installed."""
    return [name for name in baselines if name in OPTIONAL_BASELINES and find_spec(name) is None]


def missing_sentence(baseline: str) -> str:
    """Say why a baseline is left out of a run."""
    return (
        f"The baseline {baseline} is left out: its package, free for non-commercial use only, is not installed; "
        f'pip install "quietct[{baseline}]" adds it.'
    )
