"""Find a scanner's photons and kernel from repeat scans."""

import json

from quietct.ct.calibration import calibrate_noise
from quietct.logs import logged

if __name__ == "__main__":
    with logged(snakemake):
        calibrate_noise(
            snakemake.input.volumes,
            snakemake.input.infos,
            snakemake.output.fit,
            calibration=snakemake.params.calibration,
            **json.loads(snakemake.params.settings),
        )
