"""Where the nodules of a series are: of the synthetic chest as it was built, of another phantom as a table tells."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from pathlib import Path

import pandas as pd

from quietct.ct.nodule_table import COLUMNS, read_nodules
from quietct.ct.phantom import PIXEL_MM, ROWS, Nodule, nodules
from quietct.files import written_whole

logger = logging.getLogger(__name__)


def on_pixels(placed: Sequence[Nodule]) -> pd.DataFrame:
    """Give nodules of the synthetic chest on the pixels of its scans.

    Parameters
    ----------
    placed : sequence of Nodule
        With their centres in mm of the patient.

    Returns
    -------
    DataFrame of float64
        With the columns of `quietct.ct.nodule_table.read_nodules`.
    """
    middle = (ROWS - 1) / 2
    rows = [
        (middle + y / PIXEL_MM, middle + x / PIXEL_MM, z, nodule.diameter_mm, nodule.hu)
        for nodule in placed
        for x, y, z in [nodule.centre_mm]
    ]
    return pd.DataFrame(rows, columns=list(COLUMNS), dtype=float)


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
