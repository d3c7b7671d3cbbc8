"""What tests of the series sheet share."""

import pytest

from quietct.experiment.settings import load_yaml
from quietct.experiment.sheet import read_sheet


@pytest.fixture(scope="module")
def schema(repository):
    """Schema of a row of the series sheet."""
    return load_yaml(repository / "workflow/schemas/series.schema.yaml")


@pytest.fixture(scope="module")
def collection(repository):
    """Path of the table of the public collection."""
    return repository / "resources/phantom_fda_series.tsv"


@pytest.fixture
def sheet(tmp_path, schema, collection):
    """Function that reads a sheet from its text."""

    def read(text):
        path = tmp_path / "sheet.tsv"
        path.write_text(text)
        return read_sheet(path, schema, collection, "sheet.tsv")

    return read
