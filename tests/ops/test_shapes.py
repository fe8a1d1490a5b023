"""The shapes in each signature are those of every case and its result; dtypes change on purpose alone."""

from __future__ import annotations

import dataclasses
import inspect
import itertools
import re

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from beartype import BeartypeConf, beartype
from jaxtyping import TypeCheckError, jaxtyped

from axonax.tensor import layers
from ops.table import OPS

CHECKER = beartype(conf=BeartypeConf(is_pep484_tower=True))  # an int is a float to a reader


def result_of(op) -> str:
    """The annotation of the result; of a record of ours, those of its fields."""
    annotation = str(inspect.signature(op).return_annotation)
    record = getattr(layers, annotation, None)
    return annotation if record is None else " ".join(field.type for field in dataclasses.fields(record))


@pytest.mark.parametrize("row", OPS, ids=lambda row: row.name)
def test_every_case_has_the_shapes_of_the_signature(row):
    assert re.search(r"\[Array(Like)?, ", result_of(row.op)), "the result's shape"
    checked = jaxtyped(row.op, typechecker=CHECKER)
    for one in row.cases:
        jax.eval_shape(one.bind(checked), *one.cast(np.float32))


@pytest.mark.parametrize("row", OPS, ids=lambda row: row.name)
def test_nothing_is_promoted_unseen(row):
    with jax.numpy_dtype_promotion("strict"):
        for one, dtype in itertools.product(row.cases, (np.float32, jnp.bfloat16)):
            jax.eval_shape(one.bind(row.op), *one.cast(dtype))


def test_another_shape_is_caught():
    checked = jaxtyped(layers.dense, typechecker=CHECKER)
    with pytest.raises(TypeCheckError, match="kernel"):
        jax.eval_shape(checked, np.ones((2, 3)), np.ones((4, 5)))
