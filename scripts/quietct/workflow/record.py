"""What a run was made with: its whole config, the code, the packages and the machine."""

from __future__ import annotations

import json
import logging
import os
import platform
import subprocess
import sys
from collections.abc import Mapping
from importlib import metadata
from pathlib import Path
from typing import Any

import numpy as np  # noqa: F401  loads the BLAS that blas_kernels looks at
import yaml
from threadpoolctl import threadpool_info

from quietct import __version__
from quietct.files import written_whole

PACKAGES = (
    "numpy",
    "scipy",
    "scikit-image",
    "PyWavelets",
    "bm3d",
    "pydicom",
    "python-gdcm",
    "matplotlib",
    "pillow",
    "snakemake",
)

logger = logging.getLogger(__name__)


def record_run(record_path: str | Path, config: str, left_out: Mapping[str, str] | None = None) -> None:
    """Write the record of a run.

    Parameters
    ----------
    record_path : path
        The YAML file to make, with the keys `config`, `quietct`, `commit`, `python`, `packages` and `machine`. What
        stands under `config` is a complete config file. `left_out` is there if anything is.
    config : str
        The merged config as JSON.
    left_out : mapping, optional
        Methods of the config that the run is without, and why.
    """
    record = {
        "config": json.loads(config),
        **({"left_out": dict(left_out)} if left_out else {}),
        "quietct": __version__,
        "commit": git_commit(),
        "python": sys.version.split()[0],
        "packages": package_versions(),
        "machine": {
            "platform": platform.platform(),
            "processor": processor_name(),
            "cores": os.cpu_count(),
            "blas": blas_kernels(),
        },
    }
    with written_whole(record_path) as partial:
        partial.write_text(yaml.safe_dump(record, sort_keys=False, allow_unicode=True), encoding="utf-8")
    logger.info("quietct %s, commit %s, Python %s", record["quietct"], record["commit"], record["python"])


def package_versions() -> dict[str, str | None]:
    """Give the installed version of each package that touches the numbers; None where it is not installed."""
    versions: dict[str, str | None] = {}
    for name in PACKAGES:
        try:
            versions[name] = metadata.version(name)
        except metadata.PackageNotFoundError:
            versions[name] = None
    return versions


def git_commit() -> str | None:
    """Give the commit of the code, ending in "+changes" if files differ from it; None outside a git clone."""
    folder = Path(__file__).parents[1]  # the package

    def git(*words: str) -> str:
        return subprocess.run(
            ["git", *words], cwd=folder, capture_output=True, text=True, check=True, timeout=20
        ).stdout.strip()

    try:
        commit = git("rev-parse", "HEAD")
        return f"{commit}+changes" if git("status", "--porcelain", "--", ".") else commit
    except (OSError, subprocess.SubprocessError):
        return None


def blas_kernels() -> list[str]:
    """Name NumPy's BLAS and the kernels that it has chosen; these decide the last bits of all results."""
    facts = [library for library in threadpool_info() if library["user_api"] == "blas"]
    return [f"{blas['internal_api']} {blas['version']} {blas.get('architecture', '')}".strip() for blas in facts]


def processor_name() -> str:
    """Give the name of the processor as the operating system tells it."""
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        lines = []
    names: list[Any] = [line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.processor() or platform.machine()
