import math

from quietct.canonical import canonical_json, digest_of, plain_numbers


def test_the_order_of_keys_changes_neither_json_nor_digest():
    one, other = {"a": 1, "b": {"c": [1, 2], "d": 0.5}}, {"b": {"d": 0.5, "c": [1, 2]}, "a": 1}
    assert canonical_json(one) == canonical_json(other) == '{"a":1,"b":{"c":[1,2],"d":0.5}}'
    assert digest_of(one) == digest_of(other)
    assert digest_of(one) != digest_of({**one, "a": 2})


def test_a_whole_number_is_the_same_with_and_without_a_point():
    assert canonical_json({"a": [3.0, (-0.0, 1e15)]}) == '{"a":[3,[0,1000000000000000]]}'
    plain = plain_numbers({"b": 3.0, "a": {"c": [2.5, True, None, "3.0", math.inf]}})
    assert repr(plain) == "{'b': 3, 'a': {'c': [2.5, True, None, '3.0', inf]}}"
    # Beyond 2**53 floats have gaps: 1e300 is no whole number that anybody meant.
    assert canonical_json(1e300) == "1e+300"
