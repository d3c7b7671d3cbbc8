"""What the scripts of a run inherit from Snakemake."""

from __future__ import annotations

import os
from pathlib import Path

from quietct.orphans import STARTED_BY


def prepare_environment(scripts: Path) -> None:
    """Set the variables that scripts inherit.

    They learn which Snakemake has started them, so that they end with it, and import the package that lies beside them
    and not another version that is installed: Snakemake puts their folder last on Python's path.

    Parameters
    ----------
    scripts : path
        The folder of the scripts and of the package.
    """
    os.environ[STARTED_BY] = str(os.getpid())
    others = [path for path in os.environ.get("PYTHONPATH", "").split(os.pathsep) if path not in ("", str(scripts))]
    os.environ["PYTHONPATH"] = os.pathsep.join([str(scripts), *others])
