"""Derived series for the tests, and how to look at them."""

from pathlib import Path

import numpy as np
from pydicom import dcmread

from quietct.ct.dicom.derived import Derivation, write_derived
from quietct.ct.dicom.series import read_series

DERIVATION = Derivation("Denoised by quietct with the weights 9f2c.", "9f2c0a", "Denoised (test)")


def smoothed(hu):
    """Another image that is about the same: the mean with the four neighbours."""
    padded = np.pad(hu, 1, mode="edge")
    return (hu + padded[:-2, 1:-1] + padded[2:, 1:-1] + padded[1:-1, :-2] + padded[1:-1, 2:]) / 5


def derive(source, target, denoise=smoothed, derivation=DERIVATION, **options):
    """Write the derived series of the series in a folder; gives its files."""
    Path(target).mkdir()
    write_derived(read_series(source).images, denoise, target, derivation, **options)
    return sorted(Path(target).iterdir())


def derived(source, target, *args, **options):
    """Do the same; gives data sets."""
    return [dcmread(path) for path in derive(source, target, *args, **options)]


def hu_of(dataset):
    """HU by pydicom's decoding alone."""
    return dataset.pixel_array * float(dataset.RescaleSlope) + float(dataset.RescaleIntercept)
