"""
Clean volumes in, pairs of noisy and clean patches out.

INPUTS
    <results>/volumes/{series}.npy             int16 HU
OUTPUTS
    <results>/noisy/{noise}/{series}.npy       int16 HU, same shape
    <results>/patches/{noise}/{series}.npy     int16 HU (patches, 2, rows, columns): noisy, clean
"""


rule add_noise:
    input:
        volume="<results>/volumes/{series}.npy",
    output:
        volume="<results>/noisy/{noise}/{series}.npy",
    log:
        "<logs>/add_noise/{noise}/{series}.log",
    benchmark:
        "<benchmarks>/add_noise/{noise}/{series}.tsv"
    priority: 50  # the trainings wait for it
    conda:
        "../../environment.yml"
    threads: 1
    resources:
        mem_mb=1000,
        runtime="15m",
    params:
        model=lambda wildcards: config["noise"][wildcards.noise]["model"],
        settings=get_noise_settings,
        window_hu=config["window_hu"],
        series=lambda wildcards: wildcards.series,
        code=get_code("add_noise"),
    message:
        "Adding noise {wildcards.noise} to {wildcards.series}"
    script:
        "../../scripts/add_noise.py"


rule extract_patches:
    input:
        clean="<results>/volumes/{series}.npy",
        noisy="<results>/noisy/{noise}/{series}.npy",
    output:
        patches="<results>/patches/{noise}/{series}.npy",
    log:
        "<logs>/extract_patches/{noise}/{series}.log",
    benchmark:
        "<benchmarks>/extract_patches/{noise}/{series}.tsv"
    priority: 50  # the trainings wait for it
    conda:
        "../../environment.yml"
    threads: 1
    resources:
        mem_mb=1000,
        runtime="15m",
    params:
        settings=canonical_json(config["patches"]),
        series=lambda wildcards: wildcards.series,
        code=get_code("extract_patches"),
    message:
        "Cutting patches from {wildcards.series} with noise {wildcards.noise}"
    script:
        "../../scripts/extract_patches.py"
