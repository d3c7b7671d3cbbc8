"""Imported once by the process that all plans are forked from: it knows the digests of the code before it is asked."""

from pathlib import Path

from quietct.workflow.digests import code_digest

for script in Path(__file__).parents[2].joinpath("scripts").glob("*.py"):
    code_digest(script)
