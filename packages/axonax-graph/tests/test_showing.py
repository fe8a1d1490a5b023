"""What a model shows: a table with costs, HTML, a flowchart, and its difference to another."""

import re
import sys
from html.parser import HTMLParser
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings

from axonax import graph as nn
from axonax.graph.data._layer import Computation
from axonax.tensor import initializers
from axonax.tensor.contracts import ModelState
from axonax.tensor.precision import Policy

sys.path.insert(0, str(Path(__file__).parent))

import graphs

ODD = "a<b> & 'c' #1 `d`"


def x(shape=(None, 3), name="x"):
    return nn.input(name, shape)


def cells(table, name):
    """The row of a node by column."""
    row = next(row for row in table.rows if row[0] == name)
    return dict(zip(table.columns, row, strict=True))


def small():
    return x((None, 8, 8, 3)) | nn.conv(4, 3, name="first") | nn.batch_norm() | nn.flatten() | nn.dense(5)


class TestTable:
    def test_a_row_says_what_a_layer_takes_gives_and_was_asked_for(self):
        table = nn.table(small(), (2, 8, 8, 3))
        assert cells(table, "first") == {
            "Layer": "first",
            "Input": "(2, 8, 8, 3)",
            "Output": "(2, 6, 6, 4)",
            "Dtype": "float32",
            "Options": "filters=4, kernel_size=3",
            "Parameters": "112",
            "Memory": "448 bytes",
            "FLOPs": str(2 * 2 * 36 * 4 * 27 + 2 * 36 * 4),
            "Activations": f"{2 * 36 * 4 * 4} bytes",
        }
        assert cells(table, "batch_norm_0")["Parameters"] == "8 (+8 in buffers)"

    def test_totals(self):
        table = nn.table(small(), (2, 8, 8, 3))
        flops = sum(int(row[table.columns.index("FLOPs")]) for row in table.rows)
        values = [int(row[-1].split()[0]) for row in table.rows]
        assert table.notes[-2:] == (f"Total FLOPs: {flops}", f"Total Activations: {sum(values[1:])} bytes")
        assert "Total Parameters: 845" in table.notes

    def test_open_sizes_leave_costs_open(self):
        table = nn.table(small())
        assert cells(table, "dense_0")["Input"] == "(None, 144)"
        assert cells(table, "dense_0")["Parameters"] == "725"
        assert [cells(table, "dense_0")[name] for name in ("FLOPs", "Activations")] == ["?", "? bytes"]
        assert "Total FLOPs: ?" in table.notes
        unknown = nn.table(nn.input("x") | nn.dense(2))
        assert cells(unknown, "dense_0")["Output"] == cells(unknown, "dense_0")["Dtype"] == "?"

    @pytest.mark.parametrize(
        ("patterns", "expected"),
        [
            ([], ["trained", "trained", "trained"]),
            (["first/**"], ["frozen", "trained", "trained"]),
            (["**/scale", "dense_0/**"], ["trained", "1 of 2 frozen", "frozen"]),
        ],
    )
    def test_a_state_tells_what_is_trained(self, patterns, expected):
        state = nn.build(small()).init(jax.random.key(0))
        table = nn.table(small(), state=state.freeze(*patterns) if patterns else state)
        assert [cells(table, name)["Trained"] for name in ("first", "batch_norm_0", "dense_0")] == expected
        assert cells(table, "flatten_0")["Trained"] == ""

    def test_inputs_may_come_by_name_and_be_left_out(self):
        model = nn.or_else(x(name="a") | nn.dense(3), nn.input("b", (None, 3), optional=True))
        table = nn.table(model, {"a": jax.ShapeDtypeStruct((4, 3), "float32")})
        assert cells(table, "b")["Output"] == "None"
        assert cells(table, "or_else_0")["Output"] == "(4, 3)"

    def test_a_shared_layer_costs_at_each_use_and_is_counted_once(self):
        encode = nn.dense(3)
        table = nn.table(x() | encode | encode, (1, 3))
        assert [cells(table, name)["FLOPs"] for name in ("dense_0", "dense_0@1")] == ["21", "21"]
        assert [cells(table, name)["Parameters"] for name in ("dense_0", "dense_0@1")] == ["12", "0"]

    def test_ties_are_followed(self):
        encode = nn.dense(2)
        model = x() | encode | nn.dense(3, kernel_initializer=nn.tied(encode, transform=jnp.transpose))
        assert cells(nn.table(model, (1, 3)), "dense_1")["FLOPs"] == "15"

    def test_nothing_is_computed_or_allocated(self):
        table = nn.table(x() | nn.dense(10**9, use_bias=False), (10**6, 3))
        assert cells(table, "dense_0")["FLOPs"] == str(6 * 10**15)

    @pytest.mark.parametrize(
        ("call", "error", "text"),
        [
            (lambda: nn.table(nn.dense(2)), TypeError, "table: needs a node"),
            (lambda: nn.table(x(), state={}), TypeError, "table: state must be a ModelState, got dict"),
            (lambda: nn.table(x() | nn.dense(2), (2, 4)), ValueError, "declared with shape"),
        ],
    )
    def test_errors(self, call, error, text):
        with pytest.raises(error, match=text):
            call()


