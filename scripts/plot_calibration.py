"""Plot the noise of a scanner as measured and as simulated."""

from quietct.figures.calibration import plot_calibration
from quietct.logs import logged

if __name__ == "__main__":
    with logged(snakemake.log[0]):
        plot_calibration(snakemake.input.fit, snakemake.output.plot, snakemake.params.calibration)
