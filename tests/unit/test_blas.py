"""OpenBLAS is told about AVX-512, and only then."""

import subprocess
import sys

import pytest

from quietct import blas

FLAGS = "flags\t\t: fpu sse avx2 avx512f avx512cd avx512bw avx512dq avx512vl\n"


@pytest.fixture
def cpuinfo(tmp_path, monkeypatch):
    monkeypatch.delenv("OPENBLAS_CORETYPE", raising=False)
    return tmp_path / "cpuinfo"


def test_a_processor_with_avx512_gets_its_kernels(cpuinfo):
    cpuinfo.write_text("model name\t: of tomorrow\n" + FLAGS)
    assert blas.environment(cpuinfo) == {"OPENBLAS_CORETYPE": "SkylakeX"}


@pytest.mark.parametrize("text", ["", "Features\t: asimd\n", FLAGS.replace("avx512vl", ""), "flags\t\t: fpu avx2\n"])
def test_any_other_processor_is_left_to_openblas(cpuinfo, text):
    cpuinfo.write_text(text)
    assert blas.environment(cpuinfo) == {}


def test_a_system_that_does_not_describe_its_processor_is_left_to_openblas(cpuinfo):
    assert blas.environment(cpuinfo) == {}


def test_what_the_user_chose_stays(cpuinfo, monkeypatch):
    cpuinfo.write_text(FLAGS)
    monkeypatch.setenv("OPENBLAS_CORETYPE", "Haswell")
    assert blas.environment(cpuinfo) == {}


def test_openblas_knows_the_name():
    """OpenBLAS ignores a name that it does not know, without a word."""
    environment = blas.environment()
    code = "import numpy, threadpoolctl as t; print([i.get('architecture') for i in t.threadpool_info()])"
    run = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=True)
    assert not environment or run.stdout.strip() == "['SkylakeX']"
