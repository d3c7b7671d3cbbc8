"""The columns of the quality tables, in their order, and why a cell can be empty."""

from __future__ import annotations

METRICS = ("psnr_db", "ssim", "rmse_hu", "bias_hu")
# What the noise of the target allows.
REFERENCE_METRICS = ("ceiling_psnr_db", "rmse_corrected_hu")
WINDOW_METRICS = ("psnr_lung_db", "ssim_lung", "psnr_mediastinum_db", "ssim_mediastinum")
OTHER_METRICS = ("vif", "noise_index_hu")
TISSUES = ("lung", "soft_tissue", "bone", "nodule")
TISSUE_METRICS = tuple(f"{measure}_{tissue}_hu" for tissue in TISSUES for measure in ("rmse", "bias"))

# Every measure of a slice.
MEASURES = (*METRICS, *REFERENCE_METRICS, *WINDOW_METRICS, *OTHER_METRICS, *TISSUE_METRICS)
# The ends of the windows that PSNR and SSIM are taken in, HU; the width of a window is the data range.
WINDOW_COLUMNS = (
    "window_low_hu",
    "window_high_hu",
    "lung_window_low_hu",
    "lung_window_high_hu",
    "mediastinum_window_low_hu",
    "mediastinum_window_high_hu",
)

# Why no slice has a measure, where no method has failed.
REASONS = {
    **dict.fromkeys(METRICS, "nothing was measured"),
    **dict.fromkeys(REFERENCE_METRICS, "the noise of the target is not known, or the target has none"),
    **dict.fromkeys(WINDOW_METRICS[:2], "the grey scale of the scan ends within the lung window"),
    **dict.fromkeys(WINDOW_METRICS[2:], "the grey scale of the scan ends within the mediastinum window"),
    "vif": "the target is constant",
    "noise_index_hu": "the slices show too little even soft tissue",
    **dict.fromkeys(
        TISSUE_METRICS[:2], "the slices show no lung off its edges, or the scan's grey scale ends within it"
    ),
    **dict.fromkeys(TISSUE_METRICS[2:4], "the slices show no soft tissue off its edges"),
    **dict.fromkeys(
        TISSUE_METRICS[4:6], "the slices show no bone off its edges, or the scan's grey scale ends within it"
    ),
    **dict.fromkeys(TISSUE_METRICS[6:], "no nodule is known in the slices, or none is large enough"),
}
