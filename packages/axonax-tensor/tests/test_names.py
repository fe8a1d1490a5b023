"""Errors that list near matches."""

import pytest

from axonax.tensor import names


@pytest.mark.parametrize(
    ("name", "known", "text"),
    [
        ("rellu", ["relu", "tanh"], 'did you mean "relu"?'),
        ("qqq", ["tanh", "relu"], 'known are "relu", "tanh"'),
        ("qqq", [], "none are known"),
    ],
)
def test_suggestions(name, known, text):
    assert names.suggestion(name, known) == text


def test_lookup_takes_names_that_are_no_texts():
    assert names.lookup({"a": 1}, "a", "thing") == 1
    with pytest.raises(ValueError, match='unknown thing "None": known are "a"'):
        names.lookup({"a": 1}, None, "thing")
