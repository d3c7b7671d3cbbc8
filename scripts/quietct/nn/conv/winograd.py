"""Winograd's convolution, down the rows: half the multiplications, or fewer.

Toom and Cook multiply polynomials by their values at a few points; Winograd turned this round for filters. From
n = m + height - 1 rows of an image come m rows of the result with n products instead of m · height:

    result = Aᵀ [(G weights) ⊙ (Bᵀ image)]

S. Winograd, Arithmetic Complexity of Computations, 1980; A. Lavin and S. Gray, arXiv 1509.09308. They use it in both
directions. Here only the rows are transformed: they are contiguous, so that Aᵀ and Bᵀ are matrix products too,
and the kernel's columns stay offsets, as in `Direct`.
"""

from __future__ import annotations

from collections.abc import Iterator
from fractions import Fraction
from functools import cache

import numpy as np

from quietct.nn.conv.canvas import Frame, Scratch, strided, tiles

# Rows of the result that are computed together, by kernel height. More would need more points; with more than eight,
# rounding errors come near 1e-5 of the largest result.
ROWS_TOGETHER = {2: 4, 3: 4, 4: 4, 5: 4, 6: 3, 7: 2}
# Where the polynomials are evaluated; the last point is infinity. Small fractions keep rounding errors small.
POINTS = (0, 1, -1, Fraction(1, 2), -2, 2, Fraction(-1, 2))


