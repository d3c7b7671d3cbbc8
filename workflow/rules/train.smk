"""
Patch pairs in, trained networks and tuned baselines out.

INPUTS
    <results>/patches/{noise}/{series}.npy     of every training series
    noisy volumes, targets and their JSON      of the preview series, and of the training series (baselines)
    the scans' JSON                            of the training series
OUTPUTS
    <results>/models/{noise}/{network}/{variant}/seed{seed}/{weights.npz,history.tsv,snapshots.npz}
    <results>/baselines/{noise}/{baseline}.json
"""


rule train_network:
    input:
        patches=collect("<results>/patches/{noise}/{series}.npy", noise=get_noise, series=get_train_series),
        infos=lambda wildcards: [f"{scan_of(series)}.json" for series in TRAIN_SERIES],
        preview_noisy=lambda wildcards: noisy_of(PREVIEW, wildcards.noise),
        preview_clean=target_of(PREVIEW),
        preview_info=f"{scan_of(PREVIEW)}.json",
    output:
        weights="<results>/models/{noise}/{network}/{variant}/seed{seed}/weights.npz",
        history="<results>/models/{noise}/{network}/{variant}/seed{seed}/history.tsv",
        snapshots="<results>/models/{noise}/{network}/{variant}/seed{seed}/snapshots.npz",
    log:
        "<logs>/train_network/{noise}/{network}-{variant}-seed{seed}.log",
    benchmark:
        "<benchmarks>/train_network/{noise}/{network}-{variant}-seed{seed}.tsv"
    priority: 100  # the longest jobs start first
    conda:
        "../../environment.yml"
    threads: config["train"]["threads"]
    resources:
        mem_mb=get_memory("train_network"),
        runtime=get_training_minutes,
    params:
        noise=lambda wildcards: wildcards.noise,
        network=lambda wildcards: wildcards.network,
        variant=lambda wildcards: wildcards.variant,
        seed=lambda wildcards: int(wildcards.seed),
        architecture=lambda wildcards: canonical_json(config["networks"][wildcards.network]),
        rules=get_rules,
        training=get_training_settings,
        window_hu=config["window_hu"],
        preview_slice=config["preview"]["slice"],
        split=SPLIT,
        checkpoint=get_checkpoint,
        checkpoint_seconds=get_checkpoint_seconds,
        code=get_code("train_network"),
    message:
        "Training {wildcards.network} by {wildcards.variant} with seed {wildcards.seed} on noise {wildcards.noise}"
    script:
        "../../scripts/train_network.py"


rule tune_baseline:
    input:
        clean=[target_of(series) for series in TUNING_SERIES],
        noisy=lambda wildcards: [noisy_of(series, wildcards.noise) for series in TUNING_SERIES],
        infos=[f"{scan_of(series)}.json" for series in TUNING_SERIES],
    output:
        settings="<results>/baselines/{noise}/{baseline}.json",
    log:
        "<logs>/tune_baseline/{noise}/{baseline}.log",
    benchmark:
        "<benchmarks>/tune_baseline/{noise}/{baseline}.tsv"
    conda:
        "../../environment.yml"
    threads: 1
    resources:
        mem_mb=get_memory("tune_baseline"),
        runtime=get_tuning_minutes,
    params:
        baseline=lambda wildcards: wildcards.baseline,
        grid=lambda wildcards: canonical_json(config["baselines"][wildcards.baseline]),
        tuning_slices=config["tuning_slices"],
        split=SPLIT,
        window_hu=config["window_hu"],
        code=get_code("tune_baseline"),
    message:
        "Tuning the baseline {wildcards.baseline} on noise {wildcards.noise}"
    script:
        "../../scripts/tune_baseline.py"
