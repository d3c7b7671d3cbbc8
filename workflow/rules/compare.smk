"""
Slice metrics in, which differences are real out.

INPUTS
    <results>/metrics/{noise}/{method}/{series}.tsv    of all methods, seeds and test series
OUTPUTS
    <results>/comparison.tsv                           one row a noise, network, measure and pair of methods
    <results>/verdict.json                             the same in sentences
"""


rule compare_methods:
    input:
        metrics=collect(
            "<results>/metrics/{noise}/{method}/{series}.tsv",
            noise=config["noise"],
            method=ALL_METHODS,
            series=TEST_SERIES,
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
    conda:
        "../../environment.yml"
    threads: 1
    resources:
        mem_mb=1000,
        runtime="15m",
    params:
        init=config["train"]["init"],
        code=get_code("compare_methods"),
    message:
        "Telling real differences from chance"
    script:
        "../../scripts/compare_methods.py"
