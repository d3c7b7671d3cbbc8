"""Add noise to a volume."""

import json

from quietct.ct.noise import add_noise
from quietct.logs import logged

if __name__ == "__main__":
    with logged(snakemake):
        params = snakemake.params
        add_noise(
            snakemake.input.volume,
            snakemake.output.volume,
            params.model,
            json.loads(params.settings),
            params.window_hu,
            params.series,
            info_path=snakemake.input.info,
            calibration_path=str(snakemake.input.get("calibration", "")) or None,  # a list of one or none
            threads=snakemake.threads,
        )
