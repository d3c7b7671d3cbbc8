"""The notebook, executed from top to bottom as a reader does it, and its button pressed once more."""

from __future__ import annotations

import base64
import io
import re

import nbformat
import numpy as np
import pytest
from nbclient import NotebookClient
from PIL import Image

# A laptop needs less than three minutes; a busy machine gets four times as long.
LIMIT_S, PATIENCE = 180, 4
PICTURES = {"scans": 1, "noisy": 1, "cut": 1, "film": 1, "compare": 1}
# What a reader does next, with few epochs: other sliders, another training.
AGAIN = """
EPOCHS, SHOWN = 2, [0, 1, 2]
kind.value, exposure.value, learning_rate.value = "low dose", 10, 0.001
button.click()
print(outcome["history"].groupby("variant")["psnr_db"].last().min() > 0, button.disabled)
"""


@pytest.fixture(scope="module")
def executed(repository, tmp_path_factory):
    """The notebook with its outputs: a dict of cell id to the list of its outputs."""
    notebook = nbformat.read(repository / "docs/notebooks/four_backpropagations.ipynb", as_version=4)
    notebook.cells.append(nbformat.v4.new_code_cell(AGAIN, id="again"))
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PYTHONPATH", str(repository / "scripts"))
        patch.setenv("IPYTHONDIR", str(tmp_path_factory.mktemp("ipython")))
        folder = str(tmp_path_factory.mktemp("elsewhere"))
        NotebookClient(notebook, timeout=LIMIT_S * PATIENCE, resources={"metadata": {"path": folder}}).execute()
    return {cell.id: cell.outputs for cell in notebook.cells if cell.cell_type == "code"}


def pictures_of(outputs):
    coded = [output["data"]["image/png"] for output in outputs if "image/png" in output.get("data", {})]
    return [np.asarray(Image.open(io.BytesIO(base64.b64decode(png))).convert("L")) for png in coded]


def test_every_cell_runs_without_an_error_or_a_warning(executed):
    for name, outputs in executed.items():
        for output in outputs:
            assert output.output_type != "error", name
            assert output.get("name") != "stderr", output.text


def test_the_cells_show_their_pictures(executed):
    assert {name: len(pictures_of(executed[name])) for name in PICTURES} == PICTURES
    for name in PICTURES:
        (picture,) = pictures_of(executed[name])
        assert min(picture.shape) > 200, name
        assert picture.std() > 30, f"{name} is all but empty"


def test_the_back_propagation_written_out_is_that_of_the_package(executed):
    (printed,) = executed["rules"]
    assert float(re.search(r"differ by (\S+) of it", printed.text)[1]) < 1e-4


def test_all_four_learn(executed):
    (table,) = [output for output in executed["compare"] if output.output_type == "execute_result"]
    qualities = [float(line.split()[-1]) for line in table["data"]["text/plain"].splitlines()[2:]]
    assert len(qualities) == 4
    # The noisy slice has 13 dB.
    assert min(qualities) > 20


def test_the_button_trains_again_with_what_the_sliders_say(executed):
    (printed,) = [output for output in executed["again"] if output.output_type == "stream"]
    assert printed.text.split() == ["True", "False"]
