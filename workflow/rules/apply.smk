"""
Trained networks out of a run: denoised DICOM series, and weights to pass on.

INPUTS
    <results>/models/{noise}/.../weights.npz
    <resources>/dicom/{dataset}                    of the series with the role apply
    <results>/summary.tsv
OUTPUTS
    <results>/dicom/{noise}/{method}/{series}      derived CT series, with what the source says of the patient
    <results>/weights/{noise}-{method}.npz         the same weights with their measured quality
"""


rule denoise_dicom:
    input:
        weights=get_model,
        dicom=get_dicom,
    output:
        dicom=directory("<results>/dicom/{noise}/{method}/{series}"),
    log:
        "<logs>/denoise_dicom/{noise}/{method}-{series}.log",
    benchmark:
        "<benchmarks>/denoise_dicom/{noise}/{method}-{series}.tsv"
    wildcard_constraints:
        method=one_of(TRAINED_METHODS),
        series=one_of(APPLY_SERIES),
    conda:
        "../../environment.yml"
    threads: 2
    resources:
        mem_mb=get_memory("denoise_dicom"),
        runtime=get_denoising_minutes,
    params:
        images=get_images,
        deidentify=config.get("deidentify_dicom", False),
        code=get_code("denoise_dicom"),
    message:
        "Denoising the DICOM series {wildcards.series} with {wildcards.method}"
    script:
        "../../scripts/denoise_dicom.py"


rule export_weights:
    input:
        weights=get_model,
        summary="<results>/summary.tsv",
    output:
        weights="<results>/weights/{noise}-{method}.npz",
    log:
        "<logs>/export_weights/{noise}-{method}.log",
    benchmark:
        "<benchmarks>/export_weights/{noise}-{method}.tsv"
    wildcard_constraints:
        method=one_of(TRAINED_METHODS),
    conda:
        "../../environment.yml"
    threads: 1
    resources:
        mem_mb=get_memory("export_weights"),
        runtime=get_minutes("export_weights"),
    params:
        noise=lambda wildcards: wildcards.noise,
        method=lambda wildcards: wildcards.method,
        code=get_code("export_weights"),
    message:
        "Writing the weights of {wildcards.method} with their quality"
    script:
        "../../scripts/export_weights.py"
