"""The cases of a shared set of test vectors, from the folder that ``AXONAX_VECTORS`` names."""

import json
import os
from pathlib import Path

import numpy as np
import pytest

from axonax.functional import losses, metrics

FOLDER = Path(os.environ.get("AXONAX_VECTORS") or Path(__file__).parents[3] / "../shared/vectors")
DTYPES = {"f16": "float16", "f32": "float32", "f64": "float64", "s8": "int8", "s32": "int32", "u8": "uint8"}
OPS = {
    "losses.binary_cross_entropy": losses.binary_cross_entropy,
    "losses.categorical_cross_entropy": losses.categorical_cross_entropy,
    "losses.mean_squared_error": losses.mean_squared_error,
    "metrics.accuracy": lambda y_true, y_pred, **options: metrics.accuracy(**options)(y_true, y_pred),
}


def cases(kind):
    found = []
    for name in ("losses.json", "metrics.json"):
        if (FOLDER / name).exists():
            found += json.loads((FOLDER / name).read_text())
    return [each for each in found if each.get("op") in OPS and each["kind"] == kind]


def tensor(encoded):
    return np.array(encoded["data"], DTYPES[encoded["dtype"]]).reshape(encoded["shape"])


def call(case):
    return OPS[case["op"]](*(tensor(each) for each in case["inputs"]), **case["kwargs"])


def weighted_unreduced(case):
    """Ours where Axon returns a scalar: binary cross-entropy with class weights honours reduction="none"."""
    y_true, p = (tensor(each).astype(np.float64) for each in case["inputs"])
    options = case["kwargs"]
    p = 1 / (1 + np.exp(-p)) if options.get("from_logits") else p
    positive, negative = options.get("positive_weight", 1), options.get("negative_weight", 1)
    elements = -positive * y_true * np.log(p) - negative * (1 - y_true) * np.log(1 - p)
    return elements.mean(-1) if elements.ndim > 1 else elements


def is_weighted_unreduced(case):
    options = case["kwargs"]
    weighted = "positive_weight" in options or "negative_weight" in options
    return (
        case["op"] == "losses.binary_cross_entropy"
        and weighted
        and options.get("reduction", "none") == "none"
    )


def test_the_vectors_are_there():
    if not FOLDER.is_dir():
        pytest.skip(f"no test vectors at {FOLDER}: set AXONAX_VECTORS")
    assert {each["op"] for each in cases("numeric")} == set(OPS)


@pytest.mark.parametrize("case", cases("numeric"), ids=lambda case: case["id"])
def test_numeric_case(case):
    got = call(case)
    expected = weighted_unreduced(case) if is_weighted_unreduced(case) else tensor(case["expected"][0])
    assert got.shape == expected.shape
    np.testing.assert_allclose(got, expected, rtol=case["rtol"], atol=case["atol"])
    if case["check_dtype"]:
        assert got.dtype == expected.dtype


@pytest.mark.parametrize("case", cases("raises"), ids=lambda case: case["id"])
def test_raising_case(case):
    with pytest.raises(ValueError, match="shape"):
        call(case)
