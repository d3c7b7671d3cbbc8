"""Train one network with one back-propagation variant and one seed."""

import json

from quietct.logs import logged
from quietct.training_job import train_network

if __name__ == "__main__":
    with logged(snakemake):
        train_network(
            snakemake.input.patches,
            snakemake.input.preview_noisy,
            snakemake.input.preview_clean,
            snakemake.params.preview_slice,
            weights=snakemake.output.weights,
            history=snakemake.output.history,
            snapshots=snakemake.output.snapshots,
            checkpoint=snakemake.params.checkpoint,
            names={name: snakemake.params[name] for name in ("noise", "network", "variant")},
            seed=int(snakemake.params.seed),
            architecture=json.loads(snakemake.params.architecture),
            variant=json.loads(snakemake.params.rules),
            training={
                **json.loads(snakemake.params.training),
                "checkpoint_seconds": snakemake.params.checkpoint_seconds,
            },
            window_hu=tuple(snakemake.params.window_hu),
            threads=snakemake.threads,
            preview_info=snakemake.input.preview_info,
            split=json.loads(snakemake.params.split),
            infos=snakemake.input.infos,
            code=snakemake.params.code,
        )
