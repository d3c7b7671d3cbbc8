"""
Everything that a run found in, one page out.

INPUTS
    <results>/config.yaml, <results>/summary.tsv, <results>/verdict.json
    noisy and denoised volumes, targets, and the JSON of all volumes
    <results>/figures/..., <results>/gifs/{noise}/training-{method}.gif
    <results>/benchmarks/                      where it is there
OUTPUTS
    <results>/report.html                      one file that needs no other and no network
"""


rule build_report:
    input:
        record="<results>/config.yaml",
        summary="<results>/summary.tsv",
        verdict="<results>/verdict.json",
        infos=collect("<results>/volumes/{series}.json", series=get_converted_series),
        scans=[f"{scan_of(series)}.json" for series in REPORT_SERIES],
        targets=[target_of(series) for series in REPORT_SERIES],
        noisy=[noisy_of(series, noise) for noise in config["noise"] for series in REPORT_SERIES],
        denoised=collect(
            "<results>/denoised/{noise}/{method}/{series}.npy",
            noise=config["noise"],
            method=REPORT_METHODS,
            series=REPORT_SERIES,
        ),
        plots=[
            *collect(
                "<results>/figures/{noise}/cost-{network}.png", noise=config["noise"], network=config["networks"]
            ),
            *collect(
                "<results>/figures/{noise}/{picture}.png",
                noise=config["noise"],
                picture=PICTURES,
            ),
            *collect("<results>/figures/calibration-{name}.png", name=CALIBRATIONS),
        ],
        films=collect(
            "<results>/gifs/{noise}/training-{method}.gif",
            noise=config["noise"],
            method=SHOWN_METHODS,
        ),
    output:
        report=report(
            "<results>/report.html",
            caption="../report/report.rst",
            category="Quality",
            labels={"table": "the whole run on one page"},
        ),
    log:
        "<logs>/build_report/report.log",
    benchmark:
        "<benchmarks>/build_report/report.tsv"
    conda:
        "../../environment.yml"
    threads: 1
    resources:
        mem_mb=get_memory("build_report"),
        runtime=get_minutes("build_report", count=len(config["noise"]) * len(REPORT_METHODS)),
    params:
        noises=list(config["noise"]),
        methods=REPORT_METHODS,
        series=REPORT_SERIES,
        converted=CONVERTED_SERIES,
        sheet=get_described_sheet,
        benchmarks=f"results/{config['run']}/benchmarks",
        target_label=get_target_label(PREVIEW),
        templates=folder_digest(REPOSITORY.joinpath("scripts", "quietct", "report", "templates")),
        code=get_code("build_report"),
    message:
        "Putting everything on one page"
    script:
        "../../scripts/build_report.py"
