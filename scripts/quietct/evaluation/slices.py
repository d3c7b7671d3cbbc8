"""Slice tables of a whole run, ready to be compared: values of a measure by seed and slice."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cached_property
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pandas as pd

from quietct.evaluation.summary import read_slices_table
from quietct.methods import split_method


class Measure(NamedTuple):
    """A measure that methods are compared by; sign is +1 where more is better, −1 where less is."""

    label: str
    unit: str
    sign: int
    digits: int


# The first is the one that headlines are about.
MEASURES = {
    "psnr_db": Measure("PSNR", "dB", 1, 2),
    "ssim": Measure("SSIM", "", 1, 4),
    "rmse_hu": Measure("RMSE", "HU", -1, 2),
    "vif": Measure("VIF", "", 1, 4),
}


class Slices:
    """Values of all methods of a run on every test slice.

    Parameters
    ----------
    table : DataFrame
        Rows as `measure_quality` writes them, of any number of noises, methods and series; methods in the order in
        which they are to be shown.
    """

    def __init__(self, table: pd.DataFrame):
        names = {method: split_method(method) for method in table["method"].unique()}
        parts = pd.DataFrame(
            [names[method] for method in table["method"]], columns=["network", "variant", "seed"], dtype=object
        )
        self.table = table.reset_index(drop=True).assign(**parts)
        self.noises: list[str] = list(table["noise"].unique())
        self.measures = [name for name in MEASURES if name in table and table[name].notna().any()]

    def networks(self, noise: str) -> list[str]:
        """Networks that were trained on a noise."""
        return list(self._by_noise[noise]["network"].dropna().unique())

    def variants(self, noise: str, network: str) -> list[str]:
        """Variants that a network was trained by."""
        rows = self._by_noise[noise]
        return list(rows.loc[rows["network"] == network, "variant"].unique())

    def baselines(self, noise: str) -> list[str]:
        """Methods that are no network and do something."""
        rows = self._by_noise[noise]
        return [name for name in rows.loc[rows["network"].isna(), "method"].unique() if name != "noisy"]

    def series(self, noise: str) -> list[str]:
        """Test series."""
        return list(self._by_noise[noise]["series"].unique())

    def seeds(self, noise: str, network: str) -> list[int]:
        """Seeds that a network was trained with."""
        rows = self._by_noise[noise]
        return sorted(rows.loc[rows["network"] == network, "seed"].unique())

    def values(self, noise: str, network: str, name: str, measure: str) -> pd.DataFrame:
        """Give a measure by seed and slice.

        Parameters
        ----------
        noise, network, measure : str
        name : str
            A variant of the network, or a baseline; that has no seeds, and the same values for all of the network's.

        Returns
        -------
        DataFrame (seeds, slices)
            Columns (series, slice); NaN where the method failed or was not measured.
        """
        rows = self._by_noise[noise]
        places = pd.MultiIndex.from_frame(rows[["series", "slice"]].drop_duplicates()).sort_values()
        if name in self.baselines(noise):
            chosen = rows[rows["method"] == name].set_index(["series", "slice"])[measure].reindex(places)
            return pd.DataFrame(
                [chosen.to_numpy(float)] * len(self.seeds(noise, network)), self.seeds(noise, network), places
            )
        chosen = rows[(rows["network"] == network) & (rows["variant"] == name)]
        by_seed = chosen.pivot(index="seed", columns=["series", "slice"], values=measure)
        return by_seed.reindex(columns=places).astype(float)

    def best(self, noise: str, network: str, names: Sequence[str]) -> str | None:
        """Choose the variant or baseline of the best mean PSNR over seeds and slices.

        Parameters
        ----------
        noise, network : str
        names : sequence of str
            Variants of the network, or baselines.

        Returns
        -------
        str or None
            One that failed somewhere comes after those that didn't; None if all failed everywhere.
        """
        measure = next(iter(MEASURES))
        ranks = {}
        for name in names:
            values = self.values(noise, network, name, measure).to_numpy()
            good = values[~np.isnan(values)]
            if good.size:
                ranks[name] = (good.size == values.size, float(good.mean()))
        return max(ranks, key=ranks.__getitem__, default=None)

    @cached_property
    def _by_noise(self) -> dict[str, pd.DataFrame]:
        return dict(list(self.table.groupby("noise", sort=False)))


def slices_of(metrics: Sequence[str | Path]) -> Slices:
    """Read and join slice tables.

    Parameters
    ----------
    metrics : sequence of paths
        Tables written by `measure_quality`.

    Returns
    -------
    Slices
    """
    return Slices(pd.concat([read_slices_table(path) for path in metrics], ignore_index=True))
