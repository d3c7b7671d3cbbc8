"""
Where files are looked for, and how mistakes and faults end. Holds no rule and needs no config.
"""

import logging
import sys
from contextlib import contextmanager, suppress
from pathlib import Path

REPOSITORY = Path(workflow.current_basedir.get_path_or_uri(secret_free=False)).parents[1]

# The package lies beside the scripts, and is this one even if another is installed.
SCRIPTS = REPOSITORY.joinpath("scripts")
sys.path.insert(0, str(SCRIPTS))

from quietct.errors import UserError
from quietct.workflow.environment import prepare_environment
from quietct.workflow.failures import Failures
from quietct.workflow.folder_lock import check_writable, remove_dead_lock


@contextmanager
def one_sentence():
    """End with the sentence of a UserError alone, without the lines of the Snakefile that raised it."""
    try:
        yield
    except UserError as error:
        sys.exit(f"Error: {error}")


prepare_environment(SCRIPTS)
FAILURES = Failures()
if workflow.is_main_process:
    logging.raiseExceptions = False  # on a full disk, logging would bury the screen under tracebacks of its own
    logger.addFilter(FAILURES)
    with one_sentence():
        check_writable(Path(".snakemake"))
    if remove_dead_lock(Path(".snakemake")):
        logger.info("The last Snakemake in this folder was killed; its lock is removed.")


def find_file(path):
    """Look a path up in the working directory, then in the repository."""
    here = Path(path).expanduser()
    return str(here if here.exists() or not REPOSITORY.joinpath(here).exists() else REPOSITORY.joinpath(here))
