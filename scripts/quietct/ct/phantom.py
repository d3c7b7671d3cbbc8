"""A synthetic chest with nodules of known place, size and density, and scans of it at a chosen exposure.

It stands in for the FDA's anthropomorphic phantom (Gavrielides et al., Opt. Express 18(14), 2010), whose nodules have
the same diameters and densities: nothing has to be downloaded, and the truth without noise is known exactly.
Everything follows from `nodule_layout`; nothing depends on the order in which slices are asked for.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property, lru_cache

import numpy as np

from quietct.ct.low_dose import Kernel, Scanner, scan_noise
from quietct.ct.projection import Sinogram, project
from quietct.ct.shapes import FloatArray, coverage, grow_tree, paint, tapered_tube
from quietct.ct.thorax import AIR, BLOOD, LUNG_FLOOR_MM, LUNG_TOP_MM, Thorax

ROWS = 512
FIELD_OF_VIEW_MM = 360.0
PIXEL_MM = FIELD_OF_VIEW_MM / ROWS
DIAMETERS_MM = (5.0, 8.0, 10.0, 12.0, 20.0)
DENSITIES_HU = (-800.0, -630.0, -10.0, 100.0)
NODULES_WITHIN_MM = 35.0  # all nodules end this far from z = 0, so that 24 slices of 3 mm hold them whole

# The phantom's scanner. At 100 mAs and 3 mm it leaves noise of about 12 HU (SD) in the middle of the chest.
PHOTONS_PER_MAS = 550.0  # and mm of slice thickness; in an element of 1 mm in each of 1160 views, see `Scanner`
ELECTRONIC_NOISE = 5.0  # photons in such an element

COARSE_ROWS, COARSE_Z_MM = 128, 3.0
TREE_POINTS = 1500
TREE_ROOTS = ((-52, 8, 2), (-56, 20, -22), (-58, -12, 6), (55, 20, 6), (58, 28, -24), (56, -10, 8))


@dataclass(frozen=True)
class Nodule:
    """A homogeneous sphere: centre x, y, z in mm (patient coordinates), diameter in mm, density in HU."""

    centre_mm: tuple[float, float, float]
    diameter_mm: float
    hu: float


class Phantom:
    """One chest with its nodules.

    Parameters
    ----------
    layout : int
        Which arrangement of nodules, with slightly different anatomy; see `phantom` for a cached one.

    Attributes
    ----------
    nodules : list of Nodule
        The truth. Nodules of every diameter and density, in places that differ from layout to layout.
    """

    def __init__(self, layout: int) -> None:
        self.layout = layout
        self._thorax = Thorax(layout, ROWS, PIXEL_MM)
        coarse = Thorax(layout, COARSE_ROWS, FIELD_OF_VIEW_MM / COARSE_ROWS)
        heights = np.arange(LUNG_FLOOR_MM, LUNG_TOP_MM, COARSE_Z_MM)
        self._lungs = _Lungs(np.stack([coarse.lung_distance(z) for z in heights]), coarse.x.ravel(), heights)
        self._trees = self._grow_vessels()

    @cached_property
    def nodules(self) -> list[Nodule]:
        """Place the nodules, large ones first, at random where there is room away from walls and wider vessels."""
        rng = np.random.default_rng([self.layout, 4])
        wide = self._trees[self._trees[:, 1, 3] > 1.2].mean(axis=1)
        placed: list[Nodule] = []
        for diameter in sorted(DIAMETERS_MM, reverse=True):
            for hu in DENSITIES_HU:
                radius = diameter / 2
                points = self._lungs.sample(
                    rng, 4000, depth_mm=radius + 4, z_limit=NODULES_WITHIN_MM - radius - COARSE_Z_MM / 2
                )
                room = np.full(len(points), np.inf)
                for other in placed:
                    gap = np.linalg.norm(points - other.centre_mm, axis=1) - other.diameter_mm / 2 - radius
                    room = np.minimum(room, gap)
                for vessel in wide:
                    room = np.minimum(room, np.linalg.norm(points - vessel[:3], axis=1) - vessel[3] - radius + 4)
                # The first point with room enough; in a crowded lung the roomiest.
                enough = np.flatnonzero(room > 5)
                best = points[enough[0] if len(enough) else int(np.argmax(room))]
                x, y, z = (round(float(v), 3) for v in best)
                placed.append(Nodule((x, y, z), diameter, hu))
        return placed

    def _grow_vessels(self) -> FloatArray:
        """Arteries and veins of both lungs as segments (n, 2, 4): x, y, z, radius of both ends in mm."""
        rng = np.random.default_rng([self.layout, 3])
        trees = []
        for root in TREE_ROOTS:
            points = self._lungs.sample(rng, 2 * TREE_POINTS + 500, depth_mm=2.0)
            points = points[points[:, 0] * root[0] > 0][:TREE_POINTS]
            trees.append(grow_tree(np.asarray(root) + self._thorax.shift, points))
        return np.concatenate(trees)

    @cached_property
    def _bronchi(self) -> tuple[FloatArray, FloatArray]:
        """Airways beside the wider arteries: their outer walls and their lumens, as segments."""
        arteries = self._trees[: 4 * TREE_POINTS][np.r_[0:TREE_POINTS, 3 * TREE_POINTS : 4 * TREE_POINTS]]
        arteries = arteries[arteries[:, 1, 3] > 1.5]
        outer = arteries.copy()
        # Beside the artery, towards the mediastinum and the back.
        aside = np.stack([-0.8 * np.sign(arteries[..., 0]), np.full(arteries.shape[:2], 0.6)], axis=-1)
        outer[..., :2] += aside * 1.75 * arteries[..., 3:]
        outer[..., 3] *= 0.85
        lumen = outer.copy()
        lumen[..., 3] = np.maximum(0.72 * outer[..., 3], outer[..., 3] - 1.2)
        return outer, lumen

    def render_slice(self, z_mm: float, thickness_mm: float = 3.0, with_nodules: bool = True) -> FloatArray:
        """Draw the noise-free slice.

        Parameters
        ----------
        z_mm : float
            Height of its middle, 0 is the middle of the lungs.
        thickness_mm : float
            Everything is averaged over it, nodules exactly, the rest in steps of about 1 mm.
        with_nodules : bool
            False gives the same chest without nodules.

        Returns
        -------
        ndarray of float32 (512, 512)
            HU. Row 0 is the patient's front, column 0 the patient's right.
        """
        steps = max(2, round(thickness_mm))
        hu = np.zeros((ROWS, ROWS), np.float32)
        for z in z_mm + thickness_mm * ((np.arange(steps) + 0.5) / steps - 0.5):
            part, lung = self._thorax.draw(float(z))
            self._paint_tubes(part, lung, float(z))
            hu += part / steps
        if with_nodules:
            insert_nodules(hu, self.nodules, z_mm, thickness_mm)
        return hu

    def _paint_tubes(self, hu: FloatArray, lung: FloatArray, z: float) -> None:
        outer, lumen = self._bronchi
        for segments, value in ((self._trees, BLOOD), (outer, 20.0), (lumen, AIR)):
            cover = np.zeros_like(hu)
            low = (segments[:, :, 2] - segments[:, :, 3]).min(axis=1) - PIXEL_MM
            high = (segments[:, :, 2] + segments[:, :, 3]).max(axis=1) + PIXEL_MM
            for start, end in segments[(low < z) & (z < high)]:
                reach = max(start[3], end[3]) + PIXEL_MM
                r0, r1 = _pixels(min(start[1], end[1]) - reach, max(start[1], end[1]) + reach)
                c0, c1 = _pixels(min(start[0], end[0]) - reach, max(start[0], end[0]) + reach)
                distance = tapered_tube(self._thorax.x[:, c0:c1], self._thorax.y[r0:r1], z, start, end)
                view = cover[r0:r1, c0:c1]
                np.maximum(view, coverage(distance, PIXEL_MM), out=view)
            paint(hu, cover * lung, value)


class _Lungs:
    """Depth below the lungs' surface on a coarse grid, to scatter points in the lungs."""

    def __init__(self, distance: FloatArray, axis: FloatArray, heights: FloatArray) -> None:
        self.distance, self.axis, self.heights = distance, axis, heights

    def sample(self, rng: np.random.Generator, n: int, depth_mm: float, z_limit: float = np.inf) -> FloatArray:
        """`n` random points (n, 3) at least `depth_mm` inside, also above and below."""
        steps = int(np.ceil(depth_mm / COARSE_Z_MM))
        deep = self.distance < -depth_mm
        for k in range(1, steps + 1):
            inside = self.distance < -np.sqrt(max(depth_mm**2 - (k * COARSE_Z_MM) ** 2, 0.0))
            deep[k:] &= inside[:-k]
            deep[:-k] &= inside[k:]
        deep &= (np.abs(self.heights) <= z_limit)[:, None, None]
        chosen = rng.choice(np.argwhere(deep), n)
        points = np.column_stack([self.axis[chosen[:, 2]], self.axis[chosen[:, 1]], self.heights[chosen[:, 0]]])
        cell = np.array([1.0, 1.0, COARSE_Z_MM / (self.axis[1] - self.axis[0])]) * (self.axis[1] - self.axis[0])
        return points + rng.uniform(-0.5, 0.5, points.shape) * cell


