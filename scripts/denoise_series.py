"""Denoise one series with one trained network or tuned baseline."""

from quietct.denoising import denoise_series
from quietct.logs import logged

if __name__ == "__main__":
    with logged(snakemake):
        denoise_series(snakemake.input.model, snakemake.input.noisy, snakemake.output.volume)
