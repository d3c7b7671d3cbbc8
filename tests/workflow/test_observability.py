"""What a finished run tells of itself: a log of every job, and what every stage cost."""

import csv
import re

from quietct.report.facts import duration

TIME = r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d "


def rules(repository):
    text = "".join(path.read_text() for path in repository.glob("workflow/rules/*.smk"))
    return dict(re.findall(r"^rule (\w+):\n((?:(?:    .*)?\n)+)", text, re.MULTILINE))


def test_the_log_of_every_job_has_start_key_figures_and_end(finished):
    logs = sorted((finished / "logs/tiny").rglob("*.log"))
    assert len(logs) > 40
    for log in logs:
        first, *between, last = log.read_text().splitlines()
        rule = log.relative_to(finished / "logs/tiny").parts[0]
        assert re.fullmatch(TIME + rule + r" begins(: \w+ .+)?; threads: \d+", first), log
        assert re.fullmatch(TIME + r"Done in \d+\.\d s; peak memory \d+ MB(, .*)?", last), log
        figures = [line for line in between if re.search(r"\d", re.sub("^" + TIME, "", line))]
        assert figures, f"{log} tells no figure"


def test_every_rule_is_measured_and_the_table_of_stages_has_them_all(repository, finished):
    assert all("\n    benchmark:\n" in block for block in rules(repository).values())
    with open(finished / "results/tiny/stages.tsv", newline="") as file:
        stages = {row["rule"]: row for row in csv.DictReader(file, delimiter="\t")}
    ran = {path.name for path in (finished / "logs/tiny").iterdir()}
    assert stages.keys() == ran
    assert len(ran) > 20
    assert stages["train_network"]["jobs"] == "2"
    for stage in stages.values():
        assert float(stage["total_s"]) >= float(stage["longest_s"]) > 0
    # In the order of their cost.
    totals = [float(stage["total_s"]) for stage in stages.values()]
    assert totals == sorted(totals, reverse=True)


def test_the_table_of_stages_is_that_of_the_report(finished):
    with open(finished / "results/tiny/stages.tsv", newline="") as file:
        longest = next(csv.DictReader(file, delimiter="\t"))
    page = (finished / "results/tiny/report.html").read_text()
    assert longest["rule"] in page
    assert duration(float(longest["total_s"])) in page
