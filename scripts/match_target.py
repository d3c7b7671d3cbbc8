"""Bring the targets of a scan to its slices and its pixel grid."""

from quietct.ct.matching import match_target
from quietct.logs import logged

if __name__ == "__main__":
    with logged(snakemake):
        match_target(
            snakemake.input.scan,
            snakemake.input.scan_info,
            snakemake.input.targets,
            snakemake.input.target_infos,
            snakemake.output.matched,
            snakemake.output.matched_info,
            snakemake.output.target,
            series=snakemake.params.series,
            names=snakemake.params.names,
            window_hu=snakemake.params.window_hu,
        )
