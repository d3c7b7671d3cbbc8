"""Analytic shapes of the phantom: signed distances, and the vessel trees of the lungs.

A signed distance (mm, negative inside) divided by the pixel size gives the fraction of a pixel that the shape covers,
so edges are smooth without rendering at a higher resolution.
"""

from __future__ import annotations

import itertools
from collections.abc import Sequence

import numpy as np
from scipy.interpolate import PchipInterpolator

FloatArray = np.ndarray


def coverage(distance: FloatArray, pixel_mm: float) -> FloatArray:
    """Fraction of each pixel inside a shape, from the signed distance (mm) of the pixel's centre to its edge."""
    return np.clip(0.5 - distance / np.float32(pixel_mm), 0, 1)


def paint(hu: FloatArray, cover: FloatArray, value: FloatArray | float) -> None:
    """Lay `value` (HU) over `hu` in place, as far as `cover` (0..1) says."""
    hu += cover * (value - hu)


def smooth_union(a: FloatArray, b: FloatArray, radius: float) -> FloatArray:
    """Signed distance of two shapes melted together with a fillet of about `radius` mm (polynomial smooth minimum)."""
    h = np.maximum(np.float32(radius) - np.abs(a - b), 0)
    return np.minimum(a, b) - h * h * np.float32(0.25 / radius)


def ellipsoid(
    x: FloatArray,
    y: FloatArray,
    z: float,
    centre: tuple[float, float, float],
    axes: tuple[float, float, float],
    degrees: float = 0.0,
) -> FloatArray:
    """Approximate signed distance (mm) to an ellipsoid, turned in the slice plane by `degrees`; exact at its edge."""
    dx, dy, dz = x - np.float32(centre[0]), y - np.float32(centre[1]), z - centre[2]
    if degrees:
        c, s = np.float32(np.cos(np.radians(degrees))), np.float32(np.sin(np.radians(degrees)))
        dx, dy = c * dx + s * dy, c * dy - s * dx
    a, b, c3 = (np.float32(axis) for axis in axes)
    k0 = np.sqrt((dx / a) ** 2 + (dy / b) ** 2 + np.float32((dz / c3) ** 2))
    k1 = np.sqrt((dx / (a * a)) ** 2 + (dy / (b * b)) ** 2 + np.float32((dz / (c3 * c3)) ** 2)) + np.float32(1e-6)
    return k0 * (k0 - 1) / k1


def ellipse(
    x: FloatArray, y: FloatArray, centre: tuple[float, float], axes: tuple[float, float], degrees: float = 0.0
) -> FloatArray:
    """Approximate signed distance (mm) to an elliptic column that runs through all slices."""
    return ellipsoid(x, y, 0.0, (*centre, 0.0), (*axes, 1e6), degrees)


def tapered_tube(x: FloatArray, y: FloatArray, z: float, start: FloatArray, end: FloatArray) -> FloatArray:
    """Signed distance (mm) to a straight tube with round ends; `start` and `end` are x, y, z and radius in mm."""
    dx, dy, dz = (float(end[i] - start[i]) for i in range(3))
    length2 = dx * dx + dy * dy + dz * dz + 1e-9
    px, py, pz = x - np.float32(start[0]), y - np.float32(start[1]), z - float(start[2])
    t = np.clip(px * np.float32(dx / length2) + (py * np.float32(dy / length2) + np.float32(pz * dz / length2)), 0, 1)
    distance = np.sqrt((px - t * np.float32(dx)) ** 2 + (py - t * np.float32(dy)) ** 2 + (pz - t * np.float32(dz)) ** 2)
    return distance - (np.float32(start[3]) + t * np.float32(end[3] - start[3]))


