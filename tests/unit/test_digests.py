from pathlib import Path

import pytest

from quietct.workflow import digests
from quietct.workflow.digests import NO_INFLUENCE, code_digest, code_files, folder_digest


@pytest.fixture
def scripts(tmp_path):
    files = {
        "run_it.py": "from quietct.a import f\nfrom quietct.logs import logged\n",
        "quietct/__init__.py": "",
        "quietct/logs.py": "",
        "quietct/a.py": "import numpy\ndef f():\n    from quietct.sub import b\n",
        "quietct/sub/__init__.py": "",
        "quietct/sub/b.py": "import quietct.a\n",
        "quietct/sub/unused.py": "",
    }
    for name, text in files.items():
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    return tmp_path


def test_files_are_found_through_imports_also_inside_functions(scripts):
    files = [path.relative_to(scripts).as_posix() for path in code_files(scripts / "run_it.py")]
    assert files == ["quietct/a.py", "quietct/sub/__init__.py", "quietct/sub/b.py"]


def digest_after(script, path, text):
    path.write_text(text)
    digests._read_module.cache_clear()
    return code_digest(script)


@pytest.mark.parametrize(
    ("name", "changes"),
    [
        ("run_it.py", True),
        ("quietct/a.py", True),
        ("quietct/sub/b.py", True),
        ("quietct/sub/unused.py", False),
        ("quietct/logs.py", False),
    ],
)
def test_the_digest_changes_with_the_script_and_what_it_imports_only(scripts, name, changes):
    script = scripts / "run_it.py"
    before = code_digest(script)
    assert (digest_after(script, scripts / name, (scripts / name).read_text() + "x = 1\n") != before) is changes


CODE = '''"""A module."""
import math

class Shape:
    """A shape."""

    def area(self, a, b):
        """Give the area."""
        return {"unit": "mm", "area": a * b}  # in a dict
'''


@pytest.mark.parametrize(
    ("old", "new", "changes"),
    [
        ("  # in a dict", "", False),
        ("import math\n", "# about math\n\nimport math\n", False),
        ("A module.", "Another module.", False),
        ('    """A shape."""\n\n', "", False),
        ('"""Give the area."""', '"""Give the area, in words."""', False),
        ('{"unit": "mm", "area": a * b}', "{\n            'unit': 'mm',\n            'area': a * b,\n        }", False),
        ("a * b", "b * a", True),
        ('"mm"', '"cm"', True),
        ("# in a dict", "# in a dict\n        # and more", False),
        ("(self, a, b)", "(self, a, b=2)", True),
    ],
)
def test_the_digest_changes_with_what_code_does_and_not_with_what_is_said_of_it(scripts, old, new, changes):
    script, module = scripts / "run_it.py", scripts / "quietct/a.py"
    before = digest_after(script, module, CODE)
    assert CODE.count(old) == 1
    assert (digest_after(script, module, CODE.replace(old, new)) != before) is changes


def test_every_script_depends_on_the_modules_it_runs(repository):
    scripts: Path = repository / "scripts"
    for script in scripts.glob("*.py"):
        files = {path.relative_to(scripts).as_posix() for path in code_files(script)}
        assert files, script.name
        assert not files & NO_INFLUENCE
    training = {path.relative_to(scripts).as_posix() for path in code_files(scripts / "train_network.py")}
    assert {"quietct/nn/conv/winograd.py", "quietct/nn/network.py"} <= training
    assert not [name for name in training if name.startswith(("quietct/figures", "quietct/ct/phantom"))]


def test_the_digest_of_a_folder_changes_with_bytes_and_names_of_its_files(tmp_path):
    (tmp_path / "page.html").write_text("one")
    before = folder_digest(tmp_path)
    assert folder_digest(tmp_path) == before
    (tmp_path / "page.html").write_text("two")
    edited = folder_digest(tmp_path)
    (tmp_path / "page.html").rename(tmp_path / "other.html")
    assert len({before, edited, folder_digest(tmp_path)}) == 3
