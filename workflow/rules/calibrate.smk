"""
Repeats of a scan in, what its scanner's noise is like out.

INPUTS
    <results>/volumes/{series}.{npy,json}              of the repeats
OUTPUTS
    <results>/calibration/{calibration}.json           photons and kernel, for noises of the model low_dose
    <results>/figures/calibration-{calibration}.png    noise as measured and as simulated
"""


rule calibrate_noise:
    input:
        volumes=collect("<results>/volumes/{series}.npy", series=get_repeats),
        infos=collect("<results>/volumes/{series}.json", series=get_repeats),
    output:
        fit="<results>/calibration/{calibration}.json",
    log:
        "<logs>/calibrate_noise/{calibration}.log",
    benchmark:
        "<benchmarks>/calibrate_noise/{calibration}.tsv"
    priority: 50  # the trainings wait for it
    conda:
        "../../environment.yml"
    threads: 1
    resources:
        mem_mb=get_memory("calibrate_noise"),
        runtime=get_minutes("calibrate_noise", count=24),
    params:
        calibration=lambda wildcards: wildcards.calibration,
        settings=get_calibration,
        code=get_code("calibrate_noise"),
    message:
        "Estimating the noise {wildcards.calibration} from repeats"
    script:
        "../../scripts/calibrate_noise.py"


rule plot_calibration:
    input:
        fit="<results>/calibration/{calibration}.json",
    output:
        plot=report(
            "<results>/figures/calibration-{calibration}.png",
            caption="../report/calibration.rst",
            category="Noise",
            labels={"calibration": "{calibration}"},
        ),
    log:
        "<logs>/plot_calibration/{calibration}.log",
    benchmark:
        "<benchmarks>/plot_calibration/{calibration}.tsv"
    conda:
        "../../environment.yml"
    threads: 1
    resources:
        mem_mb=get_memory("picture"),
        runtime=get_minutes("picture"),
    params:
        calibration=lambda wildcards: wildcards.calibration,
        code=get_code("plot_calibration"),
    message:
        "Plotting the noise {wildcards.calibration} as measured and as simulated"
    script:
        "../../scripts/plot_calibration.py"
