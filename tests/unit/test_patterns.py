"""Expressions for names, against the names themselves."""

import re

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from quietct.workflow.patterns import one_of

NAMES = st.lists(st.text("ab1_.|(", max_size=4), max_size=12)


@given(NAMES, NAMES)
@example(["a", "ab", "abc"], ["", "ac", "abcd"])
@example(["", "a"], ["b"])
@example([], [""])
def test_the_names_match_and_nothing_else(names, others):
    pattern = re.compile(one_of(names))
    for name in {*names, *others}:
        assert bool(pattern.fullmatch(name)) == (name in names)


def test_the_order_of_names_and_repeats_among_them_change_nothing():
    assert one_of(["b", "a", "b", 3]) == one_of([3, "a", "b"])


@pytest.mark.parametrize("ending", ["_repeat{}", "_{}"])
def test_what_thousands_of_names_have_in_common_is_written_once(ending):
    names = [f"{role}_{mas}mAs_{kernel}{ending.format(k)}" for role in ("train", "test") for mas in (20, 25, 50, 100)
             for kernel in "BC" for k in range(1, 301)]  # fmt: skip
    pattern = one_of(names)
    assert len(pattern) < 500 * len("train_100mAs_B_repeat300") < len("|".join(names)) / 5
    assert all(re.fullmatch(pattern, name) for name in names)
    # It stands in the path of a file, where braces enclose wildcards.
    assert not set(pattern) & set("{}/")
