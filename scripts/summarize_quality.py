"""Average the slice metrics of every method into one table."""

from quietct.evaluation.summary import summarize_quality
from quietct.logs import logged

if __name__ == "__main__":
    with logged(snakemake):
        summarize_quality(snakemake.input.metrics, snakemake.output.summary, snakemake.input.physics)
