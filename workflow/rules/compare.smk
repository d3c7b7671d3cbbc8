"""
Slice metrics in, which differences are real out, in a table, in words and in pictures.

INPUTS
    <results>/metrics/{noise}/{method}/{series}.tsv    of all methods, seeds and test series
OUTPUTS
    <results>/comparison.tsv                           one row a noise, network, measure and pair of methods
    <results>/verdict.json                             the same in sentences
    <results>/figures/{noise}/differences.png          the pairs of variants with their intervals
    <results>/figures/{noise}/slice-quality.png        every slice by all methods
"""


rule compare_methods:
    input:
        metrics=collect(
            "<results>/metrics/{noise}/{method}/{series}.tsv",
            noise=config["noise"],
            method=ALL_METHODS,
            series=get_test_series,
        ),
    output:
        comparison=report(
            "<results>/comparison.tsv",
            caption="../report/comparison.rst",
            category="Quality",
            labels={"table": "differences"},
        ),
        verdict="<results>/verdict.json",
    log:
        "<logs>/compare_methods/comparison.log",
    benchmark:
        "<benchmarks>/compare_methods/comparison.tsv"
    conda:
        "../../environment.yml"
    threads: 1
    resources:
        mem_mb=get_memory("compare_methods", count=METRIC_ROWS),
        runtime=get_minutes("compare_methods", count=METRIC_ROWS),
    params:
        init=config["train"]["init"],
        noises=list(config["noise"]),
        methods=ALL_METHODS,
        code=get_code("compare_methods"),
    message:
        "Telling real differences from chance"
    script:
        "../../scripts/compare_methods.py"


rule plot_differences:
    input:
        comparison="<results>/comparison.tsv",
    output:
        plot=report(
            "<results>/figures/{noise}/differences.png",
            caption="../report/differences.rst",
            category="Quality",
            labels={"table": "{noise}: differences"},
        ),
    log:
        "<logs>/plot_differences/{noise}.log",
    benchmark:
        "<benchmarks>/plot_differences/{noise}.tsv"
    conda:
        "../../environment.yml"
    threads: 1
    resources:
        mem_mb=get_memory("picture"),
        runtime=get_minutes("picture"),
    params:
        noise=lambda wildcards: wildcards.noise,
        variants=list(config["variants"]),
        code=get_code("plot_differences"),
    message:
        "Plotting the differences between the variants for noise {wildcards.noise}"
    script:
        "../../scripts/plot_differences.py"


rule plot_slice_quality:
    input:
        metrics=collect(
            "<results>/metrics/{noise}/{method}/{series}.tsv",
            noise=get_noise,
            method=ALL_METHODS,
            series=get_test_series,
        ),
    output:
        plot=report(
            "<results>/figures/{noise}/slice-quality.png",
            caption="../report/slice_quality.rst",
            category="Quality",
            labels={"table": "{noise}: every slice"},
        ),
    log:
        "<logs>/plot_slice_quality/{noise}.log",
    benchmark:
        "<benchmarks>/plot_slice_quality/{noise}.tsv"
    conda:
        "../../environment.yml"
    threads: 1
    resources:
        mem_mb=get_memory("picture_of_slices", count=METRIC_ROWS / len(config["noise"])),
        runtime=get_minutes("picture_of_slices", count=METRIC_ROWS / len(config["noise"])),
    params:
        noise=lambda wildcards: wildcards.noise,
        methods=ALL_METHODS,
        code=get_code("plot_slice_quality"),
    message:
        "Plotting every slice by all methods for noise {wildcards.noise}"
    script:
        "../../scripts/plot_slice_quality.py"