def scanned(x):
    return jax.lax.scan(lambda carry, _: (jnp.tanh(carry @ jnp.ones((3, 3))), None), x, None, length=50)[0]


def chosen(x):
    return jax.lax.cond(x.sum() > 0, lambda x: jnp.exp(jnp.exp(x)), lambda x: x + 1, x)


COUNTS = {
    "a product": (lambda x: x @ jnp.ones((3, 5)), 2 * 4 * 3 * 5),
    "a batched product": (lambda x: jnp.einsum("bi,bj->bij", x, x), 4 * 9 * 2),
    "arithmetic": (lambda x: x * 2 + 1, 24),
    "a function": (jnp.exp, 12),
    "moving": (lambda x: x.T.reshape(-1)[::2], 0),
    "comparing": (lambda x: x > 0, 0),
    "a sum": (lambda x: x.sum(0), 12),
    "a mean": (lambda x: x.mean(1), 12 + 4),
    "a cumulated sum": (lambda x: jnp.cumsum(x, 0), 12),
    "a scan": (scanned, 50 * (2 * 4 * 3 * 3 + 12)),
    "a choice": (chosen, 24 + 12),
    "a nested call": (jax.jit(jax.checkpoint(lambda x: x + x)), 12),
    "a rule of its own": (jax.nn.relu, 12),
    "windows": (lambda x: jax.lax.reduce_window(x, -jnp.inf, jax.lax.max, (2, 3), (1, 1), "VALID"), 3 * 6),
    "several results": (lambda x: {"a": x + 1, "b": x * x}, 24),
}


@pytest.mark.parametrize("name", COUNTS)
def test_operations_are_counted(name):
    function, count = COUNTS[name]
    assert cells(nn.table(x() | nn.layer(function, name="it"), (4, 3)), "it")["FLOPs"] == str(count)


def test_operations_are_those_of_xla_where_it_counts_once():
    model = x((None, 8, 8, 4)) | nn.conv(6, 3, strides=2, groups=2) | nn.flatten() | nn.dense(5)
    init, apply = nn.build(model)
    state = jax.eval_shape(init, jax.random.key(0))
    image = jax.ShapeDtypeStruct((2, 8, 8, 4), "float32")
    table = nn.table(model, image)
    assert (
        table.notes[-2] == f"Total FLOPs: {jax.jit(apply).lower(state, image).cost_analysis()['flops']:.0f}"
    )


@settings(max_examples=15, deadline=None, derandomize=True)
@given(graphs.models())
def test_any_model_shows_itself(model):
    table = nn.table(model, *graphs.inputs_of(model, graphs.data()))
    steps = model._plan.steps
    assert [row[0] for row in table.rows] == [step.name for step in steps]
    assert nn.mermaid(model).count("-->") == sum(len(step.sources) for step in steps)
    assert not nn.diff(model, nn.loads(nn.dumps(model)))


class Seen(HTMLParser):
    """The tags of a text, and the words between."""

    def __init__(self, text):
        super().__init__()
        self.tags, self.open, self.words = [], [], []
        self.feed(text)

    def handle_starttag(self, tag, attributes):
        self.tags.append(tag)
        if tag != "br":
            self.open.append(tag)

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        self.words.append(data)


@pytest.mark.parametrize(
    "show", [lambda model: model, lambda model: nn.table(model, (2, 3))], ids=["node", "table"]
)
def test_a_notebook_shows_a_table(show):
    model = x() | nn.dense(4, name=ODD) | nn.relu()
    seen = Seen(show(model)._repr_html_())
    assert not seen.open
    assert seen.tags.count("tr") == 1 + 3 + 1
    assert set(seen.tags) == {"table", "caption", "thead", "tbody", "tfoot", "tr", "th", "td", "br"}
    assert any(word.startswith(ODD) for word in seen.words)


def test_a_table_is_its_text_in_a_session():
    table = nn.table(x())
    assert repr(table) == str(table)


