"""Show all methods on one slice: whole, enlarged, and their difference to the target."""

import json

from quietct.figures.contact_sheet import Zoom, plot_contact_sheet
from quietct.logs import logged

if __name__ == "__main__":
    with logged(snakemake):
        plot_contact_sheet(
            snakemake.input.clean,
            snakemake.input.info,
            snakemake.input.noisy,
            snakemake.input.images,
            snakemake.output.plot,
            methods=snakemake.params.methods,
            noise=snakemake.params.noise,
            series=snakemake.params.series,
            window_hu=snakemake.params.window_hu,
            slice_index=snakemake.params.slice,
            zoom=Zoom(**json.loads(snakemake.params.zoom)),
            split=json.loads(snakemake.params.split),
            target_label=snakemake.params.target_label,
        )
