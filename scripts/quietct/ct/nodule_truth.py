"""Where the nodules of a series are: of the synthetic chest as it was built, of another phantom as a table tells."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pandas as pd

from quietct.ct.phantom import PIXEL_MM, ROWS, Nodule, nodules
from quietct.errors import UserError
from quietct.files import written_whole

logger = logging.getLogger(__name__)

COLUMNS = ("row", "column", "z_mm", "diameter_mm", "hu")


def on_pixels(placed: Sequence[Nodule]) -> pd.DataFrame:
    """Give nodules of the synthetic chest on the pixels of its scans.

    Parameters
    ----------
    placed : sequence of Nodule
        With their centres in mm of the patient.

    Returns
    -------
    DataFrame of float64
        `row` and `column` of the centre, where 0 is the middle of the first pixel; `z_mm`, its height; `diameter_mm`;
        `hu`, the density.
    """
    middle = (ROWS - 1) / 2
    rows = [
        (middle + y / PIXEL_MM, middle + x / PIXEL_MM, z, nodule.diameter_mm, nodule.hu)
        for nodule in placed
        for x, y, z in [nodule.centre_mm]
    ]
    return pd.DataFrame(rows, columns=list(COLUMNS), dtype=float)


def read_nodules(path: str | Path) -> pd.DataFrame:
    """Read a table of nodules.

    Parameters
    ----------
    path : path
        Tab-separated, with the columns `COLUMNS`; other columns are left out.

    Returns
    -------
    DataFrame of float64
        As from `on_pixels`; of no rows where nothing is known.

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


def locate_nodules(nodules_tsv: str | Path, layout: int | None = None, known_tsv: str | Path | None = None) -> None:
    """Write what is known of the nodules of a series.

    Parameters
    ----------
    nodules_tsv : path
        The table to write; see `on_pixels`. Nodules above or below the scan are in it too. It has no rows where nothing
        is known.
    layout : int, optional
        Of the synthetic chest.
    known_tsv : path, optional
        The user's table of another phantom; see `read_nodules`.

    Raises
    ------
    UserError
        If the user's table cannot be read.
    """
    built = [] if layout is None else nodules(layout)
    table = on_pixels(built) if known_tsv is None else read_nodules(known_tsv)
    with written_whole(nodules_tsv) as partial:
        table.to_csv(partial, sep="\t", index=False, float_format="%.6g")
    logger.info("%d nodules are known.", len(table))
