"""
Models in, denoised volumes and their quality out.

INPUTS
    <results>/models/..., <results>/baselines/...          what denoises
    noisy volumes                                          what is denoised
    targets, scans and their JSON                          what it should have become
    <results>/nodules/{series}.tsv                         where nodules are
OUTPUTS
    <results>/denoised/{noise}/{method}/{series}.npy       int16 HU
    <results>/metrics/{noise}/{method}/{series}.tsv        one row a slice
    <results>/summary.tsv                                  one row a method and noise
"""


rule denoise_series:
    input:
        model=get_model,
        noisy=get_noisy,
    output:
        volume=intermediate("<results>/denoised/{noise}/{method}/{series}.npy"),
    log:
        "<logs>/denoise_series/{noise}/{method}-{series}.log",
    benchmark:
        "<benchmarks>/denoise_series/{noise}/{method}-{series}.tsv"
    conda:
        "../../environment.yml"
    threads: 1
    resources:
        mem_mb=get_memory("denoise_series"),
        runtime=get_denoising_minutes,
        in_turn=1,  # members of a group, on a cluster
    params:
        code=get_code("denoise_series"),
    message:
        "Denoising {wildcards.series} with {wildcards.method}"
    script:
        "../../scripts/denoise_series.py"


rule measure_quality:
    input:
        clean=get_target,
        info=get_scan_info,
        scan=get_scan,
        image=get_image,
        nodules="<results>/nodules/{series}.tsv",
    output:
        metrics="<results>/metrics/{noise}/{method}/{series}.tsv",
    log:
        "<logs>/measure_quality/{noise}/{method}-{series}.log",
    benchmark:
        "<benchmarks>/measure_quality/{noise}/{method}-{series}.tsv"
    conda:
        "../../environment.yml"
    threads: 1
    resources:
        mem_mb=get_memory("measure_quality"),
        runtime=get_minutes("measure_quality", count=None),
        in_turn=1,  # members of a group, on a cluster
    params:
        noise=lambda wildcards: wildcards.noise,
        method=lambda wildcards: wildcards.method,
        series=lambda wildcards: wildcards.series,
        split=SPLIT,
        window_hu=config["window_hu"],
        code=get_code("measure_quality"),
    message:
        "Measuring {wildcards.method} on {wildcards.series} with noise {wildcards.noise}"
    script:
        "../../scripts/measure_quality.py"


rule summarize_quality:
    input:
        metrics=collect(
            "<results>/metrics/{noise}/{method}/{series}.tsv",
            noise=config["noise"],
            method=ALL_METHODS,
            series=get_test_series,
        ),
        physics=collect(
            "<results>/physics/{noise}/{method}/{series}.json",
            noise=config["noise"],
            method=ALL_METHODS,
            series=get_test_series,
        ),
    output:
        summary=report(
            "<results>/summary.tsv",
            caption="../report/summary.rst",
            category="Quality",
            labels={"table": "all methods"},
        ),
    log:
        "<logs>/summarize_quality/summary.log",
    benchmark:
        "<benchmarks>/summarize_quality/summary.tsv"
    conda:
        "../../environment.yml"
    threads: 1
    resources:
        mem_mb=get_memory("summarize_quality", count=METRIC_ROWS),
        runtime=get_minutes("summarize_quality", count=METRIC_ROWS),
    params:
        code=get_code("summarize_quality"),
    message:
        "Summing up the quality of all methods"
    script:
        "../../scripts/summarize_quality.py"
