"""The table of what each stage cost."""

import csv

import pytest

from quietct.workflow.stages import read_stages, write_stages

HEAD = "s\th:m:s\tmax_rss\tmean_load\tcpu_time\n"


@pytest.fixture
def benchmarks(tmp_path):
    for name, text in {
        "train/mild/a.tsv": HEAD + "10\t0:00:10\t100\t150\t15\n",
        "train/mild/b.tsv": HEAD + "30\t0:00:30\t300.4\t50\t15\n",
        "fetch/x.tsv": HEAD + "1\t0:00:01\t-\t-\t-\n",
        "fetch/y.tsv": "",
        "fetch/z.tsv": "s\tmax",
        "plot/q.tsv": HEAD + "2\t0:00:02\tNA\t0.00\tNA\n" + "3\t0:00:03\t50\t100\t3\n",
    }.items():
        path = tmp_path / "benchmarks" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    (tmp_path / "benchmarks/plot/damaged.tsv").write_bytes(b"s\tmax_rss\n\xff\xfe\x00")
    return tmp_path / "benchmarks"


def test_jobs_are_added_up_by_rule_and_damaged_files_passed_over(benchmarks):
    assert read_stages(benchmarks) == [
        ("train", 2, 40, 30, 300.4, 75),
        ("plot", 2, 5, 3, 50, 100),  # of the job that was looked at
        ("fetch", 1, 1, 1, None, None),
    ]


def test_the_table_is_written_as_it_is_read(benchmarks, tmp_path):
    write_stages(benchmarks, tmp_path / "stages.tsv")
    with open(tmp_path / "stages.tsv", newline="") as file:
        rows = list(csv.DictReader(file, delimiter="\t"))
    assert rows[0] == {
        "rule": "train", "jobs": "2", "total_s": "40.0", "longest_s": "30.0", "peak_mb": "300.4", "mean_load": "75.0"
    }  # fmt: skip
    assert rows[2] == {
        "rule": "fetch", "jobs": "1", "total_s": "1.0", "longest_s": "1.0", "peak_mb": "", "mean_load": ""
    }  # fmt: skip


def test_without_benchmarks_there_is_no_table(tmp_path):
    assert read_stages(tmp_path / "none") == []
    write_stages(tmp_path / "none", tmp_path / "stages.tsv")
    assert not (tmp_path / "stages.tsv").exists()
