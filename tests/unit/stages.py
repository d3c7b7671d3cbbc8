"""Run stages of the workflow, each in a process of its own, and print how much memory each needed at most.

    python stages.py FOLDER SLICES STAGE ...

The modules are imported before a stage is forked off, so that they count in all stages alike.
"""

import json
import os
import sys
from pathlib import Path

import numpy as np
from dicom_files import write_slice
from repeats import chest
from small_training import NETWORK

from quietct.apply.denoise_dicom import denoise_dicom
from quietct.ct.calibration import calibrate_noise
from quietct.ct.dicom.convert import convert_series
from quietct.ct.matching import match_target
from quietct.ct.noise import add_noise
from quietct.ct.patches import extract_patches
from quietct.ct.volume import new_volume, to_int16, write_info
from quietct.denoising import denoise_series
from quietct.evaluation.physics import measure_physics
from quietct.evaluation.quality import measure_quality
from quietct.evaluation.tuning import tune_baseline
from quietct.figures.contact_sheet import Zoom, plot_contact_sheet
from quietct.figures.gif import render_scroll_gif
from quietct.figures.nodules import plot_nodules
from quietct.nn.architecture import Architecture
from quietct.nn.network import Network
from quietct.nn.weights import save_network
from quietct.report.slices import Volumes, embed_slices

SIDE = 192
WINDOW = (-1350.0, 150.0)
NAMES = {"noise": "mild", "method": "noisy", "series": "scan"}
ZOOM = Zoom(60, 60, 64)
LOW_DOSE = {"photons": 1e5, "dose": 0.5, "views": 24}
PATCHES = {"layout": "random", "size": 32, "per_slice": 4}


class Files:
    """The files of one series, by what they are."""

    def __init__(self, folder, slices):
        self.folder, self.slices = Path(folder), slices

    def __getattr__(self, name):
        return self.folder / name.replace("_", ".")

    @property
    def pair(self):
        return self.clean_npy, self.noisy_npy

    def write(self):
        """Write a chest with noise, twice, and what belongs to it."""
        rng, image = np.random.default_rng(1), chest(side=SIDE).astype(np.float32)
        image[90:102, 60:72] = 40  # a nodule
        for name, sd in (("clean", 0), ("noisy", 20), ("again", 20)):
            with new_volume(self.folder / f"{name}.npy", (self.slices, SIDE, SIDE)) as volume:
                for k in range(self.slices):
                    volume[k] = to_int16(image + sd * rng.standard_normal(image.shape, np.float32))
        facts = {"z_mm": [2.0 * k for k in range(self.slices)], "spacing_mm": [1.5, 1.5], "exposure_mas": 100.0,
                 "slice_thickness_mm": 2.0, "shape": [self.slices, SIDE, SIDE], "kernel": "B", "kvp": 120.0,
                 "orientation": [1, 0, 0, 0, 1, 0]}  # fmt: skip
        for name in ("clean", "noisy", "again"):
            uids = [f"1.2.{len(name)}{ord(name[0])}.{k}" for k in range(self.slices)]
            write_info(self.folder / f"{name}.json", facts | {"sop_instance_uids": uids})
        self.nodules_tsv.write_text("row\tcolumn\tz_mm\tdiameter_mm\thu\n95.5\t65.5\t8\t18\t40\n")
        network = Network(Architecture.from_config(NETWORK))
        network.initialise(np.random.default_rng(1))
        save_network(self.weights_npz, network, {"normalisation": {"shift_hu": 0, "scale_hu": 500}})
        self.median_json.write_text(json.dumps({"baseline": "median", "settings": {"size_px": 3}}))
        stored = (to_int16(image) + 1024).astype(np.uint16)
        self.dicom.mkdir()
        for k in range(self.slices):
            write_slice(self.dicom / f"{k}.dcm", 2.0 * k, stored, PixelSpacing=[1.5, 1.5])
        measure_physics(*self.physics, exact_target=True, **NAMES)

    @property
    def physics(self):
        return self.clean_npy, self.clean_json, self.noisy_npy, self.nodules_tsv, self.physics_json

    @property
    def report(self):
        return Volumes(
            ["mild"], ["median"], ["scan"], [self.clean_json], [self.clean_npy], [self.noisy_npy], [self.again_npy]
        )


