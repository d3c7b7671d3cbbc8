"""What is planned, and how mistakes in config and sheet end, before anything runs."""

import copy
import os

import pytest
import yaml

from quietct.experiment.settings import load_yaml


@pytest.mark.parametrize(
    "name", ["config", "article", "comparison", "chen2017", "real_slices", "noise2noise", "phantom_fda"]
)
def test_every_shipped_config_plans_every_stage(repository, folder, snakemake, name):
    config = load_yaml(repository / f"config/{name}.yaml")
    for repeat in ("repeat_1", "repeat_2"):  # a dry run asks for the folders only
        (folder / "resources/real_slices" / repeat).mkdir(parents=True)
    outcome = snakemake(folder, "-n", "--configfile", repository / f"config/{name}.yaml")
    assert outcome.status == 0, outcome.text
    noises, baselines = len(config["noise"]), len(config["baselines"])
    trainings = noises * len(config["networks"]) * len(config["variants"]) * len(config["train"]["seeds"])
    assert outcome.jobs["train_network"] == trainings
    assert outcome.jobs["tune_baseline"] == noises * baselines
    assert outcome.jobs["render_training_gif"] == trainings
    assert outcome.jobs["plot_contact_sheet"] == noises
    assert outcome.jobs["plot_differences"] == outcome.jobs["plot_slice_quality"] == noises
    assert outcome.jobs["summarize_quality"] == outcome.jobs["compare_methods"] == 1
    assert outcome.jobs.get("calibrate_noise", 0) == len(config.get("calibration", {}))


def test_without_a_config_file_the_demo_is_planned_from_any_folder(folder, snakemake):
    outcome = snakemake(folder, "-n")
    assert outcome.status == 0, outcome.text
    assert "results/demo/summary.tsv" in outcome.text


def test_a_config_file_stands_for_itself_and_is_not_merged_into_the_demo(folder, snakemake):
    outcome = snakemake(folder, "-n", "--configfile", "tiny.yaml")
    assert outcome.status == 0, outcome.text
    assert outcome.jobs["train_network"] == 2
    assert outcome.jobs["tune_baseline"] == 2


def test_the_sheet_can_be_exchanged_on_the_command_line(folder, snakemake):
    rows = ["x\tphantom\ttrain\t1", "y\tphantom\ttrain\t2", "v\tphantom\tvalidation\t3", "t\tphantom\ttest\t4"]
    (folder / "other.tsv").write_text("\n".join(["series\tsource\trole\tnodule_layout", *rows]) + "\n")
    outcome = snakemake(folder, "-n", "--configfile", "tiny.yaml", "--config", "series=other.tsv")
    assert outcome.status == 0, outcome.text
    assert outcome.jobs["fetch_series"] == 4
    assert outcome.jobs["extract_patches"] == 2
    # The pictures show the validation series; the numbers are of the test series alone.
    assert "results/tiny/denoised/gaussian_10/median/v.npy" in outcome.text
    assert "results/tiny/metrics/gaussian_10/median/v.tsv" not in outcome.text


def test_bm3d_joins_the_run_with_its_package_and_is_left_out_in_a_sentence_without(
    repository, folder, snakemake, tiny_config, tmp_path, monkeypatch
):
    config = copy.deepcopy(tiny_config)
    config["baselines"]["bm3d"] = {"sigma_factor": [1.0]}
    (folder / "bm3d.yaml").write_text(yaml.safe_dump(config))
    for installed in (True, False):
        # Python imports sitecustomize first; it makes a package of that name, or hides one that is installed.
        code = "import sys, types\n" + (
            "from importlib.machinery import ModuleSpec\nsys.modules['bm3d'] = types.ModuleType('bm3d')\n"
            "sys.modules['bm3d'].__spec__ = ModuleSpec('bm3d', None)\n"
            if installed
            else "sys.modules['bm3d'] = None\n"
        )
        (tmp_path / "sitecustomize.py").write_text(code)
        monkeypatch.setenv("PYTHONPATH", os.pathsep.join([str(tmp_path), str(repository / "scripts")]))
        outcome = snakemake(folder, "-n", "--configfile", "bm3d.yaml")
        assert outcome.status == 0, outcome.text
        assert outcome.jobs["tune_baseline"] == (3 if installed else 2)
        assert outcome.text.count("The baseline bm3d is left out: its package") == (0 if installed else 1)


