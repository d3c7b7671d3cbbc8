"""Named windows of the grey scale, as radiologists use them for the chest, and which of them a scan fills.

Lung and mediastinum are the windows in which low-dose CT is judged most often, for instance by ldct-benchmark (Eulig
et al., Med. Phys. 51(12), 2024).
"""

from __future__ import annotations

from quietct.ct.clipping import GreyScale

# Ends in HU; centre and width are in the comments, as a workstation shows them.
LUNG_HU = (-1350.0, 150.0)  # C -600, W 1500
MEDIASTINUM_HU = (-160.0, 240.0)  # C 40, W 400

TOLERANCE_HU = 1.0  # grey values of pictures are rounded to whole HU


def holds(scale: GreyScale, window_hu: tuple[float, float]) -> bool:
    """Tell whether a scan's grey scale goes on to both ends of a window.

    In a picture that ends at -160 HU all lungs are equal: a number of the lung window would say how well a method
    reproduces that constant, and look far too good.

    Parameters
    ----------
    scale : GreyScale
        Ends of the grey scale; None where it is not cut off.
    window_hu : (low, high)
        HU.
    """
    low, high = window_hu
    return (scale.low_hu is None or scale.low_hu <= low + TOLERANCE_HU) and (
        scale.high_hu is None or scale.high_hu >= high - TOLERANCE_HU
    )
