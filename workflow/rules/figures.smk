"""
Volumes and training histories in, pictures out.

INPUTS
    <results>/models/.../{history.tsv,snapshots.npz}
    noisy and denoised volumes, targets, and the scans' JSON
OUTPUTS
    <results>/gifs/{noise}/training-{network}-{variant}-seed{seed}.gif     the preview slice while training goes on
    <results>/gifs/{noise}/scroll-{method}-{series}.gif                    a scroll through a denoised series
    <results>/figures/{noise}/cost-{network}.png                           cost over epochs, all variants and seeds
    <results>/figures/{noise}/contact-sheet.png                            the preview slice by all methods
"""


rule render_training_gif:
    input:
        snapshots="<results>/models/{noise}/{network}/{variant}/seed{seed}/snapshots.npz",
    output:
        gif=report(
            "<results>/gifs/{noise}/training-{network}-{variant}-seed{seed}.gif",
            caption="../report/training_gif.rst",
            category="While training",
            subcategory="{noise}",
            labels={"network": "{network}", "variant": "{variant}", "seed": "{seed}"},
        ),
    log:
        "<logs>/render_training_gif/{noise}/{network}-{variant}-seed{seed}.log",
    conda:
        "../../environment.yml"
    threads: 1
    resources:
        mem_mb=1000,
        runtime="15m",
    params:
        noise=lambda wildcards: wildcards.noise,
        network=lambda wildcards: wildcards.network,
        variant=lambda wildcards: wildcards.variant,
        seed=lambda wildcards: int(wildcards.seed),
        target_label=get_target_label(PREVIEW),
        window_hu=config["window_hu"],
        frame_ms=config["gifs"]["frame_ms"],
        size_px=config["gifs"]["size_px"],
        code=get_code("render_training_gif"),
    message:
        "Drawing the training of {wildcards.network} by {wildcards.variant}"
    script:
        "../../scripts/render_training_gif.py"


rule render_scroll_gif:
    input:
        clean=get_target,
        info=get_scan_info,
        noisy=get_noisy,
        image=get_image,
    output:
        gif=report(
            "<results>/gifs/{noise}/scroll-{method}-{series}.gif",
            caption="../report/scroll_gif.rst",
            category="Denoised series",
            subcategory="{noise}",
            labels={"series": "{series}", "method": "{method}"},
        ),
    log:
        "<logs>/render_scroll_gif/{noise}/{method}-{series}.log",
    conda:
        "../../environment.yml"
    threads: 1
    resources:
        mem_mb=1000,
        runtime="15m",
    params:
        noise=lambda wildcards: wildcards.noise,
        method=lambda wildcards: wildcards.method,
        series=lambda wildcards: wildcards.series,
        target_label=lambda wildcards: get_target_label(wildcards.series),
        split=SPLIT,
        window_hu=config["window_hu"],
        frame_ms=config["gifs"]["frame_ms"],
        size_px=config["gifs"]["size_px"],
        code=get_code("render_scroll_gif"),
    message:
        "Drawing a scroll through {wildcards.series} denoised with {wildcards.method}"
    script:
        "../../scripts/render_scroll_gif.py"


rule plot_cost_curves:
    input:
        histories=expand(
            "<results>/models/{{noise}}/{{network}}/{variant}/seed{seed}/history.tsv",
            variant=config["variants"],
            seed=config["train"]["seeds"],
        ),
    output:
        plot=report(
            "<results>/figures/{noise}/cost-{network}.png",
            caption="../report/cost_curves.rst",
            category="While training",
            subcategory="{noise}",
            labels={"network": "{network}", "variant": "all", "seed": "all"},
        ),
    log:
        "<logs>/plot_cost_curves/{noise}/{network}.log",
    conda:
        "../../environment.yml"
    threads: 1
    resources:
        mem_mb=1000,
        runtime="15m",
    params:
        noise=lambda wildcards: wildcards.noise,
        network=lambda wildcards: wildcards.network,
        variants=[variant for variant in config["variants"] for _ in config["train"]["seeds"]],
        seeds=[seed for _ in config["variants"] for seed in config["train"]["seeds"]],
        code=get_code("plot_cost_curves"),
    message:
        "Plotting the cost of all variants of {wildcards.network}"
    script:
        "../../scripts/plot_cost_curves.py"


rule plot_contact_sheet:
    input:
        clean=target_of(PREVIEW),
        info=f"{scan_of(PREVIEW)}.json",
        noisy=lambda wildcards: noisy_of(PREVIEW, wildcards.noise),
        images=expand(
            "<results>/denoised/{{noise}}/{method}/{series}.npy",
            method=[*config["baselines"], *SHOWN_METHODS],
            series=PREVIEW,
        ),
    output:
        plot=report(
            "<results>/figures/{noise}/contact-sheet.png",
            caption="../report/contact_sheet.rst",
            category="Quality",
            labels={"table": "{noise}"},
        ),
    log:
        "<logs>/plot_contact_sheet/{noise}.log",
    conda:
        "../../environment.yml"
    threads: 1
    resources:
        mem_mb=1500,
        runtime="15m",
    params:
        noise=lambda wildcards: wildcards.noise,
        series=PREVIEW,
        methods=[*config["baselines"], *SHOWN_METHODS],
        slice=config["preview"]["slice"],
        split=SPLIT,
        target_label=get_target_label(PREVIEW),
        zoom_row=config["preview"]["zoom"]["row"],
        zoom_column=config["preview"]["zoom"]["column"],
        zoom_size=config["preview"]["zoom"]["size"],
        window_hu=config["window_hu"],
        code=get_code("plot_contact_sheet"),
    message:
        "Plotting all methods side by side for noise {wildcards.noise}"
    script:
        "../../scripts/plot_contact_sheet.py"
