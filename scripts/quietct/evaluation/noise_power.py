"""Noise power spectrum: how the variance of the noise is spread over spatial frequencies.

The discrete two-dimensional spectrum of regions of noise, as in Siewerdsen, Cunningham and Jaffray, Med. Phys. 29(11),
2002, ICRU Report 87, 2012, and the IAEA's Handbook of Diagnostic Radiology Physics, 2014, equation 4.42. Noise is what
differs between repeat scans (`repeat_noise`), or what is left of a homogeneous region of one scan (`detrended`).
"""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike
from scipy.linalg import helmert


def repeat_noise(repeats: ArrayLike) -> np.ndarray:
    """Take the noise out of repeat scans of one object.

    Parameters
    ----------
    repeats : array (n, ...), n > 1
        Images of the same object with independent noise of equal power, HU.

    Returns
    -------
    ndarray of float64 (n - 1, ...)
        Independent images of noise with the power of that of one scan, HU: the Helmert contrasts of the repeats, in
        which the object cancels. Of a pair it is (first - second) / sqrt(2).
    """
    images = np.asarray(repeats, dtype=np.float64)
    return np.tensordot(helmert(len(images)), images, axes=1)


def detrended(regions: ArrayLike) -> np.ndarray:
    """Subtract from each region the polynomial of second order in row and column that fits best (least squares).

    Parameters
    ----------
    regions : array (..., rows, columns)
        Homogeneous regions of a scan, HU. Cupping and shading over a region are slow enough for the polynomial.

    Returns
    -------
    ndarray of float64 (..., rows, columns)
        HU. The fit also takes 6 of the noise's rows x columns degrees of freedom, all at low frequency.
    """
    values = np.asarray(regions, dtype=np.float64)
    rows, columns = values.shape[-2:]
    y, x = (axis.ravel() for axis in np.meshgrid(np.linspace(-1, 1, rows), np.linspace(-1, 1, columns), indexing="ij"))
    basis, _ = np.linalg.qr(np.stack([np.ones_like(x), x, y, x * x, x * y, y * y], axis=1))
    flat = values.reshape(-1, rows * columns)
    return (flat - (flat @ basis) @ basis.T).reshape(values.shape)


def noise_power(regions: ArrayLike, pixel_mm: float) -> np.ndarray:
    """Compute the two-dimensional noise power of each region; the mean over many regions is the spectrum (NPS).

    Parameters
    ----------
    regions : array (..., rows, columns)
        Noise, HU, with mean 0 (see `repeat_noise` and `detrended`). Nothing is subtracted here.
    pixel_mm : float
        Side of the square pixels.

    Returns
    -------
    ndarray of float64 (..., rows, columns)
        pixel_mm² / (rows columns) |FFT|² in HU² mm², in the order of `np.fft.fft2`. Its sum times the area of a
        frequency cell, 1 / (rows columns pixel_mm²), is the mean square of the region (Parseval); white noise of
        variance s² has s² pixel_mm² everywhere.
    """
    values = np.asarray(regions, dtype=np.float64)
    rows, columns = values.shape[-2:]
    return np.abs(np.fft.fft2(values)) ** 2 * (pixel_mm**2 / (rows * columns))


def radial_frequency(shape: tuple[int, int], pixel_mm: float) -> np.ndarray:
    """Spatial frequency in cycles/mm of each value of `noise_power`, (rows, columns)."""
    rows, columns = (np.fft.fftfreq(side, pixel_mm) for side in shape)
    return np.hypot(rows[:, None], columns[None, :])


def ring_average(power: ArrayLike, pixel_mm: float, corners: bool = False) -> tuple[np.ndarray, np.ndarray]:
    """Average a two-dimensional spectrum over the directions.

    Parameters
    ----------
    power : array (..., rows, columns)
        As from `noise_power`, HU² mm².
    pixel_mm : float
        Side of the square pixels.
    corners : bool
        Go on from the Nyquist frequency, 1 / (2 pixel_mm), to the corners of the plane at sqrt(2) times that; the
        rings there are not whole.

    Returns
    -------
    frequency : ndarray of float64 (rings,)
        Mean frequency of each ring's values, cycles/mm. Rings are as wide as the step of the longer side, and the
        first one is the frequency 0 alone.
    average : ndarray of float64 (..., rings)
        Mean power of each ring, HU² mm².
    """
    values = np.asarray(power, dtype=np.float64)
    shape = (values.shape[-2], values.shape[-1])
    radius = radial_frequency(shape, pixel_mm).ravel()
    step = 1 / (max(shape) * pixel_mm)
    ring = np.rint(radius / step).astype(int)
    count = 1 + (ring.max() if corners else max(shape) // 2)
    member = ring[:, None] == np.arange(count)
    weights = member / member.sum(axis=0)
    return radius @ weights, values.reshape(*values.shape[:-2], -1) @ weights


def peak_frequency(frequency: ArrayLike, average: ArrayLike) -> float:
    """Frequency (cycles/mm) of the ring with the greatest power; as fine as the rings are."""
    return float(np.asarray(frequency)[np.argmax(average)])


def mean_frequency(frequency: ArrayLike, average: ArrayLike) -> float:
    """Mean frequency (cycles/mm) of a ring average: sum of frequency x power over the sum of power.

    The first moment of the one-dimensional radial curve, as AAPM's Task Group 233 reports it (Samei et al., Med. Phys.
    46(11), 2019); the plane's rings are not weighted by their length.
    """
    frequency, average = np.asarray(frequency, dtype=np.float64), np.asarray(average, dtype=np.float64)
    return float((frequency * average).sum() / average.sum())
