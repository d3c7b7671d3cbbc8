import json
import subprocess
from importlib import metadata

import yaml

from quietct.workflow import record
from quietct.workflow.record import git_commit, record_run


def test_the_record_holds_a_usable_config_the_versions_and_the_machine(tmp_path):
    config = {"run": "demo", "window_hu": [-1350, 150], "train": {"learning_rate": 1e-10}}
    record_run(tmp_path / "deep/config.yaml", json.dumps(config))
    found = yaml.safe_load((tmp_path / "deep/config.yaml").read_text())
    assert found["config"] == config
    assert found["packages"]["numpy"] == metadata.version("numpy")
    assert found["machine"]["cores"] >= 1
    assert found["machine"]["processor"]
    assert any("openblas" in name or "mkl" in name or "blis" in name for name in found["machine"]["blas"])
    assert found["python"].count(".") == 2


def test_the_record_says_what_was_left_out_of_the_run_and_why(tmp_path):
    config = {"baselines": {"bm3d": {"sigma_factor": [1]}}}
    record_run(tmp_path / "config.yaml", json.dumps(config), {"bm3d": "It is not installed."})
    found = yaml.safe_load((tmp_path / "config.yaml").read_text())
    assert found["config"] == config
    assert found["left_out"] == {"bm3d": "It is not installed."}
    record_run(tmp_path / "config.yaml", json.dumps(config), {})
    assert "left_out" not in yaml.safe_load((tmp_path / "config.yaml").read_text())


def test_the_commit_is_that_of_the_code_and_says_when_files_differ(tmp_path, monkeypatch):
    def git(*words):
        command = ["git", "-c", "user.name=t", "-c", "user.email=t@example.org", *words]
        return subprocess.run(command, cwd=tmp_path, check=True, capture_output=True, text=True).stdout.strip()

    (tmp_path / "workflow").mkdir()
    (tmp_path / "code.py").write_text("")
    monkeypatch.setattr(record, "__file__", str(tmp_path / "workflow" / "record.py"))
    git("init", "-q")
    git("add", ".")
    git("commit", "-q", "--no-verify", "-m", "first")
    assert git_commit() == git("rev-parse", "HEAD")
    (tmp_path / "code.py").write_text("pass")
    assert git_commit() == git("rev-parse", "HEAD") + "+changes"


def test_outside_a_clone_there_is_no_commit(tmp_path, monkeypatch):
    monkeypatch.setattr(record, "__file__", str(tmp_path / "workflow" / "record.py"))
    monkeypatch.setenv("GIT_CEILING_DIRECTORIES", str(tmp_path.parent))
    assert git_commit() is None