# What each stage does with the volumes of a series.
STAGES = {
    "convert_series": lambda f: convert_series(f.dicom, f.out_npy, f.out_json),
    "match_target": lambda f: match_target(
        f.noisy_npy, f.noisy_json, [f.again_npy], [f.again_json], f.out_npy, f.out_json, f.target_npy,
        series="noisy", names=["again"], window_hu=WINDOW),
    "add_noise (gaussian)": lambda f: add_noise(f.clean_npy, f.out_npy, "gaussian", {"fraction": 0.1}, WINDOW, "scan"),
    "add_noise (low_dose)": lambda f: add_noise(
        f.clean_npy, f.out_npy, "low_dose", LOW_DOSE, WINDOW, "scan", f.clean_json),
    "calibrate_noise": lambda f: calibrate_noise(
        [f.noisy_npy, f.again_npy], [f.noisy_json, f.again_json], f.fit_json, calibration="x", views=24),
    "extract_patches": lambda f: extract_patches(*f.pair, f.out_npy, PATCHES, "scan"),
    "tune_baseline": lambda f: tune_baseline(
        [f.clean_npy], [f.noisy_npy], f.out_json, "median", {"size_px": [3]}, 3, WINDOW),
    "denoise_series (network)": lambda f: denoise_series(f.weights_npz, f.noisy_npy, f.out_npy),
    "denoise_series (baseline)": lambda f: denoise_series(f.median_json, f.noisy_npy, f.out_npy),
    "denoise_dicom": lambda f: denoise_dicom(f.weights_npz, f.dicom, f.out_dicom),
    "measure_quality": lambda f: measure_quality(
        f.clean_npy, f.clean_json, f.noisy_npy, f.out_tsv, window_hu=WINDOW, nodules=f.nodules_tsv, **NAMES),
    "measure_physics": lambda f: measure_physics(*f.physics, exact_target=True, **NAMES),
    "render_scroll_gif": lambda f: render_scroll_gif(
        f.clean_npy, f.clean_json, f.noisy_npy, f.again_npy, f.out_gif, **NAMES, window_hu=WINDOW, frame_ms=100,
        size_px=96),
    "plot_contact_sheet": lambda f: plot_contact_sheet(
        f.clean_npy, f.clean_json, f.noisy_npy, [f.again_npy], f.out_png, ["median"], "mild", "scan", WINDOW, None,
        ZOOM),
    "plot_nodules": lambda f: plot_nodules(
        [f.physics_json], [f.clean_npy], [f.clean_json], [f.noisy_npy], f.out_png, ["noisy"], ["scan"], "mild", WINDOW),
    "build_report": lambda f: embed_slices(f.report, None, {"slice": None, "zoom": ZOOM._asdict()}, 10**7),
    "(a stage that loads a volume)": lambda f: np.load(f.clean_npy).sum(),
    "(a stage that maps a volume)": lambda f: np.load(f.clean_npy, mmap_mode="r").sum(),
}  # fmt: skip


def peak_mb():
    """Most memory that this process has had at a time, MB."""
    status = Path("/proc/self/status").read_text()
    return int(status.split("VmHWM:")[1].split()[0]) / 1024


def peak_of(stage, files):
    """Run a stage in a forked process and give its peak above what the process had before, MB."""
    ours, theirs = os.pipe()
    if not (child := os.fork()):
        before = peak_mb()
        STAGES[stage](files)
        os.write(theirs, str(peak_mb() - before).encode())
        os._exit(0)
    os.close(theirs)
    with open(ours) as answer:
        text = answer.read()
    assert os.waitpid(child, 0)[1] == 0, stage
    return float(text)


if __name__ == "__main__":
    own = Files(sys.argv[1], int(sys.argv[2]))
    if not (writer := os.fork()):  # what writing leaves behind is not counted
        own.write()
        os._exit(0)
    assert os.waitpid(writer, 0)[1] == 0
    print(json.dumps({stage: peak_of(stage, own) for stage in sys.argv[3:]}))
