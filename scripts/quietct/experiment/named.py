"""What a name in a series sheet means: one series, or all that a row of this name became by `select`."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from quietct.errors import UserError

Row = dict[str, Any]

MOST_LISTED = 20


class NamedSeries:
    """The series of a sheet, found by name. A sheet can have thousands, so that none is looked for row by row.

    Parameters
    ----------
    rows : sequence of dict
        All rows of the sheet, each one series.
    cells : mapping
        Rows of the table of the collection by their UID.
    """

    def __init__(self, rows: Sequence[Row], cells: Mapping[str, Mapping[str, Any]] | None = None):
        self.cells = cells or {}
        self.by_name: dict[str, list[Row]] = defaultdict(list)
        for row in rows:
            for name in dict.fromkeys((row["series"], row.get("row", row["series"]))):
                self.by_name[name].append(row)
        self.alike: dict[tuple[str, tuple[str, ...]], dict[tuple[Any, ...], list[Row]]] = {}

    def find(self, name: str) -> list[Row]:
        """Give the rows that a name means, in the order of the sheet; none if it is unknown."""
        return self.by_name.get(name, [])

    def find_alike(self, name: str, row: Row, columns: tuple[str, ...]) -> list[Row]:
        """Give those rows that a name means whose series has the same cells in the table as another row's.

        Raises
        ------
        UserError
            If a series is not in the table, or the table has no such column.
        """
        if (name, columns) not in self.alike:
            groups: dict[tuple[Any, ...], list[Row]] = defaultdict(list)
            for other in self.find(name):
                groups[self._cells_of(other, columns)].append(other)
            self.alike[name, columns] = groups
        return self.alike[name, columns].get(self._cells_of(row, columns), [])

    def _cells_of(self, row: Row, columns: tuple[str, ...]) -> tuple[Any, ...]:
        cells = self.cells.get(row.get("series_instance_uid", ""))
        if cells is None:
            raise UserError(f"target_same needs series of the table, which series {row['series']} is not.")
        if unknown := [column for column in columns if column not in cells]:
            raise UserError(f"target_same has {', '.join(map(repr, unknown))}, but the columns are {', '.join(cells)}.")
        return tuple(cells[column] for column in columns)


def listed(rows: Iterable[Row]) -> str:
    """Write the names of series for a sentence; of many only the first."""
    names = list(dict.fromkeys(row["series"] for row in rows))
    return ", ".join(names[:MOST_LISTED]) + ", ..." * (len(names) > MOST_LISTED)
