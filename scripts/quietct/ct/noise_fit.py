"""Fit a scanner's photon count and kernel to the noise of regions: by simulating, comparing, and correcting."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from quietct.ct.low_dose import Kernel, Scanner, expected_counts, scan_noise
from quietct.ct.noisy_regions import cut
from quietct.ct.projection import Sinogram
from quietct.evaluation.noise_power import detrended, noise_power, radial_frequency, ring_average

# Realisations of each slice's noise in each round. The first rounds find the level, which need not be proportional to
# the photons where there is electronic noise; in the last one chance matters.
REALISATIONS = (1, 1, 3)
CORRECTIONS = 4
LOST_RINGS = 2
COSINES = 12
# How large the share of a cosine of k half periods up to the frequency F (cycles/mm) is expected to be, times (k / F)⁴:
# small enough for smooth curves, large enough for a Hann window and for the peak of a lung kernel.
STIFFNESS = 20.0
# Below it a gain is not told from what leaks from other frequencies, and from zero it could never rise again.
MIN_GAIN = 0.01


@dataclass(frozen=True)
class NoisyRegions:
    """Square regions of one slice and the noise that a scan has there.

    Attributes
    ----------
    sinogram : Sinogram
        Line integrals of the slice, to simulate its noise.
    corners : ndarray of int (regions, 2)
        First row and column of each region.
    power : ndarray (regions, images, side, side)
        Noise power of each region in one or more independent images of noise, HU² mm², without its trend: see
        `noise_power` and `detrended`.
    """

    sinogram: Sinogram
    corners: np.ndarray
    power: np.ndarray


@dataclass(frozen=True)
class NoiseComparison:
    """Measured noise beside simulated noise in the same regions.

    Attributes
    ----------
    frequency : ndarray (rings,)
        Cycles/mm; the first is 0, the last in the corner of the frequency plane.
    measured, simulated : ndarray (regions, images, rings)
        Ring averages of the noise power, HU² mm², of independent images of noise.
    measured_sd, simulated_sd : ndarray (regions,)
        Standard deviation of the noise, HU.
    ring_size : ndarray (rings,)
        Values in each ring.
    nyquist_per_mm : float
        Highest frequency that the pixels show in every direction.
    """

    frequency: np.ndarray
    measured: np.ndarray
    simulated: np.ndarray
    measured_sd: np.ndarray
    simulated_sd: np.ndarray
    ring_size: np.ndarray
    nyquist_per_mm: float


def fit_scanner(slices: Sequence[NoisyRegions], scanner: Scanner) -> Scanner:
    """Find the photon count and the kernel with which simulated noise is as strong and as coarse as the measured one.

    Both are measured in the same regions in the same way, so that what a small region does to a spectrum cancels. A
    kernel keeps the HU of large homogeneous objects, so its gain is 1 at the frequency 0; that separates it from the
    photons, which set the level of the noise at low frequencies.

    Parameters
    ----------
    slices : sequence of NoisyRegions
    scanner : Scanner
        `electronic_noise`, `bowtie_mm` and `views` are taken as given; `photons` is where the search begins.

    Returns
    -------
    Scanner
        With the `photons` and the `kernel` found.
    """
    scanner = replace(scanner, kernel=None)
    for attempt, count in enumerate(REALISATIONS):
        rng = [np.random.default_rng([attempt, k]) for k in range(len(slices))]
        ramp_noise = [
            np.stack([scan_noise(regions.sinogram, scanner, rng[k]) for _ in range(count)])
            for k, regions in enumerate(slices)
        ]
        level, kernel = _fit_kernel(slices, ramp_noise)
        scanner = replace(scanner, photons=scanner.photons * level ** (-2 / _steepness(slices, scanner)))
    return replace(scanner, kernel=kernel)


def _fit_kernel(slices: Sequence[NoisyRegions], ramp_noise: Sequence[np.ndarray]) -> tuple[float, Kernel]:
    """Find the level and the kernel that make ramp noise (per slice: realisations, rows, columns) like the measured.

    Part of what a small region shows at one frequency leaks from others. The kernel changes that, so it is corrected
    until the filtered noise agrees.
    """
    grid = np.linspace(0, np.hypot(0.5, 0.5) / slices[0].sinogram.pixel_mm, 50)
    gain = np.ones_like(grid)
    for _ in range(CORRECTIONS):
        found = _compare(slices, ramp_noise, Kernel(grid, gain))
        # In units of both levels, dark and bright places count alike.
        unit = (found.measured_sd * found.simulated_sd)[:, None, None]
        # The median leaves aside the regions in which something else than noise is left at some frequency. It is less
        # than the mean, but by the same factor on both sides, as long as each value is of one image.
        measured, simulated = (np.median(rings / unit, axis=(0, 1)) for rings in (found.measured, found.simulated))
        ratio = np.sqrt(measured / simulated)
        rings = ratio * np.interp(found.frequency, grid, gain)
        gain = smooth_gain(found.frequency, rings, found.ring_size * len(unit), grid)
        gain = np.maximum(gain, MIN_GAIN * gain.max())
    return float(gain[0]), Kernel(grid, gain / gain[0])


def compare_noise(slices: Sequence[NoisyRegions], scanner: Scanner, seed: int) -> NoiseComparison:
    """Simulate the noise of slices and measure it in their regions.

    Parameters
    ----------
    slices : sequence of NoisyRegions
        All of the same side and pixel size.
    scanner : Scanner
    seed : int
        Of the simulated noise; the slice's number is added.

    Returns
    -------
    NoiseComparison
        Regions of all slices one after the other.
    """
    noise = [
        scan_noise(regions.sinogram, replace(scanner, kernel=None), np.random.default_rng([seed, k]))[None]
        for k, regions in enumerate(slices)
    ]
    return _compare(slices, noise, scanner.kernel)


def _compare(
    slices: Sequence[NoisyRegions], ramp_noise: Sequence[np.ndarray], kernel: Kernel | None
) -> NoiseComparison:
    pixel_mm, side = slices[0].sinogram.pixel_mm, slices[0].power.shape[-1]
    simulated = []
    for regions, images in zip(slices, ramp_noise, strict=True):
        filtered = images if kernel is None else np.stack([kernel.apply(image, pixel_mm) for image in images])
        simulated.append(noise_power(detrended(cut(filtered, regions.corners, side)), pixel_mm))
    powers = [np.concatenate([regions.power for regions in slices]), np.concatenate(simulated)]
    frequency, measured_rings = ring_average(powers[0], pixel_mm, corners=True)
    _, simulated_rings = ring_average(powers[1], pixel_mm, corners=True)
    # By Parseval.
    measured_sd, simulated_sd = (np.sqrt(power.mean(axis=(1, 2, 3))) / pixel_mm for power in powers)
    ring = np.rint(radial_frequency((side, side), 1 / side)).astype(int)
    size = np.bincount(ring.ravel())
    return NoiseComparison(frequency, measured_rings, simulated_rings, measured_sd, simulated_sd, size, 0.5 / pixel_mm)


def smooth_gain(frequency: np.ndarray, gain: np.ndarray, counts: np.ndarray, grid: np.ndarray) -> np.ndarray:
    """Draw a smooth curve through a gain measured in rings: a sum of cosines, as the usual windows are.

    Cosines have no slope at the frequency 0, as the gain of a filter with real, even response has none. The first two
    rings are left out: their own noise went with the trend, and what they show leaks from others.

    Parameters
    ----------
    frequency, gain : ndarray (rings,)
        Measured.
    counts : ndarray (rings,)
        How many values each is a mean of; the more, the surer.
    grid : ndarray
        Where the curve is wanted; from 0 to the end of the cosines' half period.

    Returns
    -------
    ndarray
        The gain on the grid.
    """
    order = np.arange(COSINES)
    scale = gain[LOST_RINGS:].max()
    error = np.hypot(gain * np.sqrt(2 / counts), 0.005 * scale)[LOST_RINGS:, None]
    basis = np.cos(np.pi * np.outer(frequency[LOST_RINGS:] / grid[-1], order))
    stiff = (order / grid[-1]) ** 4 / (STIFFNESS * scale)
    rows = np.concatenate([basis / error, np.diag(stiff)])
    values = np.concatenate([gain[LOST_RINGS:] / error[:, 0], np.zeros(COSINES)])
    found, *_ = np.linalg.lstsq(rows, values, rcond=None)
    return np.cos(np.pi * np.outer(grid / grid[-1], order)) @ found


def _steepness(slices: Sequence[NoisyRegions], scanner: Scanner) -> float:
    """By which power of the photons the variance falls: 1 without electronic noise, towards 2 with much of it.

    Rays beside the body have no say: behind a bowtie they can be the darkest, and no region sees them.
    """
    quantum = electronic = 0.0
    for regions in slices:
        counts, sd = expected_counts(regions.sinogram, scanner)
        counts = counts[regions.sinogram.values >= 0.1 * regions.sinogram.values.max()]
        quantum += float((1 / counts).sum(dtype=np.float64))
        electronic += float(np.square(sd / counts, dtype=np.float64).sum())
    return 1 + electronic / (quantum + electronic)
