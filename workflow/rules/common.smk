"""
Where files are looked for, and how a mistake of the user ends. Holds no rule and needs no config.
"""

import sys
from contextlib import contextmanager
from pathlib import Path

REPOSITORY = Path(workflow.current_basedir.get_path_or_uri(secret_free=False)).parents[1]

# The package lies beside the scripts; rules find it there, and here the Snakefile does too.
sys.path.append(str(REPOSITORY.joinpath("scripts")))

from quietct.errors import UserError


@contextmanager
def one_sentence():
    """End with the sentence of a UserError alone, without the lines of the Snakefile that raised it."""
    try:
        yield
    except UserError as error:
        sys.exit(f"Error: {error}")


def find_file(path):
    """Look a path up in the working directory, then in the repository."""
    here = Path(path).expanduser()
    return str(here if here.exists() or not REPOSITORY.joinpath(here).exists() else REPOSITORY.joinpath(here))
