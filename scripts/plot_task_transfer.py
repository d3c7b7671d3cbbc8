"""Plot the task transfer functions of all methods."""

from quietct.figures.task_transfer import plot_task_transfer
from quietct.logs import logged

if __name__ == "__main__":
    with logged(snakemake):
        plot_task_transfer(snakemake.input.measures, snakemake.output.plot, noise=snakemake.params.noise)
