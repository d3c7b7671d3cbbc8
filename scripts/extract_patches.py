"""Cut pairs of noisy patches and patches of the target out of a series."""

import json

from quietct.ct.patches import extract_patches
from quietct.logs import logged

if __name__ == "__main__":
    with logged(snakemake):
        extract_patches(
            snakemake.input.clean,
            snakemake.input.noisy,
            snakemake.output.patches,
            json.loads(snakemake.params.settings),
            snakemake.params.series,
            info_path=snakemake.input.info,
            split=json.loads(snakemake.params.split),
        )
