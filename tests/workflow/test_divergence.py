"""A training that diverges is a gap that the run explains, and no end of it."""

import csv
import json

import numpy as np
import yaml

from quietct.ct.volume import NO_VALUE


def test_a_run_goes_on_without_a_diverged_training_and_says_so(fetched, snakemake, tiny_config):
    config = {**tiny_config, "train": {**tiny_config["train"], "optimiser": {"kind": "sgd"}}}
    lost = "dilated_gradient_noise"
    config["variants"] = {"sgd": {}, lost: {**config["variants"][lost], "learning_rate": 1.0e9}}
    (fetched / "diverging.yaml").write_text(yaml.safe_dump(config))
    outcome = snakemake(fetched, "--configfile", "diverging.yaml")
    assert outcome.status == 0, outcome.text
    results = fetched / "results/tiny"
    with open(results / "summary.tsv", newline="") as file:
        rows = {row["method"]: row for row in csv.DictReader(file, delimiter="\t")}
    failed = rows[f"small-{lost}-seed1"]
    assert failed["n_failed"] == failed["n_slices"] == "2"
    assert (failed["psnr_db"], failed["vif"], failed["noise_sd_hu"]) == ("", "", "")
    assert "failed" in failed["notes"]
    assert float(rows["small-sgd-seed1"]["psnr_db"]) > 0
    assert (np.load(results / f"denoised/gaussian_10/small-{lost}-seed1/test_1.npy") == NO_VALUE).all()
    log = (fetched / f"logs/tiny/train_network/gaussian_10/small-{lost}-seed1.log").read_text()
    assert "Training diverged in epoch 1" in log
    assert json.loads((results / "verdict.json").read_text())["headline"]
    assert "failed" in (results / "report.html").read_text()
