"""Line integrals of a slice and filtered back-projection, in parallel-beam geometry with scikit-image.

The geometry is that of `skimage.transform.radon`: a square canvas of even side, whose rotation axis is the middle of
pixel side // 2. A slice lies on it so that its pixel (rows // 2, columns // 2) is on the axis.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy.ndimage import map_coordinates
from skimage.transform import iradon, radon

from quietct.errors import UserError

# Linear attenuation of water (1/mm) at about 60 keV, the effective energy of a spectrum of 120 kVp.
MU_WATER_PER_MM = 0.02059
AIR_HU = -1000.0
TISSUE_HU = -300.0


@dataclass(frozen=True)
class Sinogram:
    """Line integrals of a slice, and the geometry needed to come back to its pixels.

    Attributes
    ----------
    values : ndarray of float32 (detectors, views)
        Integrals of the attenuation along parallel rays, without unit. Neighbouring rays lie `pixel_mm` apart; ray
        detectors // 2 meets the rotation axis. The views cover half a turn evenly.
    pixel_mm : float
        Side of a pixel of the slice, and distance of neighbouring rays.
    shape : tuple of int
        Rows and columns of the slice.
    circle : bool
        Whether the slice is empty outside its inscribed circle, as most scanners leave it; noise stays inside, too.
    """

    values: np.ndarray
    pixel_mm: float
    shape: tuple[int, int]
    circle: bool

    @property
    def views(self) -> int:
        """Number of views in half a turn."""
        return self.values.shape[1]

    @property
    def ray_mm(self) -> np.ndarray:
        """Signed distance of every ray from the rotation axis (detectors,), mm."""
        detectors = len(self.values)
        return (np.arange(detectors) - detectors // 2) * self.pixel_mm


def project(
    hu: np.ndarray, pixel_mm: float, views: int = 360, *, circle: bool | None = None, bins: int = 2
) -> Sinogram:
    """Integrate the attenuation of a slice along parallel rays.

    The slice is projected with `bins` x `bins` pixels in one, which saves nearly all of the time; between the rays of
    these larger pixels is interpolated linearly. Line integrals are smooth enough for the noise that depends on them.

    Parameters
    ----------
    hu : ndarray (rows, columns)
        The slice in HU. What is below air counts as air.
    pixel_mm : float
        Side of its square pixels.
    views : int
        Directions in half a turn.
    circle : bool, optional
        Whether the field of view is the inscribed circle, so that what lies outside is no part of the scan. By default
        it is if `is_circular` finds nothing outside.
    bins : {2, 1}
        1 projects at full resolution.

    Returns
    -------
    Sinogram

    Raises
    ------
    UserError
        If the size of a pixel or the number of views makes no sense.
    """
    if not 0 < pixel_mm < np.inf:
        raise UserError(f"The pixel spacing is {pixel_mm!r} mm; it must be a positive number.")
    if views < 1:
        raise UserError(f"The number of views is {views!r}; it must be at least 1.")
    circle = is_circular(hu) if circle is None else circle
    attenuation = MU_WATER_PER_MM * np.maximum(1 + np.asarray(hu, np.float32) / 1000, 0)
    if circle:
        attenuation[~inside_circle(hu.shape)] = 0
    side = max(hu.shape)
    # Two larger pixels more than needed, so that the canvas's own circle cuts nothing; a multiple of 4, so that the
    # middle of the larger pixels is always on the same side of the axis.
    canvas_side = 4 * int(np.ceil(((side if circle else np.sqrt(2) * side) + 4) / 4))
    canvas = np.zeros((canvas_side, canvas_side), np.float32)
    canvas[_window(hu.shape, canvas_side)] = attenuation
    small = canvas_side // bins
    canvas = canvas.reshape(small, bins, small, bins).mean(axis=(1, 3))
    angles = _angles(views)
    coarse = radon(canvas, angles, circle=True, preserve_range=True) * np.float32(bins * pixel_mm)
    values = coarse if bins == 1 else _interpolate_rays(coarse, canvas_side, angles, bins)
    return Sinogram(values.astype(np.float32, copy=False), float(pixel_mm), (hu.shape[0], hu.shape[1]), circle)


def back_project(values: np.ndarray, sinogram: Sinogram) -> np.ndarray:
    """Reconstruct line integrals by filtered back-projection with the ramp filter and linear interpolation.

    Parameters
    ----------
    values : ndarray (detectors, views)
        Line integrals, or their noise, in the geometry of `sinogram.values`.
    sinogram : Sinogram
        Gives the geometry; its values are not used.

    Returns
    -------
    ndarray of float32 (rows, columns)
        On the scale of HU, where water's attenuation is 1000: of noise the noise in HU, of the line integrals of a
        slice HU + 1000. Outside the circle of a circular field of view 0.
    """
    side = max(sinogram.shape)
    image = iradon(
        values.astype(np.float32, copy=False),
        _angles(values.shape[1]),
        output_size=side,
        filter_name="ramp",
        interpolation="linear",
        circle=False,  # the rays already reach everywhere
    )
    image = image[_window(sinogram.shape, side)] * np.float32(1000 / (MU_WATER_PER_MM * sinogram.pixel_mm))
    if sinogram.circle:
        image[~inside_circle(sinogram.shape)] = 0
    return image.astype(np.float32, copy=False)


def inside_circle(shape: tuple[int, ...]) -> np.ndarray:
    """Mark the pixels of the circle inscribed in the square around a slice, as bool (rows, columns)."""
    rows, columns = np.ogrid[: shape[0], : shape[1]]
    return (rows - shape[0] // 2) ** 2 + (columns - shape[1] // 2) ** 2 <= (max(shape) // 2) ** 2


def is_circular(hu: np.ndarray) -> bool:
    """Tell whether a slice is empty outside its inscribed circle: air, or one single value that fills it up.

    Where a scanner has reconstructed the corners there is noise, and half of that is above the value of air.
    """
    outside = hu[~inside_circle(hu.shape)]
    return outside.size == 0 or bool(outside.max() <= AIR_HU + 0.5 or outside.max() == outside.min())


def touches_border(hu: np.ndarray, circle: bool) -> bool:
    """Tell whether more than a twentieth of the border of the field of view is tissue.

    Then a part of the body lies outside, and the light that it takes away is not known. A patient table that reaches
    the border covers less.
    """
    rows, columns = np.ogrid[: hu.shape[0], : hu.shape[1]]
    if circle:
        squared = (rows - hu.shape[0] // 2) ** 2 + (columns - hu.shape[1] // 2) ** 2
        border = inside_circle(hu.shape) & (squared > (max(hu.shape) // 2 - 2) ** 2)
    else:
        border = (np.minimum(rows, hu.shape[0] - 1 - rows) < 1) | (np.minimum(columns, hu.shape[1] - 1 - columns) < 1)
    return bool((hu[border] > TISSUE_HU).mean() > 0.05)


def _angles(views: int) -> np.ndarray:
    return np.linspace(0, 180, views, endpoint=False)


def _window(shape: tuple[int, ...], side: int) -> tuple[slice, slice]:
    """Where a slice lies on a square canvas: axis on axis."""
    first = [side // 2 - length // 2 for length in shape[:2]]
    return slice(first[0], first[0] + shape[0]), slice(first[1], first[1] + shape[1])


def _interpolate_rays(coarse: np.ndarray, detectors: int, angles: np.ndarray, bins: int) -> np.ndarray:
    """Interpolate the rays of larger pixels to those of the slice's own pixels.

    The axis of the small canvas is the middle of a larger pixel, half a pixel beside the middle of the pixel that the
    axis shall meet, in rows and columns alike. In the view at an angle that moves the rays by half a pixel times
    (cos - sin), for rays are counted along columns x cos - rows x sin.
    """
    radians = np.deg2rad(angles)
    aside = (bins - 1) / 2 * (np.cos(radians) - np.sin(radians))
    ray = (np.arange(detectors)[:, None] - detectors // 2 - aside) / bins + len(coarse) // 2
    view = np.broadcast_to(np.arange(len(angles)), ray.shape)
    return map_coordinates(coarse, [ray, view], order=1, mode="constant")
