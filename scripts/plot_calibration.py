"""Plot the noise of a scanner as measured and as simulated."""

from quietct.figures.calibration import plot_calibration
from quietct.logs import logged

if __name__ == "__main__":
    with logged(snakemake):
        plot_calibration(snakemake.input.fit, snakemake.output.plot, snakemake.params.calibration)
