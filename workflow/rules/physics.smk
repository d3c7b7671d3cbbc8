"""
Volumes and the truth in, the measures of a medical physicist out.

INPUTS
    the series sheet, targets, noisy and denoised volumes, and the scans' JSON
OUTPUTS
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
    conda:
        "../../environment.yml"
    threads: 1
    resources:
        mem_mb=500,
        runtime="5m",
    params:
        layout=get_layout,
        code=get_code("locate_nodules"),
    message:
        "Locating the nodules of {wildcards.series}"
    script:
        "../../scripts/locate_nodules.py"


rule measure_physics:
    input:
        target=get_target,
        info=get_scan_info,
        image=get_image,
        nodules="<results>/nodules/{series}.tsv",
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
        mem_mb=1000,
        runtime="30m",
    params:
        noise=lambda wildcards: wildcards.noise,
        method=lambda wildcards: wildcards.method,
        series=lambda wildcards: wildcards.series,
        exact_target=lambda wildcards: has_exact_target(wildcards.series),
        split=SPLIT,
        code=get_code("measure_physics"),
    message:
        "Measuring noise, edges and nodules of {wildcards.method} on {wildcards.series}"
    script:
        "../../scripts/measure_physics.py"