def masked(x, mask):
    return x * mask


class TestMermaid:
    def test_boxes_and_arrows(self):
        left = x() | nn.dense(4, activation="relu")
        model = nn.add(left, x((None, 4), name="y"))
        assert nn.mermaid(model).splitlines() == [
            "flowchart TD",
            '  n0["x<br>(None, 3)"]',
            '  n1["dense_0<br>dense units=4<br>(None, 4)"]',
            '  n2["relu_0<br>relu<br>(None, 4)"]',
            '  n3["y<br>(None, 4)"]',
            '  n4["add_0<br>add<br>(None, 4)"]',
            "  n0 --> n1",
            "  n1 --> n2",
            "  n2 --> n4",
            "  n3 --> n4",
        ]

    def test_inputs_by_name_are_labelled(self):
        assert nn.mermaid(MASKED(x(), mask=x(name="m"))).splitlines()[-2:] == [
            "  n0 --> n2",
            "  n1 -->|mask| n2",
        ]

    def test_names_and_options_are_escaped(self):
        model = x() | nn.layer(lambda x: x, name=ODD) | note('"]; click n0 "javascript:alert(1)')
        text = nn.mermaid(model)
        assert "a#60;b#62; #38; 'c' #35;1 #96;d#96;" in text
        for line in text.splitlines()[1:4]:
            assert re.fullmatch(r'  n\d\["[^"<>`]*(<br>[^"<>`]*)*"\]', line)

    def test_it_leads_down_or_right(self):
        model = x() | nn.relu()
        down, right = (nn.mermaid(model, direction=each) for each in ("down", "right"))
        assert down == nn.mermaid(model)
        assert right == down.replace("flowchart TD", "flowchart LR")
        with pytest.raises(ValueError, match='unknown mermaid direction "left": known are "down", "right"'):
            nn.mermaid(model, direction="left")

    def test_only_nodes(self):
        with pytest.raises(TypeError, match="mermaid: needs a node"):
            nn.mermaid(nn.dense(2))


@nn.builder
def note(text, *, name=None):
    """A builder with text of any kind among its arguments."""
    return nn.layer(lambda x: x)


def named(layer, **changes):
    return nn.Layer(**{**{key: value for key, value in vars(layer).items() if key != "signature"}, **changes})


def holding(model):
    """A layer with a model as its argument."""
    return named(nn.relu(), arguments={"block": model})


def swapped():
    first = x()
    return nn.container({"r": first, "l": first | nn.relu()})


SINE = nn.layer(jnp.sin, name="s")
MASKED = nn.Layer(op="masked", arguments={}, computation=Computation(function=masked, named=("mask",)))
ENCODE = nn.dense(3, name="e")