class Winograd:
    """A convolution with fewer multiplications, for kernels of 2 to 7 rows.

    Parameters
    ----------
    frame, shape, lead, scratch
        As for `Direct`.
    """

    def __init__(self, frame: Frame, shape: tuple[int, ...], lead: tuple[int, int], scratch: Scratch):
        self.frame, self.shape, self.lead, self.scratch = frame, shape, lead, scratch
        filters, channels, height, _ = shape
        self.rows_together = ROWS_TOGETHER[height]
        self.points = self.rows_together + height - 1
        self.tile = frame.tile(filters * channels)
        matrices = transforms(self.rows_together, height)
        self.to_result, self.of_weights, self.of_image = (matrix.astype(scratch.dtype) for matrix in matrices)

    def slide(self, x: np.ndarray, weights: np.ndarray, rows: slice) -> Iterator[tuple[slice, np.ndarray]]:
        """Slide the kernel over a canvas; see `Direct.slide`."""
        frame, filters = self.frame, self.shape[0]
        transformed_weights = self._transform_weights(weights)
        for band in frame.bands(rows, self.rows_together, self.shape):
            image = self._transform_image(x, band)
            count = len(image)
            summed = self.scratch("summed", count, self.points, filters, frame.width)
            partial = self.scratch("partial", *summed.shape)
            for v, matrix in enumerate(transformed_weights):
                out = tiles(partial if v else summed, self.tile)
                np.matmul(matrix[:, None], self._under_column(image, v, self.tile), out=out)
                if v:
                    np.add(summed, partial, out=summed)
            block = self.scratch("block", count, self.rows_together, filters * frame.width)
            np.matmul(self.to_result, summed.reshape(count, self.points, -1), out=block)
            yield band, block.reshape(-1, filters, frame.width)[: band.stop - band.start]

    def weight_gradient(self, x: np.ndarray, delta: np.ndarray, rows: slice) -> np.ndarray:
        """Sum delta times window; see `Direct.weight_gradient`. Each step is the adjoint of one in `slide`."""
        filters, channels, height, width = self.shape
        frame, together, points = self.frame, self.rows_together, self.points
        total = self.scratch("weights", width, points, channels, filters)
        total[...] = 0
        tile = frame.tile(channels * filters)
        for band in frame.bands(rows, together, self.shape):
            image = self._transform_image(x, band)
            count = len(image)
            # Transposed once, so that every product below reads both of its operands along their rows.
            transposed = self.scratch("transposed", count * together, frame.width, filters)
            np.copyto(transposed, frame.body(delta, slice(band.start, band.start + len(transposed))).swapaxes(1, 2))
            spread = self.scratch("summed", count, points, frame.width * filters)
            np.matmul(self.to_result.T, transposed.reshape(count, together, -1), out=spread)
            spread = spread.reshape(count, points, -1, tile, filters)
            products = self.scratch("partial", count, points, frame.width // tile, channels, filters)
            for v in range(width):
                np.matmul(self._under_column(image, v, tile), spread, out=products)
                total[v] += np.add.reduce(products, axis=(0, 2))
        for column in total.reshape(width, points, -1):
            column[:height] = self.of_weights.T @ column  # where the sums were, nothing else is needed any more
        return total[:, :height].transpose(3, 2, 1, 0)

    def _transform_weights(self, weights: np.ndarray) -> np.ndarray:
        """G weights, for each column of the kernel: (width, points, filters, channels)."""
        filters, channels, height, width = self.shape
        transformed = self.scratch("weights", width, self.points, filters * channels)
        for column, out in zip(weights.transpose(3, 2, 0, 1), transformed, strict=True):
            np.matmul(self.of_weights, column.reshape(height, -1), out=out)
        return transformed.reshape(width, self.points, filters, channels)

    def _transform_image(self, x: np.ndarray, band: slice) -> np.ndarray:
        """Bᵀ image for the rows of a band: (groups, points, channels, canvas columns)."""
        _, channels, columns = x.shape
        row = channels * columns
        count = -(-(band.stop - band.start) // self.rows_together)
        first = (self.frame.border + band.start - self.lead[0]) * row
        rows = strided(x, first, (count, self.points, row), (self.rows_together * row, row, 1))
        transformed = self.scratch("image", count, self.points, row)
        np.matmul(self.of_image, rows, out=transformed)
        return transformed.reshape(count, self.points, channels, columns)

    def _under_column(self, image: np.ndarray, v: int, tile: int) -> np.ndarray:
        """View the transformed image under column v of the kernel: (groups, points, tiles, channels, tile)."""
        count, points, channels, columns = image.shape
        return strided(
            image,
            self.frame.border + v - self.lead[1],
            (count, points, self.frame.width // tile, channels, tile),
            (points * channels * columns, channels * columns, tile, columns, 1),
        )


@cache
def transforms(rows: int, height: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Compute the matrices Aᵀ, G and Bᵀ of Winograd's F(rows, height) exactly, by the method of Toom and Cook.

    Parameters
    ----------
    rows, height : int
        Number of results, and of weights.

    Returns
    -------
    to_result : ndarray of float64, shape (rows, n), n = rows + height - 1
        Aᵀ.
    of_weights : ndarray of float64, shape (n, height)
        G.
    of_image : ndarray of float64, shape (n, n)
        Bᵀ.
    """
    n = rows + height - 1
    points = [Fraction(point) for point in POINTS[: n - 1]]

    def powers(count: int) -> list[list[Fraction]]:
        """Values of 1, t, t² ... at each point; at infinity only the highest power counts."""
        return [[point**k for k in range(count)] for point in points] + [
            [Fraction(k == count - 1) for k in range(count)]
        ]

    def product(roots: list[Fraction]) -> list[Fraction]:
        """Coefficients of the polynomial with these roots, lowest first, n of them."""
        polynomial = [Fraction(1)]
        for root in roots:
            polynomial = [
                a - root * b for a, b in zip([Fraction(0), *polynomial], [*polynomial, Fraction(0)], strict=True)
            ]
        return polynomial + [Fraction(0)] * (n - len(polynomial))

    of_weights, of_image = powers(height), []
    for k, point in enumerate(points):
        others = points[:k] + points[k + 1 :]
        scale = Fraction(1)
        for other in others:
            scale *= point - other
        of_weights[k] = [value / scale for value in of_weights[k]]
        of_image.append(product(others))
    of_image.append(product(points))
    to_result = list(zip(*powers(rows), strict=True))
    return tuple(np.array(matrix, dtype=np.float64) for matrix in (to_result, of_weights, of_image))  # type: ignore[return-value]
