"""Write down where the nodules of a series are, as far as it is known."""

from quietct.ct.nodule_truth import locate_nodules
from quietct.logs import logged

if __name__ == "__main__":
    with logged(snakemake):
        known = str(snakemake.input.get("known", "")) or None  # a list of one or none
        locate_nodules(snakemake.output.nodules, snakemake.params.layout, known)
