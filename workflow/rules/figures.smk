"""
Volumes and training histories in, pictures out.

INPUTS
    <results>/models/.../{history.tsv,snapshots.npz}
    <results>/physics/{noise}/{method}/{series}.json
    noisy and denoised volumes, targets, and the scans' JSON
OUTPUTS
    <results>/gifs/{noise}/training-{network}-{variant}-seed{seed}.gif     the preview slice while training goes on
    <results>/gifs/{noise}/scroll-{method}-{series}.gif                    a scroll through a denoised series
    <results>/figures/{noise}/cost-{network}.png                           cost over epochs, all variants and seeds
    <results>/figures/{noise}/contact-sheet.png                            the preview slice by all methods
    <results>/figures/{noise}/noise-power.png                              noise power spectra
    <results>/figures/{noise}/task-transfer.png                            sharpness at the rims of nodules
    <results>/figures/{noise}/nodules.png                                  nodules of the test series close up
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
    benchmark:
        "<benchmarks>/render_training_gif/{noise}/{network}-{variant}-seed{seed}.tsv"
    conda:
        "../../environment.yml"
    threads: 1
    resources:
        mem_mb=get_memory("film"),
        runtime=get_minutes("film"),
    params:
        noise=lambda wildcards: wildcards.noise,
        network=lambda wildcards: wildcards.network,
        variant=lambda wildcards: wildcards.variant,
        seed=lambda wildcards: int(wildcards.seed),
        target_label=get_target_label(PREVIEW),
        window_hu=config["window_hu"],
        settings=canonical_json(config["gifs"]),
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
    benchmark:
        "<benchmarks>/render_scroll_gif/{noise}/{method}-{series}.tsv"
    conda:
        "../../environment.yml"
    threads: 1
    resources:
        mem_mb=get_memory("film"),
        runtime=get_minutes("film"),
    params:
        noise=lambda wildcards: wildcards.noise,
        method=lambda wildcards: wildcards.method,
        series=lambda wildcards: wildcards.series,
        target_label=lambda wildcards: get_target_label(wildcards.series),
        split=SPLIT,
        window_hu=config["window_hu"],
        settings=canonical_json(config["gifs"]),
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
    benchmark:
        "<benchmarks>/plot_cost_curves/{noise}/{network}.tsv"
    conda:
        "../../environment.yml"
    threads: 1
    resources:
        mem_mb=get_memory("picture"),
        runtime=get_minutes("picture"),
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
            method=DRAWN_METHODS,
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
    benchmark:
        "<benchmarks>/plot_contact_sheet/{noise}.tsv"
    conda:
        "../../environment.yml"
    threads: 1
    resources:
        mem_mb=get_memory("picture"),
        runtime=get_minutes("picture"),
    params:
        noise=lambda wildcards: wildcards.noise,
        series=PREVIEW,
        methods=DRAWN_METHODS,
        slice=config["preview"]["slice"],
        split=SPLIT,
        target_label=get_target_label(PREVIEW),
        zoom=canonical_json(config["preview"]["zoom"]),
        window_hu=config["window_hu"],
        code=get_code("plot_contact_sheet"),
    message:
        "Plotting all methods side by side for noise {wildcards.noise}"
    script:
        "../../scripts/plot_contact_sheet.py"


rule plot_noise_power:
    input:
        measures=collect(
            "<results>/physics/{noise}/{method}/{series}.json",
            noise=get_noise,
            method=["noisy", *DRAWN_METHODS],
            series=get_test_series,
        ),
    output:
        plot=report(
            "<results>/figures/{noise}/noise-power.png",
            caption="../report/noise_power.rst",
            category="Quality",
            labels={"table": "{noise}: noise power"},
        ),
    log:
        "<logs>/plot_noise_power/{noise}.log",
    benchmark:
        "<benchmarks>/plot_noise_power/{noise}.tsv"
    conda:
        "../../environment.yml"
    threads: 1
    resources:
        mem_mb=get_memory("picture"),
        runtime=get_minutes("picture"),
    params:
        noise=lambda wildcards: wildcards.noise,
        methods=["noisy", *DRAWN_METHODS],
        code=get_code("plot_noise_power"),
    message:
        "Plotting noise power spectra for noise {wildcards.noise}"
    script:
        "../../scripts/plot_noise_power.py"


rule plot_task_transfer:
    input:
        measures=collect(
            "<results>/physics/{noise}/{method}/{series}.json",
            noise=get_noise,
            method=["noisy", *DRAWN_METHODS],
            series=get_test_series,
        ),
    output:
        plot=report(
            "<results>/figures/{noise}/task-transfer.png",
            caption="../report/task_transfer.rst",
            category="Quality",
            labels={"table": "{noise}: sharpness"},
        ),
    log:
        "<logs>/plot_task_transfer/{noise}.log",
    benchmark:
        "<benchmarks>/plot_task_transfer/{noise}.tsv"
    conda:
        "../../environment.yml"
    threads: 1
    resources:
        mem_mb=get_memory("picture"),
        runtime=get_minutes("picture"),
    params:
        noise=lambda wildcards: wildcards.noise,
        methods=["noisy", *DRAWN_METHODS],
        code=get_code("plot_task_transfer"),
    message:
        "Plotting task transfer functions for noise {wildcards.noise}"
    script:
        "../../scripts/plot_task_transfer.py"


rule plot_nodules:
    input:
        measures=collect(
            "<results>/physics/{{noise}}/{method}/{series}.json",
            method=["noisy", *DRAWN_METHODS],
            series=SHOWN_SERIES,
        ),
        targets=[target_of(series) for series in SHOWN_SERIES],
        infos=[f"{scan_of(series)}.json" for series in SHOWN_SERIES],
        images=lambda wildcards: [
            image_of(series, wildcards.noise, method)
            for series in SHOWN_SERIES
            for method in ["noisy", *DRAWN_METHODS]
        ],
    output:
        plot=report(
            "<results>/figures/{noise}/nodules.png",
            caption="../report/nodules.rst",
            category="Quality",
            labels={"table": "{noise}: nodules"},
        ),
    log:
        "<logs>/plot_nodules/{noise}.log",
    benchmark:
        "<benchmarks>/plot_nodules/{noise}.tsv"
    conda:
        "../../environment.yml"
    threads: 1
    resources:
        mem_mb=get_memory("picture"),
        runtime=get_minutes("picture"),
    params:
        noise=lambda wildcards: wildcards.noise,
        methods=["noisy", *DRAWN_METHODS],
        series=SHOWN_SERIES,
        target_label=get_target_label(SHOWN_SERIES[0]),
        window_hu=config["window_hu"],
        code=get_code("plot_nodules"),
    message:
        "Plotting nodules close up for noise {wildcards.noise}"
    script:
        "../../scripts/plot_nodules.py"
