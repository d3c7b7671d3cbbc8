"""A few of many, spread evenly."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TypeVar

Thing = TypeVar("Thing")


def spread_over(things: Sequence[Thing], most: int) -> list[Thing]:
    """Choose at most `most` things: the middles of equal stretches of the sequence."""
    count = min(most, len(things))
    return [things[(2 * k + 1) * len(things) // (2 * count)] for k in range(count)]
