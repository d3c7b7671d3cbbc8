"""Which pixels of a slice show nothing: padding, and what fills up the corners around a round image."""

from __future__ import annotations

import numpy as np
from scipy import ndimage

THICK = 3  # pixels


def outside_field_of_view(stored: np.ndarray, padding: np.ndarray | None) -> np.ndarray:
    """Find the pixels that the scanner did not measure.

    These are the padded ones, and the regions that reach from a corner of the image inwards, over pixels that share a
    side, with the corner's own value and no other. A round image lies in four such regions, wherever its centre is.
    Places less than 3 pixels wide do not count, as if the image went on beyond its border; so neither a corner that was
    measured nor single pixels of air, cut off at the lowest value beside the circle, are taken for filling.

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
    for corner in ((0, 0), (0, -1), (-1, 0), (-1, -1)):
        if not filled[corner]:
            regions, _ = ndimage.label(stored == stored[corner])
            filled |= regions == regions[corner]
    edge = THICK - 1
    wide = ndimage.binary_opening(np.pad(filled, edge, mode="edge"), np.ones((THICK, THICK), bool))
    outside: np.ndarray = wide[edge:-edge, edge:-edge]
    return outside if padding is None else outside | padding
