"""The mean of noisy images of one object, and how noisy it is."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import numpy as np

from quietct.evaluation.psnr import windowed


class Spread:
    """Mean of images, and the variance of that mean by how the images differ; one image is looked at at a time."""

    def __init__(self) -> None:
        self.count = 0
        self._first = self._sum = self._squares = np.zeros(())

    def add(self, image: np.ndarray) -> None:
        """Take one more image (float32)."""
        if not self.count:
            self._first, self._sum, self._squares = image, np.zeros_like(image), np.zeros_like(image)
        else:
            difference = image - self._first  # small numbers keep their digits
            self._sum += difference
            self._squares += difference * difference
        self.count += 1

    def mean(self) -> np.ndarray:
        """Mean image, float32."""
        return self._first + self._sum / self.count

    def variance_of_mean(self) -> float:
        """Estimate the variance of the mean from the sample variance of each pixel, averaged over the pixels."""
        variance = (self._squares - self._sum * self._sum / self.count) / (self.count - 1)
        return max(float(variance.mean(dtype=np.float64)), 0.0) / self.count  # never below 0 by rounding


def mean_and_noise(
    images: Iterable[np.ndarray], window_hu: Sequence[float], scan: np.ndarray | None = None
) -> tuple[np.ndarray, float | None, float | None]:
    """Average the targets of one slice, and estimate the noise of their mean.

    Parameters
    ----------
    images : iterable of ndarray of float32 (rows, columns)
        HU, registered; taken one by one.
    window_hu : (low, high)
        The grey window of PSNR, HU.
    scan : ndarray (rows, columns), optional
        HU, an independent image with the noise of a single target, which tells that noise: half the squared difference
        of the two is the variance of one.

    Returns
    -------
    mean : ndarray of float32 (rows, columns)
        HU.
    variance, windowed_variance : float or None
        Of the noise of the mean, averaged over the slice: in HU², and of values in the window (its width is 1). None
        for a single target without `scan`.
    """
    plain, within = Spread(), Spread()
    for image in images:
        plain.add(image)
        within.add(windowed(image, window_hu).astype(np.float32))
    if plain.count > 1:
        return plain.mean(), plain.variance_of_mean(), within.variance_of_mean()
    if scan is None:
        return plain.mean(), None, None
    difference = plain.mean() - scan
    between = within.mean() - windowed(scan, window_hu)
    return plain.mean(), float(np.mean(difference**2, dtype=float)) / 2, float(np.mean(between**2, dtype=float)) / 2
