import nbformat
import pytest


@pytest.fixture(scope="module")
def path(repository):
    return repository / "docs/notebooks/four_backpropagations.ipynb"


def test_the_notebook_is_valid_and_holds_nothing_that_was_computed(path):
    notebook = nbformat.read(path, as_version=nbformat.NO_CONVERT)
    nbformat.validate(notebook)
    assert "widgets" not in notebook.metadata
    for cell in notebook.cells:
        assert set(cell.metadata) <= {"tags"}, cell.id
        if cell.cell_type == "code":
            assert cell.outputs == [], cell.id
            assert cell.execution_count is None, cell.id


def test_the_first_cell_installs_the_package_before_another_imports_it(path):
    first, *others = [cell.source for cell in nbformat.read(path, 4).cells if cell.cell_type == "code"]
    assert "%pip install" in first
    assert "import quietct" not in first
    assert "from quietct" not in first
    assert any("from quietct.nn" in source for source in others)
