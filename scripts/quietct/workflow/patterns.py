"""Regular expressions that match exactly the names of a list, short and fast even if there are thousands."""

from __future__ import annotations

import re
from collections.abc import Iterable
from itertools import groupby
from os.path import commonprefix

NOTHING = "(?!)"


def one_of(names: Iterable[object]) -> str:
    """Write a regular expression that matches each of some names and nothing else.

    Snakemake writes the constraint of a wildcard into the path of a file, and reads that path again for every job. A
    plain `a|b|c` of thousands of names is half a megabyte, and is tried name after name. Here, what names begin with
    stands there once, and what different beginnings end with as well, as in `low_(?:[AB]_repeat[123])`.

    Parameters
    ----------
    names : iterable
        Anything whose text is a name; none at all is matched by nothing.

    Returns
    -------
    str
        To be used with `fullmatch`, or as part of a longer expression.
    """
    different = sorted({str(name) for name in names})
    return _written(different) if different else NOTHING


def _written(names: list[str]) -> str:
    """Write the expression of at least one name; all sorted and different."""
    start = commonprefix([names[0], names[-1]])  # noqa: RUF071 - of letters, as is meant here
    if len(names) == 1:
        return re.escape(start)
    ends = [name[len(start) :] for name in names]
    may_end = not ends[0]
    letters: dict[str, list[str]] = {}  # by the expression of what follows them
    for letter, group in groupby(ends[may_end:], key=lambda end: end[0]):
        letters.setdefault(_written([end[1:] for end in group]), []).append(re.escape(letter))
    choices = [(one[0] if len(one) == 1 else f"[{''.join(one)}]") + rest for rest, one in letters.items()]
    return f"{re.escape(start)}(?:{'|'.join(choices)}){'?' if may_end else ''}"
