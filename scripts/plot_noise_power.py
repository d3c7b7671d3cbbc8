"""Plot the noise power spectra of all methods."""

from quietct.figures.noise_power import plot_noise_power
from quietct.logs import logged

if __name__ == "__main__":
    with logged(snakemake):
        plot_noise_power(snakemake.input.measures, snakemake.output.plot, noise=snakemake.params.noise)
