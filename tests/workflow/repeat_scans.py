"""Scans of the synthetic chest at several doses as DICOM, with noise that costs nothing to make."""

import numpy as np
from dicom_files import write_slice
from scipy.ndimage import fourier_shift

from quietct.ct.phantom import FIELD_OF_VIEW_MM, ROWS, scan_slice

STEP_MM = 3.0
NOISE_HU = {25: 24.0, 200: 8.5}  # by mAs; their ratio is the root of 8
TRUNK = np.s_[:, 180:330, 120:390]  # of a volume: far from air, whose noise is cut off at -1024 HU


def make_truth(count):
    """The chest without noise at the heights 0, 3, 6, ... mm: HU (count, 512, 512)."""
    return np.stack([scan_slice(3, STEP_MM * k, STEP_MM, np.inf, 1) for k in range(count)])


def moved(image, shift_px):
    return np.fft.ifft2(fourier_shift(np.fft.fft2(image), shift_px)).real


def noise(rng):
    """Noise with the power spectrum that filtered back-projection and a soft kernel leave, SD 1."""
    frequency = np.hypot(np.fft.fftfreq(ROWS)[:, None], np.fft.rfftfreq(ROWS)[None, :])
    gain = np.sqrt(frequency) * np.where(frequency < 0.5, np.cos(np.pi * frequency) ** 2, 0)
    field = np.fft.irfft2(np.fft.rfft2(rng.standard_normal((ROWS, ROWS))) * gain, s=(ROWS, ROWS))
    return field / field.std()


def write_scan(folder, truth, exposure_mas, seed, slices=slice(None), shift_px=(0, 0), uid=None):
    """Write a scan of the slices of a truth, each at its height."""
    rng = np.random.default_rng(seed)
    for k in range(len(truth))[slices]:
        hu = moved(truth[k], shift_px) + NOISE_HU[exposure_mas] * noise(rng)
        stored = np.clip(np.rint(hu) + 1024, 0, 4095).astype(np.uint16)
        write_slice(
            folder / f"{k:04}.dcm",
            STEP_MM * k,
            stored,
            SeriesInstanceUID=uid or f"1.2.3.4.{seed}",
            StudyInstanceUID=f"1.2.3.{exposure_mas}",
            PixelSpacing=[FIELD_OF_VIEW_MM / ROWS] * 2,
            Exposure=exposure_mas,
            InstanceNumber=k + 1,
        )
