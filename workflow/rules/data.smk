"""
DICOM series in, HU volumes out.

INPUTS
    the series sheet, and the locations it names
OUTPUTS
    <resources>/dicom/{dataset}         DICOM files of one CT series; {dataset} is the UID of a collection's series, for
                                        all runs and sheets, and else the name in the sheet
    <results>/volumes/{series}.npy      int16 HU (slices, rows, columns)
    <results>/volumes/{series}.json     spacing, positions, dose and identifiers
    <results>/config.yaml               what the run was made with
"""


rule fetch_series:
    input:
        get_files,
    output:
        dicom=directory("<resources>/dicom/{dataset}"),
    log:
        "<logs>/fetch_series/{dataset}.log",
    benchmark:
        "<benchmarks>/fetch_series/{dataset}.tsv"
    wildcard_constraints:
        dataset=one_of(TO_FETCH),
    priority: 50  # the trainings wait for it
    localrule: True  # compute nodes of a cluster often have no network
    conda:
        "../../environment.yml"
    threads: 1
    resources:
        mem_mb=get_memory("fetch_series"),
        runtime=get_fetch_minutes,
        downloads=get_downloads,
        bandwidth_mbit=get_bandwidth,
    params:
        source=get_source,
        location=get_location,
        selection=get_selection,
        code=get_code("fetch_series"),
    message:
        "Fetching the DICOM series {wildcards.dataset}"
    script:
        "../../scripts/fetch_series.py"


rule convert_series:
    input:
        dicom=get_dicom,
    output:
        volume=intermediate("<results>/volumes/{series}.npy", of_pair=not ALL_MATCHED),
        info="<results>/volumes/{series}.json",
    log:
        "<logs>/convert_series/{series}.log",
    benchmark:
        "<benchmarks>/convert_series/{series}.tsv"
    wildcard_constraints:
        series=one_of(MEASURED_SERIES),
    priority: 50  # the trainings wait for it
    conda:
        "../../environment.yml"
    threads: 1
    resources:
        mem_mb=get_memory("convert_series"),
        runtime=get_minutes("convert_series", count=None),
        in_turn=1,  # members of a group, on a cluster
    params:
        clip_hu=config["window_hu"] if config.get("clip_to_window") else None,
        images=get_images,
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
    benchmark:
        "<benchmarks>/record_run/record.tsv"
    conda:
        "../../environment.yml"
    threads: 1
    resources:
        mem_mb=get_memory("record_run"),
        runtime=get_minutes("record_run"),
    params:
        config=RECORDED_CONFIG,
        left_out=canonical_json(LEFT_OUT),
    message:
        "Writing down config, versions and machine"
    script:
        "../../scripts/record_run.py"
