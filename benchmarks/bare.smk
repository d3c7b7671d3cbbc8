"""As many jobs, files and dependencies as an experiment of dose pairs has, and nothing else: no function, no params, no log."""

GROUPS = config["full"] // config["repeats"]
LOW = [f"low-{k % GROUPS}-{k}" for k in range(config["train"] + config["test"])]
TRAIN, TEST = LOW[: config["train"]], LOW[config["train"] :]
SHOWN = TEST[: config["shown"]]
TRAINED = [f"trained{k}" for k in range(config["trained"])]
FIRST = TRAINED[: config["first"]]
BASELINES = [f"baseline{k}" for k in range(config["baselines"])]
METHODS = ["noisy", *BASELINES, *TRAINED]
PICTURES = ["contact-sheet", "noise-power", "task-transfer", "nodules", "slice-quality", "differences", "cost"]


rule all:
    input:
        "config.yaml",
        "summary.tsv",
        "comparison.tsv",
        "verdict.json",
        "report.html",
        expand("nodules/{s}.tsv", s=TEST),
        expand("physics/{m}/{s}.json", m=METHODS, s=TEST),
        expand("gifs/training/{m}.gif", m=TRAINED),
        expand("gifs/scroll/{m}/{s}.gif", m=FIRST, s=SHOWN),
        expand("figures/{p}.png", p=PICTURES),
        expand("weights/{m}.npz", m=FIRST),


rule record_run:
    output:
        "config.yaml",
    shell:
        "touch {output}"


rule fetch_series:
    output:
        "dicom/{s}",
    shell:
        "touch {output}"


rule convert_series:
    input:
        "dicom/{s}",
    output:
        "volumes/{s}.npy",
        "volumes/{s}.json",
    shell:
        "touch {output}"


rule match_target:
    input:
        "volumes/low-{g}-{k}.npy",
        "volumes/low-{g}-{k}.json",
        expand("volumes/full-{{g}}-{i}.npy", i=range(config["repeats"])),
        expand("volumes/full-{{g}}-{i}.json", i=range(config["repeats"])),
    output:
        "matched/low-{g}-{k}.npy",
        "matched/low-{g}-{k}.json",
        "targets/low-{g}-{k}.npy",
    shell:
        "touch {output}"


rule extract_patches:
    input:
        "targets/{s}.npy",
        "matched/{s}.npy",
        "matched/{s}.json",
    output:
        "patches/{s}.npy",
    shell:
        "touch {output}"


rule train_network:
    input:
        expand("patches/{s}.npy", s=TRAIN),
        expand("matched/{s}.json", s=TRAIN),
        f"matched/{TEST[0]}.npy",
        f"matched/{TEST[0]}.json",
        f"targets/{TEST[0]}.npy",
    output:
        "models/{m}.npz",
        "models/{m}.tsv",
        "models/{m}-snapshots.npz",
    wildcard_constraints:
        m=r"trained\d+",
    shell:
        "touch {output}"


rule tune_baseline:
    input:
        expand("{folder}/{s}.npy", folder=["matched", "targets"], s=TRAIN[: config["tuning"]]),
        expand("matched/{s}.json", s=TRAIN[: config["tuning"]]),
    output:
        "models/{m}.npz",
    wildcard_constraints:
        m=r"baseline\d+",
    shell:
        "touch {output}"


rule denoise_series:
    input:
        "models/{m}.npz",
        "matched/{s}.npy",
    output:
        "denoised/{m}/{s}.npy",
    wildcard_constraints:
        m=r"(trained|baseline)\d+",
    shell:
        "touch {output}"


rule locate_nodules:
    output:
        "nodules/{s}.tsv",
    shell:
        "touch {output}"


rule measure_quality:
    input:
        "targets/{s}.npy",
        "matched/{s}.json",
        "matched/{s}.npy",
        "denoised/{m}/{s}.npy",
        "nodules/{s}.tsv",
    output:
        "metrics/{m}/{s}.tsv",
    wildcard_constraints:
        m=r"(trained|baseline)\d+",
    shell:
        "touch {output}"


rule measure_physics:
    input:
        "targets/{s}.npy",
        "matched/{s}.json",
        "matched/{s}.npy",
        "denoised/{m}/{s}.npy",
        "nodules/{s}.tsv",
    output:
        "physics/{m}/{s}.json",
    wildcard_constraints:
        m=r"(trained|baseline)\d+",
    shell:
        "touch {output}"


use rule measure_quality as measure_noisy_quality with:
    input:
        "targets/{s}.npy",
        "matched/{s}.json",
        "matched/{s}.npy",
        "nodules/{s}.tsv",
    output:
        "metrics/noisy/{s}.tsv",


use rule measure_physics as measure_noisy_physics with:
    input:
        "targets/{s}.npy",
        "matched/{s}.json",
        "matched/{s}.npy",
        "nodules/{s}.tsv",
    output:
        "physics/noisy/{s}.json",


rule summarize_quality:
    input:
        expand("metrics/{m}/{s}.tsv", m=METHODS, s=TEST),
        expand("physics/{m}/{s}.json", m=METHODS, s=TEST),
    output:
        "summary.tsv",
    shell:
        "touch {output}"


rule compare_methods:
    input:
        expand("metrics/{m}/{s}.tsv", m=METHODS, s=TEST),
    output:
        "comparison.tsv",
        "verdict.json",
    shell:
        "touch {output}"


rule export_weights:
    input:
        "models/{m}.npz",
        "summary.tsv",
    output:
        "weights/{m}.npz",
    shell:
        "touch {output}"


rule render_training_gif:
    input:
        "models/{m}-snapshots.npz",
    output:
        "gifs/training/{m}.gif",
    shell:
        "touch {output}"


rule render_scroll_gif:
    input:
        "targets/{s}.npy",
        "matched/{s}.json",
        "matched/{s}.npy",
        "denoised/{m}/{s}.npy",
    output:
        "gifs/scroll/{m}/{s}.gif",
    shell:
        "touch {output}"


rule plot:
    input:
        expand("physics/{m}/{s}.json", m=["noisy", *BASELINES, *FIRST], s=TEST),
    output:
        "figures/{p}.png",
    shell:
        "touch {output}"


rule build_report:
    input:
        "summary.tsv",
        "verdict.json",
        expand("volumes/{s}.json", s=LOW),
        expand("denoised/{m}/{s}.npy", m=[*BASELINES, *FIRST], s=SHOWN),
        expand("figures/{p}.png", p=PICTURES),
    output:
        "report.html",
    shell:
        "touch {output}"
