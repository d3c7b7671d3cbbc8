"""The benchmarks run and write what they promise. Nothing here looks at a speed."""

import json
import os
import subprocess
import sys

import pytest

TORCH_IS_MISSING = """
import runpy, sys
sys.modules["torch"] = None
sys.path.insert(0, "benchmarks")
sys.argv = ["conv_vs_pytorch.py", "--quick"]
runpy.run_path("benchmarks/conv_vs_pytorch.py", run_name="__main__")
"""


@pytest.fixture
def python(repository):
    """Run Python in the repository's root."""

    def run(*words):
        environment = {**os.environ, "PYTHONPATH": str(repository / "scripts")}
        return subprocess.run(
            [sys.executable, *map(str, words)],
            cwd=repository,
            env=environment,
            capture_output=True,
            text=True,
            timeout=300,
        )

    return run


@pytest.mark.parametrize(
    "name",
    [
        "conv_tricks",
        "conv_vs_pytorch",
        "denoise_slice",
        "dry_run",
        "low_dose",
        "projection",
        "read_dicom",
        "stage_costs",
        "training_memory",
        "training_throughput",
    ],
)
def test_help_explains_each_benchmark(python, name):
    finished = python(f"benchmarks/{name}.py", "--help")
    assert finished.returncode == 0, finished.stderr
    assert "usage" in finished.stdout
    assert f"benchmarks/{name}.py" in finished.stdout


def test_convolution_and_pytorch_agree_and_are_reported(python, tmp_path):
    pytest.importorskip("torch", reason="PyTorch is not installed: pip install torch==2.13.0")
    finished = python("benchmarks/conv_vs_pytorch.py", "--quick", "--workloads", "e", "--json", tmp_path / "e.json")
    assert finished.returncode == 0, finished.stderr
    rows = json.loads((tmp_path / "e.json").read_text())
    assert [(row["workload"], row["phase"]) for row in rows] == [("e", "forward"), ("e", "train_step")]
    for row in rows:
        for other, ratio in (("torch_ms", "ratio"), ("torch_tuned_ms", "ratio_tuned"), ("scipy_ms", "ratio_scipy")):
            assert row[ratio] == pytest.approx(row[other] / row["numpy_ms"])
        assert 0 < row["max_relative_error"] < 1e-5


def test_denoising_a_slice_agrees_with_pytorch_and_is_reported(python, tmp_path):
    pytest.importorskip("torch", reason="PyTorch is not installed: pip install torch==2.13.0")
    finished = python("benchmarks/denoise_slice.py", "--quick", "--json", tmp_path / "d.json")
    assert finished.returncode == 0, finished.stderr
    [row] = json.loads((tmp_path / "d.json").read_text())
    assert (row["threads"], row["side"]) == (2, 48)
    assert row["ratio"] == pytest.approx(row["torch_ms"] / row["numpy_ms"])
    assert row["ratio_tuned"] == pytest.approx(row["torch_tuned_ms"] / row["numpy_ms"])
    assert 0 < row["max_relative_error"] < 1e-5


def test_unknown_workload_is_named(python):
    finished = python("benchmarks/conv_vs_pytorch.py", "--workloads", "a,z")
    assert finished.returncode == 2
    assert "unknown workload z" in finished.stderr


def test_missing_pytorch_is_told_with_the_command_that_installs_it(python):
    finished = python("-c", TORCH_IS_MISSING)
    assert finished.returncode == 1
    assert finished.stderr == "PyTorch is not installed: pip install torch==2.13.0\n"


def test_throughput_of_every_variant_is_reported(python, tmp_path):
    finished = python("benchmarks/training_throughput.py", "--quick", "--threads", 1, "--json", tmp_path / "t.json")
    assert finished.returncode == 0, finished.stderr
    rows = json.loads((tmp_path / "t.json").read_text())
    assert [(row["network"], row["batch_size"]) for row in rows] == [
        ("chen2017", 32),
        ("chen2017", 1),
        ("compact", 1),
        ("article", 4),
    ]
    for row in rows:
        assert row["trainer_to_bare"] == pytest.approx(
            row["trainer_patches_per_second"] / row["bare_patches_per_second"]
        )
        assert min(row["gradient_noise"], row["dilated"], row["dilated_gradient_noise"]) > 0


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="Linux alone tells the memory")
def test_memory_of_trainings_is_reported(python, tmp_path):
    options = "--mb", 3, 6, "--threads", 1, "--folder", tmp_path, "--json", tmp_path / "m.json"
    finished = python("benchmarks/training_memory.py", *options)
    assert finished.returncode == 0, finished.stderr
    rows = json.loads((tmp_path / "m.json").read_text())
    assert [(row["set_mb"], row["files"], row["patches"]) for row in rows] == [(3, 1, 160), (6, 2, 320)]
    for row in rows:
        assert 20 < row["peak_pss_mib"] < row["peak_rss_mib"] < 1024
    assert [path.name for path in tmp_path.iterdir()] == ["m.json"]


