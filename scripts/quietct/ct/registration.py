"""In-plane shift between two scans of one object, below a pixel, and the shift itself.

Repeats of a phantom that nobody touched can still differ by half a pixel: on a helical scan the image wobbles with the
angle of the tube, which starts anywhere. In Phantom_FDA (Philips, 16 x 1.5 mm, pitch 1.2) the shift between two repeats
is 0.50 pixels everywhere, and turns round once per table feed of 28.8 mm. So each slice has a shift of its own.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy import fft, ndimage
from scipy.special import chdtri
from skimage.filters import threshold_otsu
from skimage.registration import phase_cross_correlation

from quietct.ct.patches import body_mask

SMOOTHING_PX = 1.5  # Gaussian before two slices are compared: below it there is more noise than object
MARGIN_PX = 16  # mirrored around a slice before it is shifted, since a Fourier shift is cyclic
LARGEST_SHIFT_PX = float(MARGIN_PX)
LEAST_SHIFT_PX = 0.02  # a smaller one is not worth touching the data
CHANCE = 1e-4  # how often a series that does not move may be taken for one that does
STEP_PX = 1e-3  # where the estimate stops to improve
LARGEST_SD_PX = 0.25  # a slice whose shift is less certain has nothing to tell it by


@dataclass(frozen=True)
class Shift:
    """How a slice must move to lie on another.

    Attributes
    ----------
    px : (row, column)
        In pixels, as `shifted` takes it.
    covariance : (rows, columns) and their mixed term
        Variances along rows and columns and their covariance, pixels squared; infinite where nothing tells the shift.
    correlation : float
        Pearson's, of the two smoothed slices once they lie on each other; NaN for a constant slice.
    """

    px: tuple[float, float]
    covariance: tuple[float, float, float]
    correlation: float

    @property
    def sd_px(self) -> float:
        """Standard deviation along the worse axis, pixels."""
        return float(np.sqrt(max(self.covariance[:2])))

    @property
    def known(self) -> bool:
        """Whether the slices show enough to tell the shift."""
        return self.sd_px <= LARGEST_SD_PX and max(map(abs, self.px)) <= LARGEST_SHIFT_PX


def estimate_shift(fixed: np.ndarray, moving: np.ndarray) -> Shift:
    """Find the shift that lays one slice on another.

    Cross-correlation finds it to a pixel. From there the squared difference of the smoothed slices in the body is made
    least by Gauss and Newton's method (Lucas & Kanade, Proc. IJCAI, 1981). The table, which wobbles more than
    the body, has no say. The uncertainty is what 8 x 8 blocks of the slice disagree by (the clustered "sandwich"
    estimator), so it counts correlated noise and whatever does not move as a whole.

    Parameters
    ----------
    fixed, moving : ndarray (rows, columns)
        HU.

    Returns
    -------
    Shift
        `shifted(moving, shift.px)` lies on `fixed`.
    """
    still, other = (ndimage.gaussian_filter(np.asarray(hu, np.float32), SMOOTHING_PX) for hu in (fixed, moving))
    unknown = Shift((0.0, 0.0), (np.inf, np.inf, 0.0), np.nan)
    if not (np.ptp(still) and np.ptp(other)):
        return unknown
    shift = np.asarray(phase_cross_correlation(still, other, normalization=None)[0], dtype=np.float64)
    splines = ndimage.spline_filter(other, 3, mode="nearest", output=np.float32)
    weights = _body((still + ndimage.shift(other, shift, order=0, mode="nearest")) / 2)
    for _ in range(10):
        if np.abs(shift).max() > LARGEST_SHIFT_PX:
            return Shift((float(shift[0]), float(shift[1])), unknown.covariance, np.nan)
        moved = ndimage.shift(splines, shift, order=3, mode="nearest", prefilter=False)
        slopes = np.stack(np.gradient((still + moved) / 2)) * weights
        normal = np.einsum("irc,jrc->ij", slopes, slopes, dtype=np.float64)
        if not np.linalg.cond(normal) <= 1e6:  # neither where it is NaN
            return unknown
        inverse = np.linalg.inv(normal)
        step = -inverse @ np.einsum("irc,rc->i", slopes, still - moved, dtype=np.float64)
        shift += step
        if np.abs(step).max() < STEP_PX:
            break
    rest = still - moved + np.tensordot(step.astype(np.float32), slopes, 1)
    scores = _block_sums(slopes * rest)
    covariance = inverse @ (scores @ scores.T) @ inverse
    correlation = np.corrcoef(still.ravel(), moved.ravel())[0, 1]
    return Shift(
        (float(shift[0]), float(shift[1])),
        (float(covariance[0, 0]), float(covariance[1, 1]), float(covariance[0, 1])),
        float(correlation),
    )


def _body(hu: np.ndarray) -> np.ndarray:
    """Tell the body and its rim from the table and the border (bool); Otsu's threshold suits clipped scans too."""
    body = ndimage.binary_dilation(body_mask(hu, threshold_otsu(hu)), iterations=round(3 * SMOOTHING_PX))
    border = round(3 * SMOOTHING_PX)
    inner = np.zeros_like(body)
    inner[border:-border, border:-border] = True
    return body & inner