DIFFERENCES = {
    "an argument": (lambda: x() | nn.dense(2), lambda: x() | nn.dense(4), ["~ dense_0: units 2 -> 4"]),
    "an initializer": (
        lambda: x() | nn.dense(2),
        lambda: x() | nn.dense(2, kernel_initializer=initializers.normal(stddev=0.5)),
        ['~ dense_0: kernel_initializer "glorot_uniform" -> normal(stddev=0.5, mean=0.0)'],
    ),
    "a kind of number": (lambda: x() | note(1), lambda: x() | note(1.0), ["~ note_0: text 1 -> 1.0"]),
    "an array": (
        lambda: nn.constant(np.zeros(2)),
        lambda: nn.constant(np.ones(2)),
        ["~ constant_0: value another float64[2]"],
    ),
    "a slice": (lambda: x()[1:], lambda: x()[1:, ..., ::2], ["~ getitem_0: index 1: -> (1:, ..., ::2)"]),
    "a layer within": (
        lambda: x() | note(nn.dense(3)),
        lambda: x() | note(nn.dense(4)),
        ["~ note_0: text dense(units=3) -> dense(units=4)"],
    ),
    "a model within": (
        lambda: x() | note({"m": x() | nn.relu()}),
        lambda: x() | note({"m": x() | nn.elu()}),
        ['~ note_0: text another {"m": model of 2 nodes}'],
    ),
    "an activation": (
        lambda: x() | nn.dense(3, activation="relu"),
        lambda: x() | nn.dense(3) | nn.relu(),
        [],
    ),
    "an activation of a layer within": (
        lambda: x() | note(nn.dense(3)),
        lambda: x() | note(nn.dense(3, activation="relu")),
        ["~ note_0: text another dense(units=3)"],
    ),
    "the model of a layer": (
        lambda: x() | holding(x() | nn.dense(2)),
        lambda: x() | holding(x() | nn.dense(4)),
        ["~ relu_0: block: ~ dense_0: units 2 -> 4"],
    ),
    "the same model of a layer": (
        lambda: x() | holding(x() | nn.dense(2)),
        lambda: x() | holding(x() | nn.dense(2)),
        [],
    ),
    "a tie": (
        lambda: x() | ENCODE | nn.dense(3, name="d"),
        lambda: x() | ENCODE | nn.dense(3, name="d", kernel_initializer=nn.tied(ENCODE)),
        ['~ d: kernel_initializer "glorot_uniform" -> tied(kernel of dense)'],
    ),
    "a policy": (
        lambda: x() | nn.relu(),
        lambda: x() | named(nn.relu(), policy=Policy(compute="bf16")),
        ["~ relu_0: policy p=f32 c=f32 o=f32 -> p=f32 c=bf16 o=f32"],
    ),
    "a builder": (
        lambda: x() | nn.relu(name="act"),
        lambda: x() | nn.leaky_relu(negative_slope=0.3, name="act"),
        ["~ act: relu() -> leaky_relu(negative_slope=0.3)"],
    ),
    "a function": (
        lambda: x() | SINE,
        lambda: x() | nn.layer(jnp.sin, name="s"),
        [],
    ),
    "another function": (
        lambda: x() | nn.layer(jnp.sin, name="s"),
        lambda: x() | nn.layer(jnp.cos, name="s"),
        ["~ s: sin(function=sin) -> cos(function=cos)"],
    ),
    "one more": (
        lambda: x() | nn.dense(3),
        lambda: x() | nn.dense(3) | nn.relu(),
        ["+ relu_0: relu()", '~ the model: output "dense_0" -> "relu_0"'],
    ),
    "one less": (
        lambda: x() | nn.relu() | nn.dense(3),
        lambda: x() | nn.dense(3),
        ["- relu_0: relu()", '~ dense_0: inputs ("relu_0") -> ("x")'],
    ),
    "order": (
        lambda: x(name="a") - x(name="b"),
        lambda: x(name="b") - x(name="a"),
        [
            '~ subtract_0: inputs ("a", "b") -> ("b", "a")',
            '~ the model: order of inputs "a", "b" -> "b", "a"',
        ],
    ),
    "order of keys": (
        lambda: nn.container({"l": (a := x()), "r": a | nn.relu()}),
        swapped,
        ['~ container_0: structure {"l": 0, "r": 1} -> {"r": 0, "l": 1}'],
    ),
    "an input by name": (
        lambda: MASKED(x(), mask=x(name="m")),
        lambda: MASKED(x(name="m")),
        [
            "- x: input(shape=(None, 3))",
            '~ masked_0: inputs ("x", mask="m") -> ("m")',
            '~ the model: order of inputs "x", "m" -> "m"',
        ],
    ),
    "sharing": (
        lambda: x() | ENCODE | ENCODE,
        lambda: x() | ENCODE | nn.dense(3),
        ["- e@1: dense(units=3)", "+ dense_0: dense(units=3)", '~ the model: output "e@1" -> "dense_0"'],
    ),
    "nothing": (small, small, []),
}


@pytest.mark.parametrize("name", DIFFERENCES)
def test_differences(name):
    one, other, lines = DIFFERENCES[name]
    found = nn.diff(one(), other())
    assert str(found) == ("\n".join(lines) or "no difference")
    assert repr(found) == str(found)
    assert bool(found) == bool(lines)


def test_a_difference_can_be_asked():
    found = nn.diff(x() | nn.dense(2) | nn.relu(), x() | nn.dense(4) | nn.tanh())
    assert (list(found.added), list(found.removed)) == (["tanh_0"], ["relu_0"])
    assert found.changed["dense_0"] == ("units 2 -> 4",)
    assert list(found.changed) == ["dense_0", ""]


def test_only_nodes_differ():
    with pytest.raises(TypeError, match="diff: needs nodes"):
        nn.diff(x(), ModelState())


@pytest.mark.parametrize("length", [2000, pytest.param(10_000, marks=pytest.mark.slow)])
def test_a_deep_model_meets_no_limit_of_recursion(length):
    model = x()
    for _ in range(length):
        model = model | nn.dense(3)
    back = nn.loads(nn.dumps(model))
    assert str(back) == str(model)
    assert not nn.diff(model, back)
    assert nn.mermaid(model).endswith(f"n{length - 1} --> n{length}")
    assert cells(nn.table(model, (1, 3)), f"dense_{length - 1}")["FLOPs"] == "21"
