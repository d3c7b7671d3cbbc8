"""Compare the methods of a finished run with BM3D on some of its test slices.

    .venv/bin/pip install bm3d        # free for non-commercial use only, hence no part of the project
    .venv/bin/python benchmarks/compare_with_bm3d.py results/real_slices gaussian_30 repeat_2 --slices 20 50 80 110

Prints a table of mean PSNR and SSIM over the slices, best PSNR first, and writes it as JSON into the run's folder.
BM3D is told the true standard deviation of the noise; the other classical methods estimate it.
"""

import argparse
import json
from pathlib import Path

import pandas as pd

from quietct.ct.volume import open_volume
from quietct.evaluation.metrics import psnr_db, ssim


def of_the_run(run: Path, noise: str, series: str, slices: list[int]) -> pd.DataFrame:
    """Read the metrics of all methods of a run on the slices."""
    tables = [pd.read_csv(path, sep="\t") for path in sorted((run / "metrics" / noise).glob(f"*/{series}.tsv"))]
    table = pd.concat(tables, ignore_index=True)
    return table[table["slice"].isin(slices)]


def of_bm3d(run: Path, noise: str, series: str, slices: list[int], window_hu: tuple[float, float]) -> pd.DataFrame:
    """Denoise the slices by BM3D (Dabov et al., IEEE Trans. Image Process. 16(8), 2007) and measure them."""
    import bm3d

    clean, noisy = open_volume(run / f"volumes/{series}.npy"), open_volume(run / f"noisy/{noise}/{series}.npy")
    low, high = window_hu
    rows = []
    for k in slices:
        # BM3D is made for grey values from 0 to 1; in HU it loses half a dB.
        image, truth = ((volume[k].astype(float) - low) / (high - low) for volume in (noisy, clean))
        denoised = bm3d.bm3d(image, float((image - truth).std())) * (high - low) + low
        rows.append(
            {
                "method": "bm3d",
                "psnr_db": psnr_db(denoised, clean[k], window_hu),
                "ssim": ssim(denoised, clean[k], window_hu),
            }
        )
    return pd.DataFrame(rows)


def main() -> None:
    """Print and write the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("run", type=Path, help="folder of a finished run")
    parser.add_argument("noise")
    parser.add_argument("series")
    parser.add_argument("--slices", type=int, nargs="+", required=True, help="counted from 0")
    options = parser.parse_args()
    known = of_the_run(options.run, options.noise, options.series, options.slices)
    window = (float(known["window_low_hu"].iloc[0]), float(known["window_high_hu"].iloc[0]))
    other = of_bm3d(options.run, options.noise, options.series, options.slices, window)
    table = pd.concat([known, other]).groupby("method")[["psnr_db", "ssim"]].mean()
    table = table.sort_values("psnr_db", ascending=False)
    print(f"{options.noise}, {options.series}, slices {options.slices}, window {window[0]:g} to {window[1]:g} HU")
    print(table.to_string(float_format="%.3f"))
    record = {"slices": options.slices, "window_hu": window, "methods": table.to_dict("index")}
    Path(options.run, f"compare_with_bm3d-{options.noise}.json").write_text(json.dumps(record, indent=1) + "\n")


if __name__ == "__main__":
    main()
