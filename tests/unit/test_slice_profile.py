import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from quietct.ct.slice_profile import independent_cells, noise_cells, shared_normals


def correlation(a, b):
    """Of two slices that are sums of independent cells."""
    return sum(weight * dict(b).get(cell, 0.0) for cell, weight in a)


@given(st.lists(st.integers(-3000, 3000), min_size=1, max_size=12, unique=True), st.integers(1, 2500))
def test_slices_share_the_noise_of_the_part_that_overlaps(z, thickness):
    """Whatever the heights and their order, in tenths of a millimetre."""
    cells = noise_cells([value / 10 for value in z], thickness / 10)
    for i, a in enumerate(cells):
        for j, b in enumerate(cells):
            assert correlation(a, b) == pytest.approx(max(0, 1 - abs(z[i] - z[j]) / thickness), abs=1e-9)


def test_slices_side_by_side_share_nothing():
    """Although their faces meet only up to a rounding error."""
    cells = noise_cells([0.1 * 3 * k for k in range(50)], 0.3)
    assert [len(own) for own in cells] == [1] * 50
    assert len({own[0][0] for own in cells}) == 50
    assert cells == [[(k, 1.0)] for k in range(50)]
    assert cells == independent_cells(50)


def test_drawn_numbers_are_standard_normal_and_correlate_as_their_cells():
    cells = noise_cells([0.0, 2.0, 4.0, 6.0], 5.0)
    drawn = [shared_normals(own, (300, 300), [1, 2]) for own in cells]
    assert drawn[0].dtype == np.float32
    measured = np.corrcoef([normals.ravel() for normals in drawn])
    assert measured[0] == pytest.approx([1, 0.6, 0.2, 0], abs=0.015)
    for normals in drawn:
        assert normals.std() == pytest.approx(1, abs=0.01)
        assert (normals**4).mean() == pytest.approx(3, abs=0.1)


def test_a_cell_has_its_own_stream():
    cells = noise_cells([0.0, 2.0, 4.0], 5.0)
    third = shared_normals(cells[2], (4, 5), [1, 2])
    assert np.array_equal(shared_normals(cells[2], (4, 5), [1, 2]), third)
    for stream in ([1, 3], [2, 2]):
        assert not np.array_equal(shared_normals(cells[2], (4, 5), stream), third)
