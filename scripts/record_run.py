"""Write down the merged config, the versions and the machine of a run."""

import json

from quietct.logs import logged
from quietct.workflow.record import record_run

if __name__ == "__main__":
    with logged(snakemake):
        record_run(snakemake.output.record, snakemake.params.config, json.loads(snakemake.params.left_out))
