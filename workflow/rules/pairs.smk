"""
Scans in, pairs of noisy and better patches out.

INPUTS
    <results>/volumes/{series}.{npy,json}      int16 HU; of the series and of its targets
    <results>/calibration/{calibration}.json   for noises that name one
OUTPUTS
    <results>/matched/{series}.{npy,json}      the slices of a scan that have a partner in its targets
    <results>/targets/{series}.npy             int16 HU, same shape: the mean of the targets on the scan's pixels
    <results>/noisy/{noise}/{series}.npy       int16 HU, same shape
    <results>/patches/{noise}/{series}.npy     int16 HU (patches, 2, rows, columns): noisy, target
"""


rule match_target:
    input:
        scan="<results>/volumes/{series}.npy",
        scan_info="<results>/volumes/{series}.json",
        targets=collect("<results>/volumes/{name}.npy", name=get_target_names),
        target_infos=collect("<results>/volumes/{name}.json", name=get_target_names),
    output:
        matched=intermediate("<results>/matched/{series}.npy", of_pair=True),
        matched_info="<results>/matched/{series}.json",
        target=intermediate("<results>/targets/{series}.npy", of_pair=True),
    log:
        "<logs>/match_target/{series}.log",
    benchmark:
        "<benchmarks>/match_target/{series}.tsv"
    wildcard_constraints:
        series=one_of(MATCHED_SERIES),
    priority: 50  # the trainings wait for it
    conda:
        "../../environment.yml"
    threads: 1
    resources:
        mem_mb=get_memory("match_target"),
        runtime=get_matching_minutes,
        in_turn=1,  # members of a group, on a cluster
    params:
        series=lambda wildcards: wildcards.series,
        names=get_target_names,
        window_hu=config["window_hu"],
        code=get_code("match_target"),
    message:
        "Matching {wildcards.series} with its target"
    script:
        "../../scripts/match_target.py"


rule add_noise:
    input:
        volume=get_scan,
        info=get_scan_info,
        calibration=get_noise_fit,
    output:
        volume=intermediate("<results>/noisy/{noise}/{series}.npy", of_pair=True),
    log:
        "<logs>/add_noise/{noise}/{series}.log",
    benchmark:
        "<benchmarks>/add_noise/{noise}/{series}.tsv"
    wildcard_constraints:
        noise=one_of(ADDED_NOISES),
    priority: 50  # the trainings wait for it
    conda:
        "../../environment.yml"
    threads: get_noise_threads
    resources:
        mem_mb=get_memory("add_noise"),
        runtime=get_noise_minutes,
        in_turn=1,  # members of a group, on a cluster
    params:
        model=get_model_of_noise,
        settings=get_noise_settings,
        window_hu=get_noise_window,
        series=lambda wildcards: wildcards.series,
        code=get_code("add_noise"),
    message:
        "Adding noise {wildcards.noise} to {wildcards.series}"
    script:
        "../../scripts/add_noise.py"


rule extract_patches:
    input:
        clean=get_target,
        noisy=get_noisy,
        info=get_scan_info,
    output:
        patches=intermediate("<results>/patches/{noise}/{series}.npy", of_pair=True),
    log:
        "<logs>/extract_patches/{noise}/{series}.log",
    benchmark:
        "<benchmarks>/extract_patches/{noise}/{series}.tsv"
    priority: 50  # the trainings wait for it
    conda:
        "../../environment.yml"
    threads: 1
    resources:
        mem_mb=get_memory("extract_patches"),
        runtime=get_minutes("extract_patches", count=None),
        in_turn=1,  # members of a group, on a cluster
    params:
        settings=canonical_json(config["patches"]),
        split=SPLIT,
        series=lambda wildcards: wildcards.series,
        code=get_code("extract_patches"),
    message:
        "Cutting patches from {wildcards.series} with noise {wildcards.noise}"
    script:
        "../../scripts/extract_patches.py"