def _pixels(low_mm: float, high_mm: float) -> tuple[int, int]:
    """First and last + 1 index of the pixels that touch a range in mm."""
    first, last = np.floor(np.array([low_mm, high_mm]) / PIXEL_MM + ROWS / 2)
    return max(int(first), 0), min(int(last) + 1, ROWS)


@lru_cache(maxsize=2)
def phantom(layout: int) -> Phantom:
    """Build the chest of a layout; that takes one or two seconds, so the last two are kept."""
    return Phantom(layout)


def nodules(nodule_layout: int) -> list[Nodule]:
    """Tell the truth about a layout: centre (mm), diameter (mm) and density (HU) of every nodule."""
    return phantom(nodule_layout).nodules


def insert_nodules(hu: FloatArray, placed: Sequence[Nodule], z_mm: float, thickness_mm: float) -> None:
    """Lay nodules over a slice of a chest in place, each pixel as far as the sphere fills it.

    Parameters
    ----------
    hu : ndarray of float32 (512, 512)
        Noise-free slice, as from `Phantom.render_slice`.
    placed : sequence of Nodule
    z_mm, thickness_mm : float
        Height of the slice's middle and its thickness.
    """
    fine = 5
    for nodule in placed:
        cx, cy, cz = nodule.centre_mm
        radius = nodule.diameter_mm / 2
        if abs(z_mm - cz) >= radius + thickness_mm / 2:
            continue
        r0, r1 = _pixels(cy - radius, cy + radius)
        c0, c1 = _pixels(cx - radius, cx + radius)
        x = ((np.arange(c0 * fine, c1 * fine) + 0.5) / fine - ROWS / 2) * PIXEL_MM - cx
        y = ((np.arange(r0 * fine, r1 * fine) + 0.5) / fine - ROWS / 2) * PIXEL_MM - cy
        # Half the chord of the sphere above each point of the plane, cut to the slice: exact along z.
        half = np.sqrt(np.maximum(radius**2 - x[None, :] ** 2 - y[:, None] ** 2, 0))
        bottom, top = z_mm - thickness_mm / 2 - cz, z_mm + thickness_mm / 2 - cz
        inside = np.maximum(np.minimum(half, top) - np.maximum(-half, bottom), 0) / thickness_mm
        cover = inside.reshape(r1 - r0, fine, c1 - c0, fine).mean(axis=(1, 3)).astype(np.float32)
        paint(hu[r0:r1, c0:c1], cover, nodule.hu)


