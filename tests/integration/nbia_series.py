"""A series for the server that speaks as NBIA does, and what tests ask of what came of it."""

from io import BytesIO

import numpy as np
from dicom_files import make_slice
from nbia_server import archive_of

SERIES, OTHER = "1.2.3.4.5", "1.2.3.4.6"
HEIGHTS = [6.0, 0.0, 9.0, 3.0]  # not in order, as in the server's database
ARCHIVE, SINGLE, LIST, MD5 = "getImageWithMD5Hash", "getSingleImage", "getSOPInstanceUIDs", "getMD5HashForImage"


def make_images(series=SERIES, heights=HEIGHTS, size=(64, 64), seed=1):
    """Images of noise, which does not deflate, by SOPInstanceUID."""
    rng, images = np.random.default_rng(seed), {}
    for k, z in enumerate(heights):
        stored = rng.integers(0, 65536, size, dtype=np.uint16)
        uid, file = f"{series}.{k + 1}", BytesIO()
        make_slice(z, stored, SeriesInstanceUID=series, SOPInstanceUID=uid).save_as(file, enforce_file_format=True)
        images[uid] = file.getvalue()
    return images


def in_order(images, heights=HEIGHTS):
    return [data for _, data in sorted(zip(heights, images.values(), strict=True))]


def table_row(images):
    size_mb = sum(map(len, images.values())) / 1e6
    return {"n_slices": len(images), "size_mb": size_mb, "usual_n_slices": len(images)}


def archive_with(**changes):
    """The right archive with other entries, digests or none."""
    images = {f"{k:08}.dcm": data for k, data in enumerate(make_images().values(), start=1)}
    return archive_of(images, **changes)


def assert_one_sentence(error, *words):
    text = str(error.value)
    assert all(word in text for word in words), text
    assert "\n" not in text
    assert len(text) < 500
