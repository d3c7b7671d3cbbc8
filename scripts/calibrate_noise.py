"""Find a scanner's photons and kernel from repeat scans."""

from quietct.ct.calibration import calibrate_noise
from quietct.logs import logged

if __name__ == "__main__":
    with logged(snakemake):
        calibrate_noise(
            snakemake.input.volumes,
            snakemake.input.infos,
            snakemake.output.fit,
            snakemake.output.plot,
            calibration=snakemake.params.calibration,
            electronic_noise=snakemake.params.electronic_noise,
            bowtie_mm=snakemake.params.bowtie_mm,
            views=snakemake.params.views,
        )
