"""`quietct.nn` as a library of its own."""

import doctest
import subprocess
import sys

import quietct.nn
from quietct.nn.conv import functions


def test_nn_needs_numpy_and_threadpoolctl_alone(repository):
    code = f"""
import sys
sys.path.insert(0, {str(repository / "scripts")!r})
import pkgutil, quietct.nn
for module in pkgutil.walk_packages(quietct.nn.__path__, "quietct.nn."):
    __import__(module.name)
others = {{name.partition(".")[0] for name in sys.modules}} - set(sys.stdlib_module_names)
print(*others)
"""
    run = subprocess.run([sys.executable, "-I", "-c", code], capture_output=True, text=True, check=True)
    of_python = {"__main__", "__mp_main__", "_distutils_hack"}
    assert set(run.stdout.split()) - of_python == {"numpy", "quietct", "threadpoolctl"}


def test_examples_of_the_docstrings_are_true():
    for module in (quietct.nn, functions):
        result = doctest.testmod(module)
        assert result.attempted > 0
        assert result.failed == 0
