"""Small finished runs for the report, with known HU in every slice."""

import json

import numpy as np
import pandas as pd
import yaml
from PIL import Image, ImageDraw

from quietct.methods import split_method
from quietct.report.build import build_report
from quietct.report.slices import Volumes

SERIES = "scan_1"


def make_config(noises, networks, variants, baselines, title=None):
    config = {
        "run": "small",
        "series": "small.tsv",
        "window_hu": [-160, 240],
        "noise": {noise: {"model": "gaussian", "fraction": 0.1} for noise in noises},
        "networks": {network: {"layers": [{"filters": 1, "kernel": 3}]} for network in networks},
        "variants": {variant: {} for variant in variants},
        "baselines": {baseline: {} for baseline in baselines},
        "preview": {"series": None, "slice": None, "zoom": {"row": 20, "column": 16, "size": 16}},
    }
    return config | ({"report": {"title": title}} if title else {})


def summary_rows(noises, methods, n_slices):
    """A table with a row a noise and method, whose values are told apart by their place."""
    rows = []
    for i, noise in enumerate(noises):
        for k, method in enumerate(["noisy", *methods]):
            network, variant, seed = split_method(method)
            rows.append(
                {
                    "noise": noise, "method": method, "network": network, "variant": variant, "seed": seed,
                    "n_slices": n_slices, "n_failed": 0, "psnr_db": 25.0 + k - 3 * i, "ssim": 0.7 + 0.01 * k,
                    "rmse_hu": 40.0 - k, "bias_hu": -0.5 + 0.2 * k, "ceiling_psnr_db": None, "rmse_corrected_hu": None,
                    "psnr_lung_db": 35.0 + k, "ssim_lung": 0.8 + 0.01 * k, "window_low_hu": -160, "window_high_hu": 240,
                    "lung_window_low_hu": -1350, "lung_window_high_hu": 150,
                    "notes": "ceiling_psnr_db, rmse_corrected_hu: the target is free of noise",
                }
            )  # fmt: skip
    return pd.DataFrame(rows)


def draw_plot(path, size=(400, 200)):
    path.parent.mkdir(parents=True, exist_ok=True)
    image = Image.new("RGB", size, "white")
    ImageDraw.Draw(image).line([(0, size[1]), (size[0], 0)], fill="black", width=3)
    image.save(path)


def draw_film(path, n_frames=4, size=(96, 40)):
    """Frames whose left third stands still."""
    path.parent.mkdir(parents=True, exist_ok=True)
    frames = []
    for k in range(n_frames):
        frame = Image.new("L", size, 40)
        ImageDraw.Draw(frame).rectangle([40, 5, 50 + 8 * k, 30], fill=200)
        frames.append(frame)
    frames[0].save(path, save_all=True, append_images=frames[1:], duration=500, loop=0)


class Run:
    """A folder with what a run leaves, to be changed by a test before the report is built."""

    def __init__(
        self, folder, noises=("mild",), baselines=("gaussian", "median"), title=None, shape=(5, 64, 64), seed=1
    ):
        self.folder, self.noises, self.shape = folder, list(noises), shape
        networks, variants = ["small"], ["sgd", "dilated"]
        self.methods = [*(f"{network}-{variant}-seed1" for network in networks for variant in variants), *baselines]
        self.config = make_config(noises, networks, variants, baselines, title)
        self.summary = summary_rows(noises, self.methods, shape[0])
        self.verdict, self.left_out = None, {}
        random = np.random.default_rng(seed)
        # A body of 40 HU in air, and one pixel of each end of the scale.
        target = np.full(shape, -1000, np.int16)
        target[:, shape[1] // 8 : -shape[1] // 8, shape[2] // 8 : -shape[2] // 8] = 40
        target[:, 0, 0], target[:, 0, 1] = -2000, 4000
        self.volumes = {"target": target}
        for i, noise in enumerate(noises):
            for k, method in enumerate(["noisy", *self.methods]):
                spread = 30 * (i + 1) / (k + 1)
                self.volumes[noise, method] = (target + random.normal(0, spread, shape).round()).astype(np.int16)
        names = [f"cost-{network}" for network in networks]
        names += ["contact-sheet", "noise-power", "task-transfer", "nodules", "slice-quality", "differences"]
        self.plots = [folder / f"figures/{noise}/{name}.png" for noise in noises for name in names]
        self.films = [folder / f"gifs/{n}/training-{m}.gif" for n in noises for m in self.methods if "-" in m]
        for path in self.plots:
            draw_plot(path)
        for path in self.films:
            draw_film(path)
        benchmark = folder / "benchmarks/train_network/mild/small-sgd-seed1.tsv"
        benchmark.parent.mkdir(parents=True)
        benchmark.write_text("s\th:m:s\tmax_rss\tcpu_time\n75.5\t0:01:15\t321.00\t70.0\n")

    def path_of(self, noise, method):
        return self.folder / f"volumes/{noise}-{method}.npy"

    def save(self, path, volume):
        np.save(path, volume)

    def build(self):
        """Write all files and the report; give its path."""
        (self.folder / "volumes").mkdir(exist_ok=True)
        info = {
            "z_mm": [float(k) for k in range(self.shape[0])], "shape": list(self.shape), "kernel": "B40f", "kvp": 120.0,
            "exposure_mas": 25.0, "slice_thickness_mm": 1.0, "manufacturer": "ACME", "model": "One",
            "series_instance_uid": "1.2.3.4.5", "series_description": "Mrs Secret",
        }  # fmt: skip
        info_path = self.folder / "volumes/scan.json"
        info_path.write_text(json.dumps(info))
        target_path = self.folder / "volumes/target.npy"
        self.save(target_path, self.volumes["target"])
        for key, volume in self.volumes.items():
            if key != "target":
                self.save(self.path_of(*key), volume)
        record = {
            "config": self.config,
            "left_out": self.left_out,
            "quietct": "0.1.0",
            "python": "3.11",
            "packages": {"numpy": "2"},
            "machine": {},
        }
        (self.folder / "config.yaml").write_text(yaml.safe_dump(record))
        self.summary.to_csv(self.folder / "summary.tsv", sep="\t", index=False, float_format="%.6g")
        if self.verdict:
            (self.folder / "verdict.json").write_text(json.dumps(self.verdict))
        build_report(
            self.folder / "report.html",
            record=self.folder / "config.yaml",
            summary=self.folder / "summary.tsv",
            verdict=self.folder / "verdict.json",
            volumes=Volumes(
                self.noises,
                self.methods,
                [SERIES],
                [info_path],
                [target_path],
                [self.path_of(noise, "noisy") for noise in self.noises],
                [self.path_of(noise, method) for noise in self.noises for method in self.methods],
            ),
            plots=self.plots,
            films=self.films,
            sheet=[{"series": SERIES, "role": "test", "target": [], "origin": "directory"}],
            infos={SERIES: info_path},
            benchmarks=self.folder / "benchmarks",
        )
        return self.folder / "report.html"
