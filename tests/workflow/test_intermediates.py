"""A run that deletes what can be made again ends like any other, and makes it again where it is needed."""

import shutil

import pytest

DENOISED = ("denoised/**/*.npy",)
OF_PAIRS = ("volumes/*.npy", "noisy/**/*.npy", "patches/**/*.npy")
KEPT = ("summary.tsv", "comparison.tsv", "verdict.json", "gifs/**/*.gif", "figures/**/*.png", "models/**/weights.npz")


def files(folder, patterns):
    results = folder / "results/tiny"
    return sorted(path.relative_to(results) for pattern in patterns for path in results.glob(pattern))


def lean_run(folder, finished, snakemake, kept):
    """Run the tiny experiment with this value of keep_intermediates; its DICOM is there."""
    shutil.copytree(finished / "resources", folder / "resources")
    shutil.copy(finished / "tiny.tsv", folder)
    (folder / "tiny.yaml").write_text((finished / "tiny.yaml").read_text() + f"keep_intermediates: {kept}\n")
    outcome = snakemake(folder, "--configfile", "tiny.yaml")
    assert outcome.status == 0, outcome.text
    return folder


@pytest.fixture(scope="module")
def lean(tmp_path_factory, finished, snakemake):
    """The folder of a finished run that keeps the pairs that trainings read."""
    return lean_run(tmp_path_factory.mktemp("lean"), finished, snakemake, "pairs")


@pytest.fixture(scope="module")
def leanest(tmp_path_factory, finished, snakemake):
    """The folder of a finished run that keeps no intermediate files."""
    return lean_run(tmp_path_factory.mktemp("leanest"), finished, snakemake, "false")


def test_no_denoised_volume_is_left_and_all_results_are_the_same(lean, finished):
    assert files(lean, DENOISED) == []
    assert len(files(finished, DENOISED)) == 4
    assert files(lean, OF_PAIRS) == files(finished, OF_PAIRS)
    check_results(lean, finished)


def test_no_volume_or_patch_is_left_and_all_results_are_the_same(leanest, finished):
    assert files(leanest, [*DENOISED, *OF_PAIRS]) == []
    assert len(files(finished, OF_PAIRS)) == 5
    check_results(leanest, finished)


def check_results(lean, finished):
    for path in (results := files(finished, KEPT)):
        assert (lean / "results/tiny" / path).read_bytes() == (finished / "results/tiny" / path).read_bytes(), path
    assert len(results) > 15
    assert (lean / "results/tiny/report.html").stat().st_size > 100_000
    assert files(lean, ["volumes/*.json"]) == files(finished, ["volumes/*.json"])


def test_nothing_is_made_again_without_a_reason(lean, leanest, snakemake):
    for folder in (lean, leanest):
        assert "Nothing to be done" in snakemake(folder, "-n", "--configfile", "tiny.yaml").text


def test_to_keep_them_from_now_on_makes_nothing_again(lean, snakemake):
    kept = (lean / "tiny.yaml").read_text().replace("keep_intermediates: pairs", "keep_intermediates: true")
    (lean / "kept.yaml").write_text(kept)
    assert "Nothing to be done" in snakemake(lean, "-n", "--configfile", "kept.yaml").text


def test_a_seed_more_trains_only_itself_and_brings_back_what_the_report_shows(lean, snakemake):
    (lean / "more.yaml").write_text((lean / "tiny.yaml").read_text().replace("seeds: [1]", "seeds: [1, 2]"))
    outcome = snakemake(lean, "-n", "--configfile", "more.yaml")
    assert outcome.status == 0, outcome.text
    jobs = outcome.jobs
    assert jobs["train_network"] == 2  # one a variant
    assert jobs["denoise_series"] == 2 + 4  # the new ones, and those of the report
    pairs = {"fetch_series", "convert_series", "add_noise", "extract_patches", "tune_baseline"}
    assert not pairs & jobs.keys()


def test_a_seed_more_trains_all_again_where_the_pairs_are_gone(leanest, snakemake):
    (leanest / "more.yaml").write_text((leanest / "tiny.yaml").read_text().replace("seeds: [1]", "seeds: [1, 2]"))
    jobs = snakemake(leanest, "-n", "--configfile", "more.yaml").jobs
    assert jobs["extract_patches"] == 1
    assert jobs["train_network"] == 4


def test_scans_that_are_all_matched_need_not_be_kept(folder, snakemake):
    rows = ["series\tsource\trole\ttarget\trepeat\tn_slices"]
    rows += [f"{name}\tphantom\t{name}\tlow_{name}\t{k}\t2" for k, name in enumerate(("train", "test"), start=1)]
    rows += [f"low_{name}\tphantom\treference\t\t{k}\t2" for k, name in enumerate(("train", "test"), start=3)]
    (folder / "tiny.tsv").write_text("\n".join(rows) + "\n")
    lean = (folder / "tiny.yaml").read_text() + "keep_intermediates: pairs\n"
    (folder / "lean.yaml").write_text(lean)
    matched = ("results/tiny/targets/train.npy", "results/tiny/matched/train.json")
    outcome = snakemake(folder, "--configfile", "lean.yaml", "--", *matched)
    assert outcome.status == 0, outcome.text
    assert files(folder, ["volumes/*"]) == files(folder, ["volumes/*.json"])
    assert len(files(folder, ["volumes/*"])) == 2
    assert len(files(folder, ["targets/*.npy", "matched/*.npy"])) == 2
