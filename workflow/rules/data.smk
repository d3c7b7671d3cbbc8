"""
DICOM series in, HU volumes out.

INPUTS
    the series sheet, and the locations it names
OUTPUTS
    <resources>/dicom/{series}          DICOM files of one CT series
    <results>/volumes/{series}.npy      int16 HU (slices, rows, columns)
    <results>/volumes/{series}.json     spacing, positions, dose and identifiers
    <results>/config.yaml               what the run was made with
"""


rule fetch_series:
    input:
        get_location,
    output:
        dicom=directory("<resources>/dicom/{series}"),
    log:
        "<logs>/fetch_series/{series}.log",
    benchmark:
        "<benchmarks>/fetch_series/{series}.tsv"
    priority: 50  # the trainings wait for it
    conda:
        "../../environment.yml"
    threads: 1
    resources:
        mem_mb=1000,
        runtime="30m",
    params:
        source=get_cell("source"),
        location=lambda wildcards, input: input[0] if input else None,
        nodule_layout=get_cell("nodule_layout"),
        exposure_mas=get_cell("exposure_mas"),
        repeat=get_cell("repeat"),
        n_slices=get_cell("n_slices"),
        slice_spacing_mm=get_cell("slice_spacing_mm"),
        series_instance_uid=get_cell("series_instance_uid"),
        code=get_code("fetch_series"),
    message:
        "Fetching the DICOM series {wildcards.series}"
    script:
        "../../scripts/fetch_series.py"


rule convert_series:
    input:
        dicom="<resources>/dicom/{series}",
    output:
        volume="<results>/volumes/{series}.npy",
        info="<results>/volumes/{series}.json",
    log:
        "<logs>/convert_series/{series}.log",
    benchmark:
        "<benchmarks>/convert_series/{series}.tsv"
    priority: 50  # the trainings wait for it
    conda:
        "../../environment.yml"
    threads: 1
    resources:
        mem_mb=1000,
        runtime="15m",
    params:
        clip_hu=config["window_hu"] if config.get("clip_to_window") else None,
        code=get_code("convert_series"),
    message:
        "Converting {wildcards.series} to HU"
    script:
        "../../scripts/convert_series.py"


rule record_run:
    output:
        record="<results>/config.yaml",
    log:
        "<logs>/record_run/record.log",
    conda:
        "../../environment.yml"
    threads: 1
    resources:
        mem_mb=500,
        runtime="5m",
    params:
        config=canonical_json(config),
    message:
        "Writing down config, versions and machine"
    script:
        "../../scripts/record_run.py"
