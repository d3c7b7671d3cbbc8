"""Measure what a slice of low-dose noise costs, and what projecting at half resolution changes.

    .venv/bin/python benchmarks/low_dose.py --json low_dose.json

A slice of the synthetic chest (512 x 512 pixels of 0.7 mm) is projected at full and at half resolution; then noise is
made at a quarter of the dose, once with its projection and once more with the sinogram at hand. All of them take turns,
on one core; times are medians over rounds, and the processor's own time beside that of the clock tells how much a busy
machine got in the way. The error of half resolution is that of the noise's standard deviation around a pixel, from
noise images with the same random numbers behind both projections. `--picture FILE` draws the noise.
"""

import argparse
import statistics
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import skimage
from PIL import Image
from scipy.ndimage import uniform_filter

from quietct.ct.low_dose import Scanner, extra_noise
from quietct.ct.phantom import phantom
from quietct.ct.projection import Sinogram, project
from table import describe_machine, print_facts, print_table, write_json

PIXEL_MM, DOSE = 360 / 512, 0.25
SCANNER = Scanner(1e5, electronic_noise=10, bowtie_mm=500)
COLUMNS = {
    "views": ("views", "{}"),
    "side": ("side", "{}"),
    "full_ms": ("full projection ms", "{:.0f}"),
    "half_ms": ("half ms", "{:.0f}"),
    "noise_ms": ("slice with noise ms", "{:.0f}"),
    "noise_cpu_ms": ("CPU ms", "{:.0f}"),
    "again_ms": ("once more ms", "{:.0f}"),
    "sd_error_median": ("SD error median", "{:.2%}"),
    "sd_error_p99": ("99th percentile", "{:.2%}"),
}


def main() -> None:
    """Measure, print and write."""
    options = read_options()
    facts = describe_machine() | {"scikit-image": skimage.__version__, "numpy": np.__version__}
    print_facts(facts)
    hu = phantom(1).render_slice(0.0)[:: options.thin, :: options.thin]
    pixel_mm = PIXEL_MM * options.thin
    rows = [measure(hu, pixel_mm, views, options.rounds, options.images) for views in options.views]
    print_table(COLUMNS, rows)
    if options.json:
        write_json(options.json, COLUMNS, rows, facts)
    if options.picture:
        draw(hu, pixel_mm, options.picture)


def read_options() -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=7, help="turns of each (%(default)s)")
    parser.add_argument("--views", type=int, nargs="+", default=[180, 360, 720], help="in half a turn (%(default)s)")
    parser.add_argument("--images", type=int, default=12, help="noise images for the error (%(default)s)")
    parser.add_argument("--json", type=Path, help="file to write: a list with one object per number of views")
    parser.add_argument("--picture", type=Path, help="PNG to write: a slice at a tenth of its dose, and its noise")
    parser.add_argument("--quick", action="store_true", help="a small slice: shows that all works, not speed")
    options = parser.parse_args()
    options.thin = 1
    if options.quick:
        options.rounds, options.views, options.images, options.thin = 1, [90], 3, 4
    return options


def measure(hu: np.ndarray, pixel_mm: float, views: int, rounds: int, images: int) -> dict[str, Any]:
    """Time all steps in turns, and compare the noise of both projections."""
    rng = np.random.default_rng(1)
    full, half = (project(hu, pixel_mm, views, bins=bins) for bins in (1, 2))
    steps: dict[str, Callable[[], Any]] = {
        "full_ms": lambda: project(hu, pixel_mm, views, bins=1),
        "half_ms": lambda: project(hu, pixel_mm, views),
        "noise_ms": lambda: extra_noise(project(hu, pixel_mm, views), SCANNER, DOSE, rng),
        "again_ms": lambda: extra_noise(half, SCANNER, DOSE, rng),
    }
    turns: dict[str, list[float]] = {name: [] for name in (*steps, "noise_cpu_ms")}
    for _ in range(1 + rounds):
        for name, step in steps.items():
            start, cpu_start = time.perf_counter(), time.process_time()
            step()
            turns[name].append(1000 * (time.perf_counter() - start))
            if name == "noise_ms":
                turns["noise_cpu_ms"].append(1000 * (time.process_time() - cpu_start))
    error = np.abs(sd_map(half, images) / sd_map(full, images) - 1)[hu > -900]
    return {
        "views": views,
        "side": len(hu),
        **{name: statistics.median(times[1:]) for name, times in turns.items()},
        "sd_error_median": float(np.median(error)),
        "sd_error_p99": float(np.quantile(error, 0.99)),
    }


def sd_map(sinogram: Sinogram, images: int) -> np.ndarray:
    """Map the standard deviation of the noise around every pixel (HU): of 5 x 5 pixels in several images."""
    squares = np.zeros(sinogram.shape)
    for seed in range(images):
        squares += extra_noise(sinogram, SCANNER, DOSE, np.random.default_rng(seed)).astype(float) ** 2
    return np.sqrt(np.maximum(uniform_filter(squares / images, 5), 1e-9))


def draw(hu: np.ndarray, pixel_mm: float, path: Path) -> None:
    """Draw the slice at a tenth of its dose in a lung window, and beside it the noise from -300 to 300 HU."""
    noise = extra_noise(project(hu, pixel_mm), SCANNER, 0.1, np.random.default_rng(1))
    both = np.hstack([(hu + noise + 1350) / 1500, (noise + 300) / 600])
    grey = Image.fromarray((255 * np.clip(both, 0, 1)).astype(np.uint8))
    # Few grey levels keep the file small.
    grey.resize((600, 300), Image.Resampling.LANCZOS).quantize(32).save(path, optimize=True)


if __name__ == "__main__":
    main()
