"""Squared-error losses."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np


@dataclass(frozen=True)
class SquaredError:
    """L = scale · Σ (output - target)², with gradient_scale · (output - target) as the gradient that is propagated.

    The true gradient has gradient_scale = 2 · scale. The article scales it down instead (0.125 with scale 0.25).

    Parameters
    ----------
    scale, gradient_scale : float
    """

    scale: float
    gradient_scale: float

    @classmethod
    def from_config(cls, config: Mapping[str, Any], pixels: int) -> SquaredError:
        """Read the entry `loss`; `pixels` of the whole batch are what a mean is taken over."""
        if config["kind"] == "mean_squared_error":
            return cls(1 / pixels, 2 / pixels)
        return cls(config["scale"], config["gradient_scale"])

    def value_and_gradient(self, output: np.ndarray, target: np.ndarray) -> tuple[float, np.ndarray]:
        """Loss, and the gradient with respect to `output`."""
        difference = output - target
        # Sums over a row in the images' own precision, the sum of all rows in float64: millions of small terms.
        total = np.vecdot(difference, difference).sum(dtype=np.float64)
        difference *= self.gradient_scale
        return self.scale * float(total), difference
