"""A table of nodules: where they are in a series, how large and how dense."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd

from quietct.errors import UserError

COLUMNS = ("row", "column", "z_mm", "diameter_mm", "hu")


def read_nodules(path: str | Path) -> pd.DataFrame:
    """Read a table of nodules.

    Parameters
    ----------
    path : path
        Tab-separated, with the columns `COLUMNS`; other columns are left out.

    Returns
    -------
    DataFrame of float64
        `row` and `column` of the centre, where 0 is the middle of the first pixel; `z_mm`, its height; `diameter_mm`;
        `hu`, the density. Of no rows where nothing is known.

    Raises
    ------
    UserError
        If the file is absent, lacks a column, or holds anything but finite numbers and diameters above 0.
    """
    try:
        table = pd.read_csv(path, sep="\t")
    except FileNotFoundError:
        raise UserError(f"The table of nodules {path} does not exist.") from None
    except (UnicodeDecodeError, pd.errors.ParserError, pd.errors.EmptyDataError, IsADirectoryError):
        raise UserError(f"The table of nodules {path} is no tab-separated text file.") from None
    if missing := [name for name in COLUMNS if name not in table]:
        raise UserError(f"The table of nodules {path} lacks the column {missing[0]}; it needs {', '.join(COLUMNS)}.")
    table = table[list(COLUMNS)].apply(pd.to_numeric, errors="coerce").astype(float)
    if not np.isfinite(table.to_numpy()).all() or (table["diameter_mm"] <= 0).any():
        raise UserError(f"The table of nodules {path} must hold finite numbers alone, and diameters above 0.")
    return table
