"""Objects of water in air, for tests of projections and noise."""

import numpy as np

AIR, WATER = -1000.0, 0.0


def grid(shape):
    """Rows and columns, counted from the rotation axis: pixel (rows // 2, columns // 2)."""
    rows, columns = np.ogrid[: shape[0], : shape[1]]
    return rows - shape[0] // 2, columns - shape[1] // 2


def distance(shape, centre=(0, 0)):
    """Distance in pixels from a point given as row and column from the axis."""
    rows, columns = grid(shape)
    return np.hypot(rows - centre[0], columns - centre[1])


def disc(shape, radius, centre=(0, 0), hu=WATER):
    """A disc, float32 HU; pixels at its edge are filled in part."""
    cover = np.clip(radius - distance(shape, centre) + 0.5, 0, 1)
    return (AIR + (hu - AIR) * cover).astype(np.float32)


def shoulders(side, pixel_mm, width_mm=460, height_mm=180):
    """An ellipse of water as wide as shoulders, float32 HU (side, side)."""
    rows, columns = grid((side, side))
    inside = (rows * pixel_mm / (height_mm / 2)) ** 2 + (columns * pixel_mm / (width_mm / 2)) ** 2 <= 1
    return np.where(inside, WATER, AIR).astype(np.float32)


def many(make, count=40, seed=0):
    """Noise images (count, rows, columns) with different random numbers."""
    return np.array([make(np.random.default_rng([seed, k])) for k in range(count)])