def scanner(exposure_mas: float, thickness_mm: float) -> Scanner:
    """Describe the phantom's scanner at an exposure, for slices of a thickness (mm).

    It has no bowtie filter. Its noise has the power spectrum of the ramp filter times the square of the window that
    `soft_kernel` gives the image: the noise kernel makes up for the linear interpolation of the back-projection, which
    is a low-pass of gain sinc² besides.
    """
    cycles, window = _hann_window()
    return Scanner(
        PHOTONS_PER_MAS * exposure_mas * thickness_mm,
        electronic_noise=ELECTRONIC_NOISE,
        kernel=Kernel(cycles / PIXEL_MM, window / np.sinc(cycles) ** 2),
    )


def soft_kernel(hu: FloatArray) -> FloatArray:
    """Blur a slice as the scanner's soft kernel does: its modulation transfer function is a Hann window."""
    cycles, window = _hann_window()
    return Kernel(cycles / PIXEL_MM, window).apply(hu, PIXEL_MM)


def _hann_window() -> tuple[FloatArray, FloatArray]:
    """Spatial frequencies in cycles a pixel, and the Hann window that ends at the last one, the Nyquist frequency."""
    cycles = np.linspace(0, 0.5, 257)
    return cycles, np.cos(np.pi * cycles) ** 2


