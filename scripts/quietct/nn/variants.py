"""What sets the four back-propagation variants apart from plain gradient descent.

`sgd` uses neither, `gradient_noise` and `dilated` use one, `dilated_gradient_noise` uses both.
"""

from __future__ import annotations

from collections.abc import Mapping
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

    def sigma(self, step: int, gradient: np.ndarray) -> float:
        """Give the standard deviation of the noise on one gradient array at optimiser step `step` (from 0)."""
        if self.mode == "absolute":
            return float(np.sqrt(self.strength / (1 + step) ** self.gamma))
        return float(self.strength * root_mean_square(gradient) * (1 + step) ** (-self.gamma / 2))

    def add(self, layers: list[tuple[np.ndarray, np.ndarray]], step: int, rng: np.random.Generator) -> float:
        """Add noise in place to the gradients of all layers.

        Parameters
        ----------
        layers : list of (weight_gradient, bias_gradient)
        step : int
            Optimiser step, from 0.
        rng : Generator
            A stream of its own, so that the noise changes nothing else that is random.

        Returns
        -------
        float
            Root mean square σ over all parameters.
        """
        variance = count = 0.0
        for gradient in (array for layer in layers for array in layer):
            sigma = self.sigma(step, gradient)
            gradient += sigma * rng.standard_normal(gradient.shape, dtype=gradient.dtype)
            variance += sigma**2 * gradient.size
            count += gradient.size
        return float(np.sqrt(variance / count))


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


def root_mean_square(x: np.ndarray) -> float:
    """Square root of the mean of squares."""
    return float(np.sqrt(np.mean(np.square(x, dtype=np.float64))))
