"""The comparison of a real run."""

import csv
import json


def test_a_run_of_one_seed_is_compared_without_a_verdict_on_its_variants(finished):
    results = finished / "results/tiny"
    with open(results / "comparison.tsv", newline="") as file:
        rows = list(csv.DictReader(file, delimiter="\t"))
    pairs = [(row["first"], row["second"]) for row in rows if row["measure"] == "psnr_db"]
    best = pairs[1][0]
    assert pairs == [("sgd", "dilated_gradient_noise"), (best, "gaussian"), (best, "median")]
    assert {row["verdict"] for row in rows} == {"not testable"}
    assert {row["p"] for row in rows} == {""}
    with open(results / "summary.tsv", newline="") as file:
        summary = {row["method"]: float(row["psnr_db"]) for row in csv.DictReader(file, delimiter="\t")}
    assert float(rows[0]["mean_first"]) == summary["small-sgd-seed1"]
    assert best == max(("sgd", "dilated_gradient_noise"), key=lambda name: summary[f"small-{name}-seed1"])
    verdict = json.loads((results / "verdict.json").read_text())
    assert "cannot be told" in verdict["headline"]
    assert list(verdict["sentences"]) == ["gaussian_10"]


def test_a_second_seed_trains_anew_only_itself_and_is_compared(finished, snakemake):
    text = (finished / "tiny.yaml").read_text().replace("seeds: [1]", "seeds: [1, 2]")
    (finished / "two_seeds.yaml").write_text(text)
    outcome = snakemake(finished, "-n", "--configfile", "two_seeds.yaml")
    assert outcome.status == 0, outcome.text
    assert outcome.jobs["train_network"] == 2
    assert outcome.jobs["compare_methods"] == 1