def scan_slice(layout: int, z_mm: float, thickness_mm: float, exposure_mas: float, repeat: int) -> FloatArray:
    """Scan one slice: the truth through the kernel of the scanner, plus the noise of its photons.

    The truth does not depend on the exposure: it is blurred, never reconstructed. The noise comes from the truth's
    line integrals (`quietct.ct.low_dose`), so it is larger behind the shoulders, and streaky there.

    Parameters
    ----------
    layout : int
        The chest, see `phantom`.
    z_mm, thickness_mm : float
        Height of the slice's middle and its thickness.
    exposure_mas : float
        Tube current times time; the noise is about proportional to its inverse root. Infinite gives no noise.
    repeat : int
        Number of the repeat scan; repeats differ in their noise alone.

    Returns
    -------
    ndarray of float32 (512, 512)
        HU. There is no noise outside the inscribed circle.
    """
    image = soft_kernel(_truth(layout, z_mm, thickness_mm))
    if np.isinf(exposure_mas):
        return image
    # Seeds are whole numbers: micro-ampere-seconds and micrometres, the height shifted to be positive.
    seed = [layout, 5, repeat, round(exposure_mas * 1000), round(z_mm * 1000) + 10**7, round(thickness_mm * 1000)]
    sinogram = _sinogram(layout, z_mm, thickness_mm)
    return image + scan_noise(sinogram, scanner(exposure_mas, thickness_mm), np.random.default_rng(seed))


def scan_truth(truth: FloatArray, thickness_mm: float, exposure_mas: float, rng: np.random.Generator) -> FloatArray:
    """Scan a noise-free slice of one's own making, as `scan_slice` does.

    Parameters
    ----------
    truth : ndarray of float32 (512, 512)
        HU, from `Phantom.render_slice` and `insert_nodules`.
    thickness_mm, exposure_mas : float
        See `scan_slice`.
    rng : Generator
        Of the noise.

    Returns
    -------
    ndarray of float32 (512, 512)
        HU.
    """
    image = soft_kernel(truth)
    if np.isinf(exposure_mas):
        return image
    return image + scan_noise(project(truth, PIXEL_MM), scanner(exposure_mas, thickness_mm), rng)


@lru_cache(maxsize=8)
def _truth(layout: int, z_mm: float, thickness_mm: float) -> FloatArray:
    """Keep the last slices, for other scans of them."""
    return phantom(layout).render_slice(z_mm, thickness_mm)


@lru_cache(maxsize=8)
def _sinogram(layout: int, z_mm: float, thickness_mm: float) -> Sinogram:
    return project(_truth(layout, z_mm, thickness_mm), PIXEL_MM)
