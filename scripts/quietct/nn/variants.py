"""What sets the four back-propagation variants apart from plain gradient descent.

`sgd` uses neither, `gradient_noise` and `dilated` use one, `dilated_gradient_noise` uses both.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np


@dataclass(frozen=True)
class GradientNoise:
    """Annealed Gaussian noise added to every gradient.

    Neelakantan et al. 2015, arXiv 1511.06807: g ← g + N(0, σ_t²) with σ_t² = η / (1 + t)^γ, t the optimiser step.
    η is a variance. On images normalised to about 1 it is far above the gradient; mode `relative` gives
    σ_t = ratio · RMS(g) · (1 + t)^(-γ/2) instead, RMS over one layer's weights or biases.

    Parameters
    ----------
    mode : {'absolute', 'relative'}
    strength : float
        η in mode `absolute`, the ratio in mode `relative`.
    gamma : float
        Exponent of the annealing, 0.55 in the paper.
    """

    mode: str
    strength: float
    gamma: float = 0.55

    @classmethod
    def from_config(cls, config: Mapping[str, Any]) -> GradientNoise:
        """Read {'mode', 'eta' or 'ratio', 'gamma'}."""
        strength = config["eta"] if config["mode"] == "absolute" else config["ratio"]
        return cls(config["mode"], strength, config["gamma"])

    def sigma(self, step: int, rms: float) -> float:
        """Give the standard deviation of the noise at optimiser step `step` (from 0) on a gradient of that RMS."""
        if self.mode == "absolute":
            return math.sqrt(self.strength / (1 + step) ** self.gamma)
        return self.strength * rms * (1 + step) ** (-self.gamma / 2)

    def add(
        self, gradient: np.ndarray, arrays: Sequence[slice], step: int, rng: np.random.Generator
    ) -> tuple[float, float]:
        """Add noise in place to the gradient of all parameters.

        Parameters
        ----------
        gradient : ndarray, shape (n_parameters,)
        arrays : sequence of slice
            Where each layer's weights and each layer's bias lie in `gradient`; together all of it.
        step : int
            Optimiser step, from 0.
        rng : Generator
            A stream of its own, so that the noise changes nothing else that is random.

        Returns
        -------
        sigma : float
            Root mean square σ over all parameters.
        ratio : float
            `sigma` divided by the root mean square of the gradient.
        """
        noise, squares = standard_normal(gradient.size, rng, gradient.dtype), 0.0
        for array in arrays:
            part = gradient[array]
            squares_of_part = float(part.dot(part))
            noise[array] *= self.sigma(step, math.sqrt(squares_of_part / part.size))
            squares += squares_of_part
        gradient += noise
        # The mean of all σ² is the σ² that a single array of all parameters would have.
        rms = math.sqrt(squares / gradient.size)
        sigma = self.sigma(step, rms)
        return sigma, sigma / rms if rms else math.inf


@dataclass(frozen=True)
class Dilation:
    """Schedule of dilated back-propagation: λ = p / (1 + d · epoch).

    Parameters
    ----------
    p, d : float
        0.05 and 0.07 in the article.
    """

    p: float
    d: float

    def factor(self, epoch: int) -> float:
        """λ in an epoch (from 0)."""
        return self.p / (1 + self.d * epoch)


@dataclass(frozen=True)
class Variant:
    """A back-propagation variant: plain unless it has one or both of its parts."""

    gradient_noise: GradientNoise | None = None
    dilation: Dilation | None = None

    @classmethod
    def from_config(cls, config: Mapping[str, Any]) -> Variant:
        """Read the entry of a variant in the configuration."""
        noise, dilation = config.get("gradient_noise"), config.get("dilation")
        return cls(
            GradientNoise.from_config(noise) if noise else None,
            Dilation(dilation["p"], dilation["d"]) if dilation else None,
        )


def standard_normal(size: int, rng: np.random.Generator, dtype: Any) -> np.ndarray:
    """Draw from N(0, 1) by the transform of Box and Muller (1958).

    From two uniform numbers u, v it makes two normal ones, √(-2 ln u) · cos 2πv and √(-2 ln u) · sin 2πv. NumPy
    computes these functions on many numbers at a time, which `Generator.standard_normal` cannot: it takes a third of
    the time.

    Parameters
    ----------
    size : int
    rng : Generator
    dtype : numpy dtype
        float32 or float64. In float32 no number is beyond ±5.8, where one of 10⁸ would be.

    Returns
    -------
    ndarray, shape (size,)
    """
    radius, angle = rng.random((2, -(-size // 2)), dtype)
    np.subtract(1, radius, out=radius)  # from 0 to 1 without 0, whose logarithm is infinite
    np.log(radius, out=radius)
    radius *= -2
    np.sqrt(radius, out=radius)
    angle *= 2 * math.pi
    normal = np.empty((2, radius.size), dtype)
    np.cos(angle, out=normal[0])
    np.sin(angle, out=normal[1])
    normal *= radius
    return normal.reshape(-1)[:size]