def test_the_graph_has_no_lint(folder, snakemake):
    outcome = snakemake(folder, "--lint", "--configfile", "tiny.yaml")
    assert outcome.status == 0, outcome.text


def put(config, path, value):
    *above, last = path.split(".")
    for part in above:
        config = config[part]
    config[last] = value


@pytest.mark.parametrize(
    ("path", "value", "sentence"),
    [
        ("train.epoch", 3, "mine.yaml: train has the unknown key epoch; known are "),
        ("train.epochs", 0, "mine.yaml: train.epochs is 0, but must be at least 1."),
        ("train.learning_rate", "1e-3", "mine.yaml: train.learning_rate is '1e-3', but must be of the type number"),
        ("variants.adam", {}, "mine.yaml: variants has the unknown variant 'adam'; known are sgd, gradient_noise, "),
        ("series", "none.tsv", "The series sheet none.tsv does not exist; name an existing one under series."),
        ("preview.series", "scan", "mine.yaml: preview.series is 'scan', but the sheet has only train_1, test_1."),
    ],
)
def test_a_mistake_in_the_config_ends_with_one_sentence(folder, snakemake, tiny_config, path, value, sentence):
    config = copy.deepcopy(tiny_config)
    put(config, path, value)
    (folder / "mine.yaml").write_text(yaml.safe_dump(config))
    check_sentence(snakemake(folder, "--configfile", "mine.yaml"), sentence)
    assert not (folder / "results").exists()


@pytest.mark.parametrize(
    ("rows", "sentence"),
    [
        (
            ["a\tphantom\t\ttrain\t1", "b\tphantom\t\ttest\t1"],
            "mine.tsv: series a (train) and b (test) are the same data; ",
        ),
        (
            ["a\tdirectory\tscan\ttrain\t", "b\tdirectory\t./scan\ttest\t"],
            "mine.tsv: series a (train) and b (test) are the same data; ",
        ),
        (["a\tinternet\tx\ttrain\t"], "mine.tsv, line 2: source is 'internet', but must be one of phantom, "),
        (["a\tphantom\t\ttrain\t1"], "mine.tsv has no series with the role test; at least one is needed."),
        (
            ["a\tphantom\t\ttrain\t1", "b\tdirectory\tnowhere\ttest\t"],
            "mine.tsv: the location nowhere of series b does not exist.",
        ),
        (
            ["a\tphantom\t\ttrain\t1", "b\tidc\t\ttest\t\tscanner=GE"],
            "mine.tsv, line 3: select: no series is left by the condition scanner=GE; those that fulfil the ",
        ),
    ],
)
def test_a_mistake_in_the_sheet_ends_with_one_sentence(folder, snakemake, rows, sentence):
    (folder / "scan").mkdir()
    (folder / "mine.tsv").write_text("\n".join(["series\tsource\tlocation\trole\tnodule_layout\tselect", *rows]) + "\n")
    outcome = snakemake(folder, "--configfile", "tiny.yaml", "--config", "series=mine.tsv")
    check_sentence(outcome, sentence)
    assert not (folder / "results").exists()


def check_sentence(outcome, sentence):
    assert outcome.status != 0
    assert "Traceback" not in outcome.text
    assert len(outcome.errors) == 1, outcome.text
    assert outcome.errors[0].startswith(sentence)
    # The sentence is the last thing on the screen.
    assert outcome.text.rstrip().endswith(outcome.errors[0])