def test_tricks_compute_the_same_with_and_without(python, tmp_path):
    finished = python("benchmarks/conv_tricks.py", "--quick", "--json", tmp_path / "tricks.json")
    assert finished.returncode == 0, finished.stderr
    rows = json.loads((tmp_path / "tricks.json").read_text())
    assert len(rows) > 15
    for row in rows:
        assert row["with_ns"] > 0
        assert row["difference"] < 1e-4


def test_reading_dicom_is_compared_with_decoding_alone(python, tmp_path):
    finished = python("benchmarks/read_dicom.py", "--quick", "--json", tmp_path / "r.json")
    assert finished.returncode == 0, finished.stderr
    [row] = json.loads((tmp_path / "r.json").read_text())
    assert (row["slices"], row["side"]) == (5, 64)
    assert row["ratio"] == pytest.approx(row["converting_ms"] / row["decoding_ms"])
    if sys.platform == "linux":
        assert row["converting_mib"] > 0
        assert row["decoding_mib"] > 0


def test_cost_and_error_of_low_dose_noise_are_reported_and_drawn(python, tmp_path):
    files = "--json", tmp_path / "n.json", "--picture", tmp_path / "n.png"
    finished = python("benchmarks/low_dose.py", "--quick", *files)
    assert finished.returncode == 0, finished.stderr
    (row,) = json.loads((tmp_path / "n.json").read_text())
    assert (row["views"], row["side"]) == (90, 128)
    assert 0 < row["sd_error_median"] < row["sd_error_p99"] < 0.2
    assert (tmp_path / "n.png").read_bytes().startswith(b"\x89PNG")


def test_a_bare_plan_has_as_many_jobs_as_the_experiment(python, tmp_path):
    finished = python("benchmarks/dry_run.py", "--quick", "--json", tmp_path / "d.json")
    assert finished.returncode == 0, finished.stderr
    bare, own = json.loads((tmp_path / "d.json").read_text())
    assert bare["jobs"] == own["jobs"] > 150
    assert (bare["ratio"], own["ratio"]) == (None, own["seconds"] / bare["seconds"])
    assert 0.01 < bare["peak_gib"] <= own["peak_gib"] < 1


def test_stages_are_measured_and_the_whole_collection_is_projected_from_them(python, tmp_path):
    costs = tmp_path / "costs.json"
    finished = python("benchmarks/stage_costs.py", "--quick", "--json", costs)
    assert finished.returncode == 0, finished.stderr
    rows = json.loads(costs.read_text())
    by_stage = {row["stage"]: row for row in rows}
    assert by_stage["convert"]["bytes"] > 2 * 512 * 512  # int16, and some facts
    assert by_stage["match"]["bytes"] > 2 * by_stage["convert"]["bytes"] - 1000
    # A second a slice, step and job, so that hours can be counted from the table of the collection.
    for row in [*rows, start := {"stage": "start", "bytes": 0}]:
        row["cpu_seconds"] = 1
    costs.write_text(json.dumps([*rows, start]))
    finished = python(
        "benchmarks/projection.py", costs, "--cores", 10, "--price-core-hour", 2, "--picture", tmp_path / "t.png"
    )
    assert finished.returncode == 0, finished.stderr
    lines = [line.replace(",", "").split() for line in finished.stdout.splitlines()]
    hours = {" ".join(words[1:-4]): float(words[-1]) for words in lines if words[:1] in (["data"], ["testing"])}
    assert hours["convert"] == round(1_468_751 / 3600, 1)
    assert hours["quality"] == round(119_250 * 2 / 3 * 19 / 3600, 1)  # two of three doses of layout 6, by 19 methods
    assert next(float(words[2]) for words in lines if words[:2] == ["DICOM", "series"]) == pytest.approx(782, abs=1)
    one, four, *_ = (list(map(float, words)) for words in lines if words[:1] in (["1"], ["4"]))
    assert four[1] == pytest.approx(one[1] / 4, rel=0.02)  # data
    assert four[2] > one[2] / 2  # twelve trainings fill ten cores
    assert one[5] == pytest.approx(one[4] * 10 * 2, rel=0.001)
    assert (tmp_path / "t.png").stat().st_size > 1000
