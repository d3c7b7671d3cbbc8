"""The config's settings of the noise model `low_dose`, as a scanner and a fraction of its dose."""

from __future__ import annotations

import json
import logging
import math
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from quietct.ct.low_dose import Kernel, Scanner
from quietct.errors import UserError

logger = logging.getLogger(__name__)

DOSES = ("dose", "exposure_mas")
LIGHTS = ("photons", "photons_per_mas", "calibration")
FITTED = ("electronic_noise", "bowtie_mm", "kernel")


def scanner_of(settings: Mapping[str, Any], info: Mapping[str, Any], calibration_path: str | Path | None) -> Scanner:
    """Read the scanner, with the photons of this series at its full dose.

    Parameters
    ----------
    settings : mapping
        Exactly one of `photons`, `photons_per_mas` (per mAs and mm of slice thickness) and `calibration`; with one of
        the first two possibly `electronic_noise`, `bowtie_mm` and `kernel`; possibly `views`.
    info : mapping
        Facts of the series; `exposure_mas` and `slice_thickness_mm` are used.
    calibration_path : path or None
        JSON written by `calibrate_noise`, where the settings name a calibration. Its photons are scaled by exposure
        and slice thickness; where one of them is not known, it counts as equal.

    Returns
    -------
    Scanner

    Raises
    ------
    UserError
        If a setting is missing, senseless or one too many, a fact of the series is not known, or the file is broken.
    """
    known = {"seed", "views", *DOSES, *LIGHTS, *FITTED}
    if unknown := sorted(set(settings) - known):
        raise UserError(
            f"The noise model low_dose knows no setting `{unknown[0]}`; it takes {', '.join(sorted(known))}."
        )
    light = _only_one(settings, LIGHTS)
    if light == "calibration":
        return _calibrated(settings, info, calibration_path)
    photons = settings[light]
    if light == "photons_per_mas":
        per_mas = _positive(photons, f"The noise setting `{light}`")
        exposure, thickness = (_known(info, fact) for fact in ("exposure_mas", "slice_thickness_mm"))
        for fact, value in (("exposure", exposure), ("slice thickness", thickness)):
            if value is None:
                raise UserError(
                    f"The noise setting `photons_per_mas` needs the scan's {fact}, which its DICOM files do not tell. "
                    "Give `photons` instead."
                )
        assert exposure is not None
        assert thickness is not None
        photons = per_mas * exposure * thickness
    return Scanner(
        photons,
        settings.get("electronic_noise", 0.0),
        settings.get("bowtie_mm"),
        _kernel(settings.get("kernel")),
        settings.get("views", 360),
    )


def dose_of(settings: Mapping[str, Any], info: Mapping[str, Any]) -> float:
    """Read the fraction of the scan's own dose, from `dose` or `exposure_mas`.

    Raises
    ------
    UserError
        If there is not exactly one of the two, it makes no sense, or the scan's exposure is not known or lower.
    """
    key = _only_one(settings, DOSES)
    value = _positive(settings[key], f"The noise setting `{key}`")
    if key == "dose":
        if value > 1:
            raise UserError(f"The noise setting `dose` is {value:g}; it is a fraction of the scan's own and at most 1.")
        return value
    exposure = _known(info, "exposure_mas")
    if exposure is None:
        raise UserError(
            "The noise setting `exposure_mas` needs the scan's own exposure, which its DICOM files do not tell. "
            "Give `dose`, a fraction of it, instead."
        )
    if value > exposure * (1 + 1e-6):
        raise UserError(
            f"The noise setting `exposure_mas` is {value:g}, but the scan has {exposure:g} mAs; noise can be added, "
            "not taken away."
        )
    return min(value / exposure, 1.0)


def _calibrated(settings: Mapping[str, Any], info: Mapping[str, Any], path: str | Path | None) -> Scanner:
    if beside := [key for key in FITTED if key in settings]:
        raise UserError(
            f"The noise setting `{beside[0]}` comes from the calibration; leave it out beside `calibration`."
        )
    if path is None:
        raise UserError(f"The noise setting `calibration` is {settings['calibration']!r}, but there is no file of it.")
    try:
        fit = json.loads(Path(path).read_text(encoding="utf-8"))
        photons = _positive(fit["photons"], "photons")
        factor = 1.0
        for fact, unit in (("exposure_mas", "mAs"), ("slice_thickness_mm", "mm")):
            there, here = _known(fit, fact), _known(info, fact)
            if there is None or here is None:
                logger.warning("`%s` is not known of both the calibration and the scan; it counts as equal.", fact)
                continue
            factor *= here / there
            if here != there:
                logger.info("Calibrated at %g %s, used at %g %s.", there, unit, here, unit)
        scanner = Scanner(
            photons * factor,
            fit.get("electronic_noise", 0.0),
            fit.get("bowtie_mm"),
            _kernel(fit.get("kernel")),
            fit.get("views", 360),
        )
    except FileNotFoundError:
        raise UserError(f"{path} does not exist.") from None
    except UserError as error:
        raise UserError(f"{path} is no calibration that can be used: {error}") from None
    except (ValueError, TypeError, KeyError, AttributeError) as error:
        raise UserError(
            f"{path} is no calibration ({type(error).__name__}: {error}). Delete it and run again."
        ) from None
    return replace(scanner, views=settings["views"]) if "views" in settings else scanner


def _kernel(curve: Any) -> Kernel | None:
    if curve is None:
        return None
    if not isinstance(curve, Mapping) or set(curve) != {"frequency_per_mm", "gain"}:
        raise UserError("The setting `kernel` must have exactly the keys `frequency_per_mm` and `gain`.")
    return Kernel(**curve)


def _only_one(settings: Mapping[str, Any], keys: tuple[str, ...]) -> str:
    given = [key for key in keys if settings.get(key) is not None]
    if len(given) != 1:
        raise UserError(
            f"The noise model low_dose needs exactly one of {', '.join(keys)}; "
            f"there is {' and '.join(given) if given else 'none'}."
        )
    return given[0]


def _positive(value: Any, name: str) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 < value < math.inf:
        raise UserError(f"{name} is {value!r}; it must be a number above 0.")
    return float(value)


def _known(info: Mapping[str, Any], fact: str) -> float | None:
    """Get a positive number from the facts of a series; anything else counts as not known."""
    value = info.get(fact)
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 < value < math.inf:
        return None
    return float(value)
