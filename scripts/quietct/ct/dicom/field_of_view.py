"""Which pixels of a slice show nothing: padding, and what fills up the corners around a round image."""

from __future__ import annotations

import numpy as np
from scipy import ndimage

THICK = 3  # pixels


def outside_field_of_view(stored: np.ndarray, padding: np.ndarray | None) -> np.ndarray:
    """Find the pixels that the scanner did not measure.

    These are the padded ones, and the regions that reach from a corner of the image inwards, over pixels that share a
    side, with the corner's own value and no other. A round image lies in four such regions, wherever its centre is.
    Less than 9 pixels of a value do not count, nor places less than 3 pixels wide, where a border of the image does not
    count as an edge. So neither a corner that was measured nor single pixels of air beside the circle, cut off at the
    lowest value, are taken for filling.

    Parameters
    ----------
    stored : ndarray of integers (rows, columns)
        Stored values, or HU.
    padding : ndarray of bool (rows, columns), or None
        Where the scanner padded.

    Returns
    -------
    ndarray of bool (rows, columns)
        True outside.
    """
    filled = np.zeros(stored.shape, bool)
    corners = [(0, 0), (0, -1), (-1, 0), (-1, -1)]
    for value in {int(stored[corner]) for corner in corners}:
        regions, _ = ndimage.label(stored == value)
        found = np.isin(regions, [regions[corner] for corner in corners if stored[corner] == value])
        if np.count_nonzero(found) >= THICK**2:
            filled |= found
    edge = THICK - 1
    wide = ndimage.binary_opening(np.pad(filled, edge, mode="edge"), np.ones((THICK, THICK), bool))
    outside: np.ndarray = wide[edge:-edge, edge:-edge]
    return outside if padding is None else outside | padding
