"""
Volumes and the truth in, the measures of a medical physicist out.

INPUTS
    the series sheet, targets, noisy and denoised volumes, and the scans' JSON
OUTPUTS
    <results>/volumes/{series}_detection.{npy,json}     a detection task for the series: nodules there and not there
    <results>/nodules/{series}.tsv                      row, column, z_mm, diameter_mm, hu of each known nodule
    <results>/physics/{noise}/{method}/{series}.json    noise power, task transfer, nodules, detectability
"""


rule locate_nodules:
    input:
        known=get_known_nodules,
    output:
        nodules="<results>/nodules/{series}.tsv",
    log:
        "<logs>/locate_nodules/{series}.log",
    benchmark:
        "<benchmarks>/locate_nodules/{series}.tsv"
    wildcard_constraints:
        series=one_of(MEASURED_SERIES),
    conda:
        "../../environment.yml"
    threads: 1
    resources:
        mem_mb=get_memory("locate_nodules"),
        runtime=get_minutes("locate_nodules"),
        in_turn=1,  # members of a group, on a cluster
    params:
        layout=get_layout,
        code=get_code("locate_nodules"),
    message:
        "Locating the nodules of {wildcards.series}"
    script:
        "../../scripts/locate_nodules.py"


rule make_detection_task:
    input:
        info=get_info_of_task,
    output:
        volume=intermediate("<results>/volumes/{series}.npy", of_pair=True),
        info="<results>/volumes/{series}.json",
    log:
        "<logs>/make_detection_task/{series}.log",
    benchmark:
        "<benchmarks>/make_detection_task/{series}.tsv"
    wildcard_constraints:
        series=one_of(TASKS),
    conda:
        "../../environment.yml"
    threads: 1
    resources:
        mem_mb=get_memory("make_detection_task"),
        runtime=get_minutes("make_detection_task", count=None),
    params:
        clip_hu=config["window_hu"] if config.get("clip_to_window") else None,
        task=get_task,
        code=get_code("make_detection_task"),
    message:
        "Scanning nodules to be detected: {wildcards.series}"
    script:
        "../../scripts/make_detection_task.py"


rule measure_physics:
    input:
        target=get_target,
        info=get_scan_info,
        scan=get_scan,
        image=get_image,
        nodules="<results>/nodules/{series}.tsv",
        task=get_task_image,
        task_info=get_task_info,
    output:
        physics="<results>/physics/{noise}/{method}/{series}.json",
    log:
        "<logs>/measure_physics/{noise}/{method}-{series}.log",
    benchmark:
        "<benchmarks>/measure_physics/{noise}/{method}-{series}.tsv"
    conda:
        "../../environment.yml"
    threads: 1
    resources:
        mem_mb=get_memory("measure_physics"),
        runtime=get_minutes("measure_physics", count=None),
        in_turn=1,  # members of a group, on a cluster
    params:
        noise=lambda wildcards: wildcards.noise,
        method=lambda wildcards: wildcards.method,
        series=lambda wildcards: wildcards.series,
        exact_target=lambda wildcards: has_exact_target(wildcards.series),
        no_task=get_no_task,
        split=SPLIT,
        code=get_code("measure_physics"),
    message:
        "Measuring noise, edges and nodules of {wildcards.method} on {wildcards.series}"
    script:
        "../../scripts/measure_physics.py"
