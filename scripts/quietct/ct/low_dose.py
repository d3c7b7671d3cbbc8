"""Photon noise of a scan, and the noise that a scan at less dose would have had.

The noise is made in the line integrals and reconstructed alone; Zeng et al. (IEEE TNS 62(5), 2015) and Yu et al. (JCAT
36(4), 2012) put the same noise into raw data. The slice itself is never reconstructed again, so that its anatomy stays
as it is.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from scipy.fft import irfft2, rfft2

from quietct.ct.projection import MU_WATER_PER_MM, Sinogram, back_project, inside_circle
from quietct.errors import UserError

SCANNER_VIEWS = 1160  # per turn, and detector elements of 1 mm: what the photons of a `Scanner` are counted in
# A ray starves where the low-dose scan tells less from it than this many photons without electronic noise would. Above,
# the logarithm of the count is Gaussian with the variance of the formula, within 2 %.
STARVED_BELOW = 50.0


@dataclass(frozen=True)
class Kernel:
    """A reconstruction kernel, as an isotropic filter on the noise of the ramp filter.

    Attributes
    ----------
    frequency_per_mm : sequence of float
        Spatial frequencies (cycles per mm), ascending.
    gain : sequence of float
        Gain at each; linear between them, 0 beyond the last, below the first as at the first.

    Raises
    ------
    UserError
        If the two don't fit together, or hold anything but such numbers.
    """

    frequency_per_mm: Sequence[float] | np.ndarray
    gain: Sequence[float] | np.ndarray

    def __post_init__(self) -> None:
        """Check and freeze the curve."""
        for name in ("frequency_per_mm", "gain"):
            values = getattr(self, name)
            listed = isinstance(values, Sequence | np.ndarray) and not isinstance(values, str)
            if not listed or not len(values) or not all(_is_number(value) and value >= 0 for value in values):
                raise UserError(f"The kernel's `{name}` must be a list of numbers of 0 or more.")
            object.__setattr__(self, name, tuple(float(value) for value in values))
        if len(self.frequency_per_mm) != len(self.gain):
            raise UserError(
                f"The kernel has {len(self.frequency_per_mm)} frequencies but {len(self.gain)} gains; "
                "`frequency_per_mm` and `gain` must be equally long."
            )
        if any(b <= a for a, b in zip(self.frequency_per_mm, self.frequency_per_mm[1:], strict=False)):
            raise UserError("The kernel's `frequency_per_mm` must ascend.")

    def apply(self, image: np.ndarray, pixel_mm: float) -> np.ndarray:
        """Filter an image (rows, columns) with square pixels; gives float32 of the same shape.

        The image counts as periodic, so that noise which fills it keeps its variance up to the border.
        """
        rows, columns = image.shape
        along, across = np.fft.fftfreq(rows, pixel_mm)[:, None], np.fft.rfftfreq(columns, pixel_mm)
        gain = np.interp(np.hypot(along, across), self.frequency_per_mm, self.gain, right=0).astype(np.float32)
        return irfft2(rfft2(image.astype(np.float32, copy=False)) * gain, s=image.shape).astype(np.float32)


@dataclass(frozen=True)
class Scanner:
    """What the noise of a scan depends on, beside the object.

    Attributes
    ----------
    photons : float
        Photons that reach a detector element of 1 mm (at the rotation axis) in each of 1160 views of a turn, with
        nothing in between. How many views are simulated, and how large pixels are, is allowed for.
    electronic_noise : float
        Standard deviation of the electronic noise of such an element in a view, in photons.
    bowtie_mm : float or None
        Diameter of the water cylinder that the bowtie filter makes up for: behind both, all rays are equally bright.
        None for no such filter.
    kernel : Kernel or None
        Filter on the noise; None for the ramp filter alone.
    views : int
        Directions in half a turn that are simulated, for `project`.

    Raises
    ------
    UserError
        If one of them makes no sense.
    """

    photons: float
    electronic_noise: float = 0.0
    bowtie_mm: float | None = None
    kernel: Kernel | None = None
    views: int = 360

    def __post_init__(self) -> None:
        """Check what a user may have mistyped."""
        if not _is_number(self.photons) or self.photons <= 0:
            raise UserError(f"The setting `photons` is {self.photons!r}; it must be a number above 0.")
        if not _is_number(self.electronic_noise) or self.electronic_noise < 0:
            raise UserError(
                f"The setting `electronic_noise` is {self.electronic_noise!r}; it must be 0 or more photons."
            )
        if self.bowtie_mm is not None and (not _is_number(self.bowtie_mm) or self.bowtie_mm <= 0):
            raise UserError(f"The setting `bowtie_mm` is {self.bowtie_mm!r}; it must be a diameter in mm above 0.")
        if isinstance(self.views, bool) or not isinstance(self.views, int) or not 10 <= self.views <= 10_000:
            raise UserError(f"The setting `views` is {self.views!r}; it must be a whole number from 10 to 10000.")


def scan_noise(sinogram: Sinogram, scanner: Scanner, rng: np.random.Generator) -> np.ndarray:
    """Make all the noise of a scan of a noise-free object.

    Parameters
    ----------
    sinogram : Sinogram
        Of the object.
    scanner : Scanner
        `scanner.photons` are those of this scan.
    rng : Generator

    Returns
    -------
    ndarray of float32 (rows, columns)
        HU. Behind rays that starve its mean is not 0, as in a scan.
    """
    counts, electronic = expected_counts(sinogram, scanner)
    starved = _starved(counts, electronic)
    noise = rng.standard_normal(counts.shape, dtype=np.float32)
    noise *= np.sqrt((1 + electronic**2 / counts) / counts)
    few = counts[starved].astype(float)
    measured = rng.poisson(few) + electronic * rng.standard_normal(few.shape)
    noise[starved] = np.log(few) - np.log(np.maximum(measured, 1))
    return _reconstruct(noise, sinogram, scanner)


def extra_noise(
    sinogram: Sinogram,
    scanner: Scanner,
    dose: float,
    rng: np.random.Generator,
    normals: np.ndarray | None = None,
) -> np.ndarray:
    """Make the noise that takes a scan to a fraction of its dose.

    Parameters
    ----------
    sinogram : Sinogram
        Of the scan, which may be noisy itself.
    scanner : Scanner
        `scanner.photons` are those of the scan at full dose.
    dose : float
        Fraction of the dose, above 0, at most 1.
    rng : Generator
    normals : ndarray of float32 (detectors, views), optional
        Standard normal numbers to use where rays have light enough; by default `rng` makes them. Neighbouring slices
        that share some of them have correlated noise.

    Returns
    -------
    ndarray of float32 (rows, columns)
        HU; exactly 0 for the full dose.

    Raises
    ------
    UserError
        If the dose is no fraction.
    """
    if not _is_number(dose) or not 0 < dose <= 1:
        raise UserError(f"The setting `dose` is {dose!r}; it must be a fraction above 0 and at most 1.")
    if dose == 1:
        return np.zeros(sinogram.shape, np.float32)
    return _reconstruct(extra_ray_noise(sinogram, scanner, dose, rng, normals), sinogram, scanner)


def extra_ray_noise(
    sinogram: Sinogram, scanner: Scanner, dose: float, rng: np.random.Generator, normals: np.ndarray | None = None
) -> np.ndarray:
    """Make the noise of the line integrals behind `extra_noise`, as float32 (detectors, views).

    Of a ray that I photons pass at full dose, a scan at the fraction a measures the line integral with a variance of
    1 / (a I) + σ² / (a I)², where σ is the electronic noise. What the scan has of that already, 1 / I + σ² / I², is
    left out. Where rays starve, counts are drawn instead: a Poisson number at full dose, thinned to the fraction (each
    photon stays with probability a), and the difference of the logarithms is the noise.
    """
    counts, electronic = expected_counts(sinogram, scanner)
    starved = _starved(dose * counts, electronic)
    noise = rng.standard_normal(counts.shape, dtype=np.float32) if normals is None else normals.copy()
    noise *= np.sqrt((1 - dose) / (dose * counts) * (1 + (1 + dose) / dose * electronic**2 / counts))
    noise[starved] = _thinned(counts[starved], electronic, dose, rng)
    return noise


def expected_counts(sinogram: Sinogram, scanner: Scanner) -> tuple[np.ndarray, float]:
    """Expect the photons of every ray, and the electronic noise.

    A ray stands for as many elements of 1 mm and views of the scanner as it is wide and as there are more of theirs, so
    that all rays together have the photons of the scan.

    Returns
    -------
    counts : ndarray of float32 (detectors, views)
        At least 1e-9, so that a division stays finite.
    electronic : float
        Standard deviation of the electronic noise of a ray, photons.
    """
    elements = sinogram.pixel_mm * SCANNER_VIEWS / sinogram.views
    bright = scanner.photons * elements * np.exp(-bowtie(sinogram.ray_mm, scanner.bowtie_mm))
    counts = bright[:, None].astype(np.float32) * np.exp(-sinogram.values)
    return np.maximum(counts, np.float32(1e-9)), scanner.electronic_noise * math.sqrt(elements)


def bowtie(ray_mm: np.ndarray, diameter_mm: float | None) -> np.ndarray:
    """Compute the attenuation (line integral) by a bowtie filter at distances from the axis; without one 0.

    It is what a water cylinder lacks to its full diameter: μ (D − chord), and μ D beside the cylinder.
    """
    if diameter_mm is None:
        return np.zeros(np.shape(ray_mm))
    chord = 2 * np.sqrt(np.maximum((diameter_mm / 2) ** 2 - np.square(ray_mm), 0))
    return MU_WATER_PER_MM * (diameter_mm - chord)


def _starved(counts: np.ndarray, electronic: float) -> np.ndarray:
    """Mark the rays whose count, with its electronic noise, tells less than `STARVED_BELOW` photons do."""
    return counts**2 < STARVED_BELOW * (counts + electronic**2)


def _thinned(counts: np.ndarray, electronic: float, dose: float, rng: np.random.Generator) -> np.ndarray:
    """Difference of the line integrals that a scan and its thinned twin measure; less than one photon counts as one.

    The electronic noise of the twin has the same standard deviation; of the scan's own it keeps what the image at full
    dose shows of it already: `dose` times it, because the twin's counts are divided by the dose.
    """
    photons = rng.poisson(counts.astype(float))
    own = electronic * rng.standard_normal(counts.shape)
    new = electronic * rng.standard_normal(counts.shape)
    full = photons + own
    low = rng.binomial(photons, dose) + dose * own + math.sqrt(1 - dose**2) * new
    return np.log(np.maximum(full, 1)) - np.log(np.maximum(low, 1) / dose)


def _reconstruct(noise: np.ndarray, sinogram: Sinogram, scanner: Scanner) -> np.ndarray:
    image = back_project(noise, sinogram)
    if scanner.kernel is None:
        return image
    image = scanner.kernel.apply(image, sinogram.pixel_mm)
    if sinogram.circle:
        image[~inside_circle(sinogram.shape)] = 0
    return image


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float | np.number) and not isinstance(value, bool) and math.isfinite(value)
