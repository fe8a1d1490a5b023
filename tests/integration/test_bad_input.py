"""What a user sees who gets something wrong: at once, by name, with what was required and what came."""

import pathlib
import subprocess
import sys

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from axonax import graph as nn
from axonax import loop, optim

X = np.zeros((6, 4), np.float32)
Y = np.array([0, 1, 2, 0, 1, 2], np.int32)


def model():
    return nn.input("x", (None, 4)) | nn.dense(3, activation="softmax", name="head")


def trainer():
    return loop.trainer(model(), "categorical_cross_entropy", "adamw").metric("accuracy")


def test_a_wrong_shape_names_the_layer_its_line_and_both_shapes():
    wrong = nn.dense(3, name="head")
    line = pathlib.Path(__file__).name
    with pytest.raises(ValueError, match=rf"(?s)x.*{line}:\d+.*\(None, 4\).*\(6, 5\)"):
        nn.predict(model(), nn.build(model()).init(jax.random.key(0), X), np.zeros((6, 5), np.float32))
    state = nn.build(nn.input("x", (None, 4)) | wrong).init(jax.random.key(0), X)
    with pytest.raises(ValueError, match=rf"(?s)head.*{line}:\d+.*\(4, 3\).*5"):
        nn.predict(nn.input("x", (None, 5)) | wrong, state, np.zeros((6, 5), np.float32))


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: loop.trainer(model(), "categorical_crossentropy", "adamw"), "categorical_cross_entropy"),
        (lambda: loop.trainer(model(), "categorical_cross_entropy", "adamv"), "adamw"),
        (lambda: trainer().metric("acuracy", name="a"), "accuracy"),
        (lambda: nn.dense(3, activation="sotfmax"), "softmax"),
        (lambda: trainer().on("iteration_complete", print), "iteration_completed"),
    ],
    ids=["loss", "optimizer", "metric", "activation", "event"],
)
def test_a_misspelt_name_lists_near_matches(make, message):
    with pytest.raises(ValueError, match=f'did you mean.*"{message}"'):
        make()


def test_a_misspelt_option_lists_near_matches():
    with pytest.raises((TypeError, ValueError), match="did you mean.*threshold"):
        trainer().metric("accuracy", name="other", treshold=0.3)
    with pytest.raises((TypeError, ValueError), match="weight_decay"):
        optim.adamw(0.1, wieght_decay=0.1)


WITHOUT_OWNERS = """
import importlib.metadata
import sys

OWNERS = "axonax-functional", "axonax-optim"
discover = importlib.metadata.Distribution.discover
importlib.metadata.Distribution.discover = classmethod(
    lambda cls, **query: (each for each in discover(**query) if each.name not in OWNERS)
)
import optax
from axonax import loop

model = (lambda key: {}, lambda params, inputs: inputs)
for program in sys.argv[1:]:
    try:
        eval(program)
    except ValueError as error:
        print(error)
"""
NAMED = {
    ("loss", "huber", "axonax-functional"): "loop.trainer(model, 'huber', optax.sgd(0.1))",
    ("optimizer", "adamw", "axonax-optim"): "loop.trainer(model, lambda y, p: p, 'adamw')",
    ("metric", "accuracy", "axonax-functional"): "loop.evaluator(model).metric('accuracy')",
}


def test_a_name_whose_owner_is_absent_says_what_to_install():
    command = [sys.executable, "-c", WITHOUT_OWNERS, *NAMED.values()]
    printed = subprocess.run(command, check=True, capture_output=True, text=True).stdout
    assert printed.splitlines() == [
        f'{kind} "{name}" comes with {owner}, which is not installed: pip install {owner}'
        for kind, name, owner in NAMED
    ]


@pytest.mark.parametrize(
    ("data", "message"),
    [
        ([], "no batch"),
        ([(X, Y), (X, Y.astype(np.float32))], r"targets.*int32.*float32|int32.*float32"),
        ([(X, Y), (X, Y, np.ones(6, np.float32))], "batch 1.*weights"),
        ([(X, Y), (X[:, :3], Y)], r"batch 1.*inputs.*\[6, 4\].*\[6, 3\]"),
        ([(X, Y[:5])], r"targets of shape \(5,\) do not fit predictions of shape \(6, 3\)"),
        ([(X, np.array([0, 1, 2, 0, 1, 3], np.int32))], r"batch 0.*\[0, 3\), got 3"),
        ([(X, Y.astype(np.float32))], "integer"),
        ([(X, np.zeros((6, 4), np.float32))], r"\(6, 4\).*\(6, 3\)"),
        ([(X, Y[:, None])], r"\(6, 1\).*\(6, 3\)"),
    ],
    ids=["empty", "dtype", "structure", "shape", "rows", "range", "float", "classes", "rank"],
)
def test_data_that_does_not_fit_is_an_error_at_the_batch(data, message):
    with pytest.raises((ValueError, TypeError), match=f"(?s){message}"):
        trainer().run(data)


def test_minimize_refuses_what_is_no_objective():
    with pytest.raises(ValueError, match=r"(?s)objective.*\(2,\)"):
        optim.minimize(lambda x: x, jnp.zeros(2), "adam")


def test_a_label_out_of_range_in_a_later_batch_is_named(caplog):
    model = nn.input("x", (None, 4)) | nn.dense(3, activation="softmax")
    x, y = np.ones((8, 4), np.float32), np.zeros(8, np.int32)
    bad = y.copy()
    bad[5] = 7
    loop.trainer(model, "categorical_cross_entropy", "sgd").run([(x, y), (x, bad)])
    (said,) = [record.getMessage() for record in caplog.records]
    assert said.startswith("the loss was not finite at step 2 of epoch 1 (iteration 2): ")
    assert "7" in said
