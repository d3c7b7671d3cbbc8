import ast
import re
import sys
import tomllib

import pytest
import yaml

# What conda-forge and bioconda call otherwise.
CONDA_NAMES = {"matplotlib": "matplotlib-base", "python-gdcm": "gdcm", "snakemake": "snakemake-minimal"}
# Import names that differ from the package's name.
IMPORT_NAMES = {
    "PIL": "pillow",
    "dicomanonymizer": "dicom-anonymizer",
    "pywt": "pywavelets",
    "skimage": "scikit-image",
    "yaml": "pyyaml",
}


@pytest.fixture(scope="module")
def project(repository):
    return tomllib.loads((repository / "pyproject.toml").read_text(encoding="utf-8"))["project"]


def split(requirement):
    name, bounds = re.fullmatch(r"([A-Za-z0-9_.-]+)\s*(.*)", requirement).groups()
    return re.sub(r"[-_.]+", "-", name).lower(), bounds


def test_conda_gets_the_same_packages_and_bounds_as_pip(repository, project):
    environment = yaml.safe_load((repository / "environment.yml").read_text(encoding="utf-8"))
    conda = dict(split(requirement) for requirement in environment["dependencies"])
    pip = {CONDA_NAMES.get(name, name): bounds for name, bounds in map(split, project["dependencies"])}
    assert conda == {"python": project["requires-python"], **pip}


def test_constraints_pin_every_declared_package_within_its_bounds_and_name_no_address(repository, project):
    from packaging.requirements import Requirement

    lines = (repository / "constraints.txt").read_text(encoding="utf-8").splitlines()
    pins = {}
    for line in lines:
        if line.startswith("#"):
            continue
        name, version = re.fullmatch(r"([A-Za-z0-9_.-]+)==([A-Za-z0-9_.]+)", line).groups()
        pins[split(name)[0]] = version
    extras = project["optional-dependencies"]
    for text in [*project["dependencies"], *extras["test"], *extras["notebook"]]:
        requirement = Requirement(text)
        assert requirement.specifier.contains(pins[split(requirement.name)[0]]), text
    assert not {"torch", "bm3d"} & set(pins)


def test_the_code_imports_nothing_that_is_not_declared(repository, project):
    needed = [*project["dependencies"], *project["optional-dependencies"]["bm3d"]]
    declared = {split(requirement)[0] for requirement in needed}
    for path in (repository / "scripts").rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_bytes())):
            names = []
            if isinstance(node, ast.Import):
                names = [alias.name for alias in node.names]
            elif isinstance(node, ast.ImportFrom) and not node.level:
                names = [node.module]
            for name in names:
                top = name.split(".")[0]
                if top not in sys.stdlib_module_names and top != "quietct":
                    assert IMPORT_NAMES.get(top, top) in declared, f"{path.name} imports {top}"


def test_every_rule_has_a_script_of_its_name_and_every_script_a_rule(repository):
    rules = {
        name
        for path in (repository / "workflow/rules").glob("*.smk")
        for name in re.findall(r"^rule (\w+):", path.read_text(encoding="utf-8"), flags=re.MULTILINE)
    }
    assert rules == {path.stem for path in (repository / "scripts").glob("*.py")}
