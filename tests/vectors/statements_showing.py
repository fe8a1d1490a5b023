"""The sentences of the vectors about what is printed and counted."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import jax
import pytest

from axonax import graph as nn
from axonax.tensor.precision import Policy
from vectors import values_graph
from vectors.statements_graph import KEY, leaves, x


def count(model: Any) -> int:
    return sum(values_graph.counts(model).values())


def last_name(model: Any) -> str:
    """The name of the output in the table."""
    rows = values_graph.printed(model)
    return str(rows[-1]["name"])


def inspect_basic() -> None:
    model = nn.input("input", (None, 784)) | nn.dense(128) | nn.dense(10) | nn.softmax()
    assert (count(model), last_name(model)) == (4, "softmax_0")
    assert str(model).endswith('Inputs: {"input": (None, 784)}')


def sequence_is_a_part() -> None:
    """Ours by policy: a recurrent layer is one node; its sequence is the node, its state further parts."""
    model = nn.input("x", (None, 3, 2)) | nn.lstm(4, name="lstm")
    assert (count(model), last_name(model)) == (2, "lstm")


def inspect_moduledoc() -> None:
    model = x() | nn.dense(8) | nn.relu() | nn.batch_norm() | nn.dropout(0.8) | nn.dense(4) | nn.tanh()
    model = model | nn.dense(2) | nn.softmax()
    assert (count(model), last_name(model)) == (9, "softmax_0")


def inspect_seq() -> None:
    model = x() | nn.dense(8) | nn.relu() | nn.dropout(0.5) | nn.dense(1) | nn.softmax()
    assert (count(model), last_name(model)) == (6, "softmax_0")


def sums_are_one_node() -> None:
    """Ours by policy: a sum takes its inputs itself; upstream has a container in front of it."""
    model = nn.input("a", (None, 2)) + nn.input("b", (None, 2))
    assert (count(model), last_name(model)) == (3, "add_0")


def inspect_container() -> None:
    given = x()
    model = nn.container(tuple(given | nn.dense(2) | nn.relu() for _ in range(2)))
    assert (count(model), last_name(model)) == (6, "container_0")


def branches_meet_in_one_node() -> None:
    """Ours by policy: likewise."""
    given = x(8)
    model = (given | nn.dense(32)) + (given | nn.dense(64) | nn.relu() | nn.dense(32))
    assert (count(model), last_name(model)) == (6, "add_0")


def op_counts() -> None:
    assert values_graph.counts(x() | nn.dense(1)) == {"input": 1, "dense": 1}
    assert values_graph.counts(x() | nn.tanh() | nn.tanh()) == {"input": 1, "tanh": 2}


def get_inputs() -> None:
    model = nn.input("a", (None, 2)) | nn.dense(3)
    lines = str(model + nn.input("b")).splitlines()
    assert lines[-1] == 'Inputs: {"a": (None, 2), "b": ?}'


def states_are_outlined() -> None:
    """Ours by policy: a state shows the path, dtype and shape of each leaf in its part, without sums."""
    model = x() | nn.dense(3) | nn.batch_norm()
    state = jax.eval_shape(lambda: nn.build(model).init(KEY)).freeze("dense_0/**")
    assert repr(state).split() == [
        *("ModelState", "params", "batch_norm_0/offset", "float32[3]", "batch_norm_0/scale", "float32[3]"),
        *("frozen", "dense_0/bias", "float32[3]", "dense_0/kernel", "float32[2,", "3]"),
        *("buffers", "batch_norm_0/mean", "float32[3]", "batch_norm_0/var", "float32[3]"),
    ]


def readme() -> Any:
    return nn.input("input", (None, 784)) | nn.dense(128) | nn.dense(10) | nn.softmax()


def readme_dense0() -> None:
    row = values_graph.printed(readme())[1]
    assert (row["name"], row["count"], row["bytes"]) == ("dense_0", 100480, 401920)
    shapes = leaves(readme())
    assert [shapes[f"dense_0/{name}"].shape for name in ("kernel", "bias")] == [(784, 128), (128,)]


def readme_total() -> None:
    totals = [values_graph.total_of(readme(), f"Total Parameters{unit}") for unit in ("", " Memory")]
    assert totals == [101770, 407080]


def columns_of_two_tables() -> None:
    """Ours by policy: a printed model has the columns of the README; the detailed table has more."""
    lines = str(readme()).splitlines()
    assert lines[1].strip() == "Model"
    columns = [cell.strip() for cell in lines[3].split("   ") if cell.strip()]
    assert columns == ["Layer", "Shape", "Policy", "Parameters", "Parameters Memory"]
    table = nn.table(readme(), (1, 784))
    assert table.title == "Model"
    assert table.columns[:6] == ("Layer", "Input", "Output", "Dtype", "Options", "Parameters")


def plain_bytes() -> None:
    """Ours by policy: plain bytes, as the README shows them."""
    assert "Total Parameters Memory: 407080 bytes" in str(readme())


def param_bytes() -> None:
    half = nn.with_policy(readme(), Policy(params="bf16"))
    assert [values_graph.printed(model)[1]["bytes"] for model in (readme(), half)] == [401920, 200960]


def scale_and_offset() -> None:
    """Ours by policy: a norm has a scale and an offset, and its statistics are buffers."""
    model = nn.input("x", (None, 784)) | nn.dense(128) | nn.relu() | nn.batch_norm() | nn.dropout(0.8)
    model = model | nn.dense(64) | nn.tanh() | nn.dense(10) | nn.softmax()
    shapes = {path: leaf.shape for path, leaf in leaves(model).items()}
    for name in ("scale", "offset", "mean", "var"):
        assert shapes[f"batch_norm_0/{name}"] == (128,)
    kernels = [shapes[f"dense_{n}/kernel"] for n in range(3)]
    assert kernels == [(784, 128), (128, 64), (64, 10)]


def autoencoder_params() -> None:
    model = nn.input("image", (None, 784))
    for units in (256, 128, 64, 10, 64, 128, 256, 784):
        model = model | nn.dense(units)
    assert values_graph.total_of(model, "Total Parameters") == 486298


def boxes_of_three_lines() -> None:
    """Ours by policy: ``flowchart`` is Mermaid's present word; a box has the name, the call and the shape."""
    model = nn.input("x", (2, 8)) | nn.dense(32)
    for direction, word in (("down", "TD"), ("right", "LR")):
        lines = nn.mermaid(model, direction=direction).splitlines()
        assert lines[0] == f"flowchart {word}"
        assert lines[1].endswith('["x<br>(2, 8)"]')
        assert lines[2].endswith('["dense_0<br>dense units=32<br>(2, 32)"]')


def graph_direction_bad() -> None:
    with pytest.raises(ValueError, match='unknown mermaid direction "up"'):
        nn.mermaid(readme(), direction="up")


PASSING: dict[str, Callable[[], None]] = {
    f"{area}/{each.__name__}": each
    for area, several in {
        "models": (inspect_basic, inspect_moduledoc, inspect_seq, inspect_container, op_counts, get_inputs),
        "display": (readme_dense0, readme_total, param_bytes, autoencoder_params, graph_direction_bad),
    }.items()
    for each in several
}
POLICY: dict[str, Callable[[], None]] = {
    "models/inspect_lstm": sequence_is_a_part,
    "models/inspect_add": sums_are_one_node,
    "models/inspect_branch": branches_meet_in_one_node,
    "models/state_inspect": states_are_outlined,
    "display/columns": columns_of_two_tables,
    "display/sizes": plain_bytes,
    "display/graph_format": boxes_of_three_lines,
    "display/moduledoc_model": scale_and_offset,
}
BY_CASES = {
    "display/graph_seq": "models/node_shapes/3",
    "display/graph_branch": "models/node_shapes/1",
    "display/graph_conv": "models/node_shapes/2",
}
"""Sentences that other cases hold in full."""