def bent_tube(x: FloatArray, y: FloatArray, z: float, nodes: FloatArray, reach: float = 12.0) -> FloatArray:
    """Signed distance (mm) to a bent tube with `nodes` (n, 4) of x, y, z, radius; 1000 where further than `reach`.

    `x` is a row and `y` a column of ascending coordinates; only pixels near the tube are looked at.
    """
    distance = np.full((y.size, x.size), 1e3, np.float32)
    for start, end in itertools.pairwise(nodes):
        far = max(start[3], end[3]) + reach
        low, high = np.minimum(start[:3], end[:3]) - far, np.maximum(start[:3], end[:3]) + far
        if low[2] < z < high[2]:
            rows = slice(*np.searchsorted(y.ravel(), (low[1], high[1])))
            columns = slice(*np.searchsorted(x.ravel(), (low[0], high[0])))
            view = distance[rows, columns]
            np.minimum(view, tapered_tube(x[:, columns], y[rows], z, start, end), out=view)
    return distance


def smooth_curve(nodes: Sequence[tuple[float, ...]], pieces: int = 4) -> FloatArray:
    """Refine a polyline (n, 4) of x, y, z, radius into a smooth one that passes through the same nodes."""
    points = np.asarray(nodes, dtype=float)
    step = np.linalg.norm(np.diff(points[:, :3], axis=0), axis=1)
    at = np.concatenate([[0.0], np.cumsum(step)])
    fine = np.interp(np.linspace(0, len(at) - 1, pieces * (len(at) - 1) + 1), np.arange(len(at)), at)
    return PchipInterpolator(at, points)(fine)


def grow_tree(
    root: FloatArray, points: FloatArray, balance: float = 0.45, leaf_radius_mm: float = 0.42, murray: float = 2.3
) -> FloatArray:
    """Connect scattered points to a branching vessel tree.

    A greedy minimum spanning tree that also counts the way back to the root (Cuntz et al., PLoS Comput Biol 6(8),
    2010): `balance` 0 gives the shortest tree, 1 a star. Radii follow Murray's law with exponent `murray`.

    Parameters
    ----------
    root : ndarray (3,)
        Where the tree starts, mm.
    points : ndarray (n, 3)
        Points it shall reach, mm.

    Returns
    -------
    ndarray (n, 2, 4)
        Segments from a parent to its child: x, y, z, radius of both ends in mm.
    """
    nodes = np.vstack([root, points])
    n = len(nodes)
    parent = np.zeros(n, dtype=int)
    path = np.zeros(n)
    away = np.linalg.norm(nodes - nodes[0], axis=1)
    cost, open_ = away * (1 + balance), np.ones(n, dtype=bool)
    best_length = away.copy()
    open_[0], order = False, [0]
    for _ in range(n - 1):
        candidates = np.flatnonzero(open_)
        new = candidates[np.argmin(cost[candidates])]
        path[new] = path[parent[new]] + best_length[new]
        open_[new] = False
        order.append(new)
        rest = np.flatnonzero(open_)
        length = np.linalg.norm(nodes[rest] - nodes[new], axis=1)
        trial = length + balance * (path[new] + length)
        better = rest[trial < cost[rest]]
        parent[better], cost[better] = new, trial[trial < cost[rest]]
        best_length[better] = length[np.isin(rest, better)]
    leaves = np.zeros(n)
    heir = np.zeros(n, dtype=int)  # the child that carries on the trunk
    heir_leaves = np.zeros(n)
    for node in reversed(order[1:]):
        leaves[node] = max(leaves[node], 1)
        leaves[parent[node]] += leaves[node]
        if leaves[node] > heir_leaves[parent[node]]:
            heir[parent[node]], heir_leaves[parent[node]] = node, leaves[node]
    # Straighten the trunks: a node with a heir moves towards the line from its parent to that heir.
    inner = np.flatnonzero((heir > 0) & (np.arange(n) > 0))
    for _ in range(3):
        nodes[inner] = 0.4 * nodes[inner] + 0.3 * (nodes[parent[inner]] + nodes[heir[inner]])
    radius = leaf_radius_mm * np.maximum(leaves, 1) ** (1 / murray)
    child = np.asarray(order[1:])
    start_radius = np.minimum(radius[parent[child]], 1.25 * radius[child])
    start = np.column_stack([nodes[parent[child]], start_radius])
    return np.stack([start, np.column_stack([nodes[child], radius[child]])], axis=1)