def _block_sums(scores: np.ndarray) -> np.ndarray:
    """Sum (2, rows, columns) over 8 x 8 blocks: float64 (2, 64)."""
    rows, columns = (np.unique(np.linspace(0, side, 8, endpoint=False).astype(int)) for side in scores.shape[1:])
    sums = np.add.reduceat(np.add.reduceat(scores.astype(np.float64), rows, axis=1), columns, axis=2)
    return sums.reshape(2, -1)


def settled_shifts(estimates: Sequence[Shift]) -> np.ndarray:
    """Decide how the slices of a series are moved, from the estimates of all of them.

    A slice that tells nothing by itself gets the shift of its neighbours. If the root mean square of the shifts is
    below `LEAST_SHIFT_PX` beyond its uncertainty, or not told from chance (a chi-squared test), nothing moves: slices
    that fit stay bit-identical.

    Parameters
    ----------
    estimates : sequence of Shift
        Of the slices in the order of position.

    Returns
    -------
    ndarray of float64 (slices, 2)
        Rows and columns, in pixels; all 0 where nothing is to be moved.
    """
    px = np.array([estimate.px for estimate in estimates], dtype=np.float64).reshape(-1, 2)
    known = np.array([estimate.known for estimate in estimates], dtype=bool)
    if not known.any():
        return np.zeros_like(px)
    rows, columns, mixed = np.array([estimate.covariance for estimate in estimates])[known].T
    row, column = px[known].T
    excess = np.mean(row**2 + column**2 - rows - columns)
    rows, columns = rows + STEP_PX**2, columns + STEP_PX**2  # never 0
    distance = np.sum((columns * row**2 + rows * column**2 - 2 * mixed * row * column) / (rows * columns - mixed**2))
    if excess < LEAST_SHIFT_PX**2 or distance < chdtri(2 * len(row), CHANCE):
        return np.zeros_like(px)
    index = np.arange(len(px))
    return np.stack([np.interp(index, index[known], axis[known]) for axis in px.T], axis=1)


def shifted(hu: np.ndarray, shift_px: Sequence[float] | np.ndarray) -> np.ndarray:
    """Move a slice by a fraction of pixels without a change to its noise.

    The Fourier shift theorem turns phases alone, so each frequency of the noise keeps its power. At half a pixel both
    ways, cubic splines would lose 2 % of the standard deviation of a soft kernel's noise and 15 % of a sharp one's,
    quintic ones 0.5 % and 8 %.

    Parameters
    ----------
    hu : ndarray (rows, columns)
        HU.
    shift_px : (row, column)
        Positive moves the object to higher row and column numbers.

    Returns
    -------
    ndarray of float32 (rows, columns)
        HU; for the shift (0, 0) the same values. What comes in at the border is mirrored.
    """
    image = np.asarray(hu, np.float32)
    if not np.any(shift_px):
        return image.copy()
    padded = np.pad(image, MARGIN_PX, mode="symmetric")
    across = fft.fftfreq(padded.shape[0])[:, None] * shift_px[0]
    along = fft.rfftfreq(padded.shape[1])[None, :] * shift_px[1]
    turned = fft.rfft2(padded) * np.exp(-2j * np.pi * (across + along)).astype(np.complex64)
    inner = slice(MARGIN_PX, -MARGIN_PX)
    return fft.irfft2(turned, s=padded.shape)[inner, inner].astype(np.float32)
