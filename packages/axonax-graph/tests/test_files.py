"""Models as text: what is written is read again, and nothing else is."""

import json
import math
import sys
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from axonax import graph as nn
from axonax.graph.data._layer import computes
from axonax.graph.files import _registry
from axonax.graph.files._registry import BUILDERS, INITIALIZERS
from axonax.graph.layers._builder import is_builder
from axonax.tensor import initializers
from axonax.tensor.precision import Policy

sys.path.insert(0, str(Path(__file__).parent))

import graphs


@nn.builder
def shift(by=1.0, *, factors=(), initializer="ones", name=None):
    """A builder of a user, whose arguments may be of any plain form."""
    gain = nn.param(lambda x: x.shape[-1:], initializer)
    return nn.layer(_shifted, params={"gain": gain}, options={"by": by})


@nn.builder
def around(inner, *, options=None, name=None):
    """A builder that takes a layer."""
    return nn.layer(lambda x: x)


def _shifted(x, gain, by):
    return x * gain[None] + jnp.asarray(by, x.dtype)


OWN = (shift, around)


def x(shape=(None, 3)):
    return nn.input("x", shape)


def bits(tree):
    """All leaves with dtypes and bytes, and the structure with its order of keys."""
    leaves = [np.asarray(leaf) for leaf in jax.tree.leaves(tree)]
    return str(tree.keys() if isinstance(tree, dict) else ""), [
        (each.dtype, each.shape, each.tobytes()) for each in leaves
    ]


def again(model, builders=OWN):
    return nn.loads(nn.dumps(model), builders)


@settings(max_examples=25, deadline=None, derandomize=True)
@given(graphs.models())
def test_a_model_comes_back_with_its_bits_and_its_tables(model):
    text, arrays = nn.dumps(model), graphs.data()
    back = nn.loads(text)
    assert nn.dumps(back) == text
    assert str(back) == str(model)
    state = graphs.state_of(model)
    assert bits(graphs.state_of(back)) == bits(state)
    inputs = graphs.inputs_of(model, arrays)
    for mode in ({}, {"train": True, "key": jax.random.key(1)}):
        assert bits(nn.build(back).apply(state, *inputs, **mode)) == bits(
            nn.build(model).apply(state, *inputs, **mode)
        )


ARRAYS = [
    np.zeros((0, 2), "float32"),
    np.arange(6, dtype=">i2").reshape(2, 3).T,
    np.asarray(3 + 1j),
    np.asarray([True, False]),
    np.asarray([math.nan, -0.0, math.inf], "float64"),
    jnp.asarray([1.5, -2], "bfloat16"),
    jnp.asarray([7], "float8_e5m2"),
    jnp.asarray(2.5),
    jnp.asarray(3, "uint8"),
    jnp.full((1, 3), 2.0),
    jnp.full((0, 2), 1),
    jnp.full((2,), 1 - 2j),
]


@pytest.mark.parametrize("array", ARRAYS, ids=lambda array: f"{array.dtype}{list(array.shape)}")
def test_arrays_come_back_to_the_bit(array):
    back = again(nn.constant(array)).layer.arguments["value"]
    assert isinstance(back, jax.Array) == isinstance(array, jax.Array)
    assert (back.dtype, back.shape) == (array.dtype.newbyteorder("="), array.shape)
    assert np.asarray(back).tobytes() == np.asarray(array, array.dtype.newbyteorder("=")).tobytes()
    assert getattr(back, "weak_type", None) == getattr(array, "weak_type", None)


PLAIN = [
    None,
    True,
    -(10**40),
    0.1,
    -0.0,
    5e-324,
    math.inf,
    -math.inf,
    3 - 4j,
    'text with " \\ / \u00fc and \U0001f600 and \ud83d',
    (),
    ((1, 2), (3,), (None, "same")),
    {"b": 1, "a": {"c": (2.0,)}, 3: "number", (1.5): None},
    slice(1, None, -2),
    (..., None, slice(None)),
]


@pytest.mark.parametrize("value", PLAIN, ids=repr)
def test_plain_arguments_come_back(value):
    layer = shift(0.0, factors=value)
    back = again(x() | layer).layer.arguments["factors"]
    assert repr(back) == repr(value)
    assert type(back) is type(value)


def test_a_nan_comes_back():
    assert math.isnan(again(x() | shift(math.nan)).layer.arguments["by"])


@pytest.mark.parametrize(
    "made",
    [
        initializers.normal(stddev=0.02),
        initializers.full(math.inf),
        initializers.variance_scaling(scale=2.0, mode="fan_out", in_axis=(0, 1)),
        initializers.gates(parts=["zeros", initializers.full(1.0)]),
    ],
    ids=lambda made: made.record[0],
)
def test_initializers_come_back_with_their_options(made):
    back = again(x() | shift(initializer=made)).layer.arguments["initializer"]
    shapes = [(4,)] if made.record[0] in ("full", "gates", "normal") else [(4, 4)]
    for shape in shapes:
        np.testing.assert_array_equal(made(jax.random.key(0), shape), back(jax.random.key(0), shape))


def test_every_initializer_can_be_written():
    for name in initializers.available():
        assert (
            again(x() | shift(initializer=initializers.by_name(name)))
            .layer.arguments["initializer"]
            .record[0]
            == name
        )
    assert set(INITIALIZERS) == {*initializers.available(), "full", "gates"}


def test_layers_within_arguments_keep_names_policies_and_activations():
    inner = nn.dense(3, activation=nn.leaky_relu(negative_slope=0.5), name="inner")
    back = again(x() | around((inner, {"own": around(inner)}))).layer.arguments["inner"]
    for each in (back[0], back[1]["own"].arguments["inner"]):
        assert (each.op, each.name, each.arguments) == ("dense", "inner", inner.arguments)
        assert each.computation.then.arguments == {"negative_slope": 0.5}


def test_models_within_arguments_are_tables_of_their_own():
    shared = nn.dense(3)
    inner = nn.container({"z": x() | shared | shared, "a": nn.input("y", (None, 3))})
    model = x((None, 5)) | around(nn.relu(), options={"body": inner})
    back = again(model).layer.arguments["options"]["body"]
    assert str(back) == str(inner)
    assert nn.dumps(back) == nn.dumps(inner)


def test_one_layer_applied_twice_stays_one():
    encode = nn.dense(4)
    model = (nn.input("a", (None, 3)) | encode) - (nn.input("b", (None, 3)) | encode)
    back = again(model)
    assert len(json.loads(nn.dumps(model))["layers"]) == 4
    assert str(back) == str(model)
    assert "Total Parameters: 16\n" in str(back)


def test_an_activation_is_applied_once():
    model = x() | nn.dense(4, activation="exp")
    assert [step.layer.op for step in again(model)._plan.steps] == ["input", "dense", "exp"]


def test_ties_come_back_wherever_their_layer_stands():
    late = nn.dense(3)
    early = nn.dense(5, use_bias=False, kernel_initializer=nn.tied(late, transform=jnp.transpose))
    twin = nn.dense(3, kernel_initializer=nn.tied(late), use_bias=False)
    model = x() | early | late
    model = nn.add(model, nn.input("y", (None, 5)) | twin)
    back, state = again(model), nn.build(model).init(jax.random.key(0))
    assert sorted(state.params) == ["dense_1"]
    inputs = [jnp.ones((2, 3)), jnp.ones((2, 5))]
    assert bits(nn.predict(back, state, *inputs)) == bits(nn.predict(model, state, *inputs))


@nn.builder
def parted(*, name=None):
    """A builder with inputs by name and a result in parts."""
    return computes(_parted, named=("mask", "start"), outputs=("", ("", "")))


def _parted(x, mask=None, start=None):
    kept = x if mask is None else x * mask
    return kept, (kept if start is None else kept + start[0], x)


@pytest.mark.parametrize(
    "given",
    [
        lambda m: {},
        lambda m: {"mask": m},
        lambda m: {"start": (m, m), "mask": m},
    ],
)
def test_inputs_by_name_and_parts_of_results_come_back(given):
    sequence, (final, _) = parted()(x(), **given(nn.input("m", (None, 3))))
    model = sequence - final
    back = again(model, [parted])
    assert str(back) == str(model)
    assert [step.named for step in back._plan.steps] == [step.named for step in model._plan.steps]
    inputs = [jnp.full((2, 3), place + 2.0) for place in range(len(model._plan.inputs))]
    state = nn.build(model).init(jax.random.key(0))
    assert bits(nn.predict(back, state, *inputs)) == bits(nn.predict(model, state, *inputs))


def test_optional_inputs_come_back():
    model = nn.or_else(nn.input("given", (None, 3), optional=True), x())
    assert str(again(model)) == str(model)
    assert again(model)._plan.steps[0].layer.arguments["optional"] is True


def test_policies_come_back_where_they_are_not_the_default():
    layer = nn.dense(4)
    half = type(layer)(**{**vars(layer), "policy": Policy(compute="bfloat16")})
    model = x() | half | nn.relu()
    rows = json.loads(nn.dumps(model))["layers"]
    assert [row.get("policy") for row in rows] == [
        None,
        {"params": "float32", "compute": "bfloat16", "output": "float32"},
        None,
    ]
    assert again(model)._plan.steps[1].layer.policy == Policy(compute="bfloat16")


def test_paths_are_pinned():
    part = nn.block(lambda x: x | nn.dense(3) | nn.dense(3), name="encoder")
    model = x() | part | nn.dense(3, name="a/b") | nn.dense(3)
    assert [step.path for step in again(model)._plan.steps] == [
        "x", "encoder/dense_0", "encoder/dense_1", "a/b", "dense_0",
    ]  # fmt: skip


def test_each_builder_of_the_package_is_known_once():
    found = [value for each in _registry._modules() for value in vars(each).values() if is_builder(value)]
    assert len({id(each) for each in found}) == len({each.op for each in found}) == len(BUILDERS)
    assert {name for name in dir(nn) if is_builder(getattr(nn, name))} - {"layer"} <= {*BUILDERS}
    assert BUILDERS["dense"] is nn.dense
    assert BUILDERS["relu"] is nn.relu
    assert {"input", "constant", "container", "getitem", "placeholder"} < set(BUILDERS)


@nn.builder
def dense(units, *, name=None):
    """A builder of a user with a name of ours."""
    return nn.layer(lambda x: x * units)


@pytest.mark.parametrize(
    ("model", "text"),
    [
        (
            lambda: x() | nn.layer(lambda x: x),
            r'layer "layer_0" \(test_files.*\): function is a bare function.*@nn.builder',
        ),
        (lambda: x() | nn.activation(jnp.sin), r'sin "sin_0" \(test_files.*: function is a bare function'),
        (
            lambda: x() | nn.dense(2, kernel_initializer=jax.nn.initializers.ones),
            r'dense "dense_0" .*: kernel_initializer is a bare function.*axonax.tensor.initializers',
        ),
        (lambda: x() | shift(object()), r'shift "shift_0" .*: by is a object, which no file can hold'),
        (lambda: x() | shift(factors=(1, {"a": {2}})), "factors is a set"),
        (lambda: nn.constant(jax.random.key(0)), "value is an array of key<fry>"),
        (
            lambda: x() | (d := nn.dense(3)) | nn.dense(3, kernel_initializer=nn.tied(d, transform=jnp.sin)),
            "kernel_initializer is tied through a function.*jax.numpy.transpose",
        ),
        (lambda: x() | dense(3), 'another builder is called "dense" too'),
    ],
)
def test_what_no_file_can_hold_is_refused_with_its_line(model, text):
    with pytest.raises(ValueError, match=text):
        nn.dumps(model())


def test_only_a_node_is_written():
    with pytest.raises(TypeError, match="dumps: needs a node"):
        nn.dumps(nn.dense(3))


@pytest.mark.parametrize(
    ("builders", "error", "text"),
    [
        ([len], TypeError, "must be functions made by @nn.builder"),
        ([dense], ValueError, 'this package has a "dense"'),
        ([shift, nn.builder(shift.__wrapped__)], ValueError, 'another of them has a "shift"'),
    ],
)
def test_builders_are_checked(builders, error, text):
    with pytest.raises(error, match=text):
        nn.loads("", builders)


TEXT = nn.dumps(x() | nn.dense(4, kernel_initializer=initializers.normal()) | shift(2.0))


def edited(*path_and_value, text=TEXT):
    """The text with another value at a path; none removes it."""
    *path, value = path_and_value
    whole = json.loads(text)
    at = whole
    for key in path[:-1]:
        at = at[key]
    if value is ...:
        del at[path[-1]]
    else:
        at[path[-1]] = value
    return json.dumps(whole)


def argument(form, *, name="factors"):
    return edited("layers", 2, "arguments", name, form)


def array(**changes):
    return {"array": {"dtype": "int8", "shape": [2], "data": "AAA=", "kind": "numpy"} | changes}


HUGE = "x" * 1_000_000
DEEP = "[" * 100_000 + "]" * 100_000

REFUSED = {
    # the whole
    "no text": (5, "read from text, got int"),
    "no JSON": ("{", "is no JSON"),
    "no object": ("[]", "a model needs an object, got list"),
    "deep JSON": (DEEP, "nest 32 deep"),
    "deep value": (argument(json.loads("[" * 50 + "]" * 50)), r"layers\[2\]: values may nest 32 deep"),
    "a field twice": ('{"format": "axonax.graph", "format": "axonax.graph"}', "a field twice"),
    "NaN": (TEXT.replace('"by": 2.0', '"by": NaN'), "NaN is no number of JSON"),
    "beyond the range": (TEXT.replace('"by": 2.0', '"by": 1e999'), r"layers\[2\]: a float beyond the range"),
    "digits": (TEXT.replace('"by": 2.0', '"by": 1' + "0" * 5000), "is no JSON"),
    "format": (edited("format", "other"), 'needs the format "axonax.graph", got other'),
    "version": (edited("version", 2), "needs version 1, got 2"),
    "true version": (edited("version", True), "needs version 1, got True"),
    "field": (edited("code", "import os"), 'a model has an unknown field "code"'),
    "no nodes": (edited("nodes", ...), 'a model has no field "nodes"'),
    "nodes": (edited("nodes", {}), "nodes: needs a list of rows"),
    "no rows": (edited("layers", []), "layers: needs a list of rows"),
    # layers
    "row": (edited("layers", 1, 5), r"layers\[1\]: a layer needs an object, got 5"),
    "row field": (edited("layers", 1, "scope", "a"), r'layers\[1\]: a layer has an unknown field "scope"'),
    "no name": (edited("layers", 1, "name", ...), r'layers\[1\]: a layer has no field "name"'),
    "null name": (edited("layers", 1, "name", None), r"layers\[1\]: needs text, got None"),
    "path": (edited("layers", 1, "name", "../../etc/passwd"), r"layers\[1\]: dense: name must be text"),
    "NUL": (edited("layers", 1, "name", "a\0b"), r"layers\[1\]: dense: name must be text"),
    "1 MB": (
        edited("layers", 1, "name", HUGE),
        r"layers\[1\]: a text may have 100000 characters, got 1000000",
    ),
    "long name": (
        edited("layers", 1, "name", "x" * 501),
        r"layers\[1\]: dense: name must be text .*501 characters",
    ),
    "two of one name": (
        edited("layers", 2, "name", "dense_0"),
        r'two layers are named "dense_0": .*layers\[1\].*layers\[2\]',
    ),
    "builder": (
        edited("layers", 1, "op", "dens"),
        r'layers\[1\]: unknown builder "dens": did you mean "dense"',
    ),
    "import": (edited("layers", 1, "op", "os.system"), r'layers\[1\]: unknown builder "os.system"'),
    "huge builder": (edited("layers", 1, "op", HUGE), r"layers\[1\]: a text may have"),
    "argument": (
        edited("layers", 1, "arguments", "unit", 3),
        r'layers\[1\]: dense: unknown option "unit".*"units"',
    ),
    "missing": (
        edited("layers", 1, "arguments", "units", ...),
        r"layers\[1\]: dense: missing a required argument",
    ),
    "arguments": (edited("layers", 1, "arguments", []), r"layers\[1\]: dense: arguments need an object"),
    "second name": (
        edited("layers", 1, "arguments", "name", "b"),
        r"layers\[1\]: dense: arguments need an object without",
    ),
    "text for a number": (
        edited("layers", 1, "arguments", "units", "4"),
        r"layers\[1\]: dense: units must be",
    ),
    "text for a bool": (
        edited("layers", 1, "arguments", "use_bias", "no"),
        r"layers\[1\]: dense: use_bias must be true",
    ),
    "activation": (
        edited("layers", 1, "arguments", "activation", "relu"),
        r"layers\[1\]: dense: an activation is a node",
    ),
    "units": (
        edited("layers", 1, "arguments", "units", 10**12),
        r'layers\[1\]: with kernel of "dense_0" the .* 12000000000000 bytes',
    ),
    "many units": (edited("layers", 1, "arguments", "units", 10**30), r"layers\[1\]"),
    "dtype": (edited("layers", 0, "arguments", "dtype", "O"), r"layers\[0\]: unknown dtype O"),
    "policy": (
        edited("layers", 1, "policy", {"params": "float32"}),
        r'layers\[1\]: a policy has no field "compute"',
    ),
    "policy dtype": (
        edited("layers", 1, "policy", {"params": "object", "compute": "float32", "output": "float32"}),
        r"layers\[1\]: unknown dtype object",
    ),
    # nodes
    "node": (edited("nodes", 1, []), r"nodes\[1\]: a node needs an object"),
    "node field": (edited("nodes", 1, "path", "a"), r'nodes\[1\]: a node has an unknown field "path"'),
    "forward": (
        edited("nodes", 1, "inputs", [2]),
        r"nodes\[1\]: needs the number of a node before it.* got 2",
    ),
    "itself": (edited("nodes", 1, "inputs", [1]), r"nodes\[1\]: needs the number of a node before it"),
    "negative": (
        edited("nodes", 1, "inputs", [-1]),
        r"nodes\[1\]: needs the number of a node before it.* got -1",
    ),
    "true": (edited("nodes", 1, "inputs", [True]), r"nodes\[1\]: needs the number of a node"),
    "layer": (
        edited("nodes", 1, "layer", 9),
        r"nodes\[1\]: needs the number of a layer .*there are 3, got 9",
    ),
    "inputs": (edited("nodes", 1, "inputs", 0), r"nodes\[1\]: inputs need a list"),
    "too many": (edited("nodes", 1, "inputs", [0, 0]), r"nodes\[1\]: dense .*takes 1 input\(s\), got 2"),
    "none": (edited("nodes", 1, "inputs", []), r"nodes\[1\]: dense .*takes 1 input\(s\), got 0"),
    "none of any": (edited("nodes", 2, "inputs", []), r"nodes\[2\]: shift: a layer takes nodes, got none"),
    "named": (edited("nodes", 1, "named", {"mask": 0}), r'nodes\[1\]: dense .*no input "mask" by name'),
    "nowhere": (edited("nodes", 2, "inputs", [0]), r"nodes\[1\]: leads nowhere"),
    "not applied": (edited("nodes", 2, {"layer": 1, "inputs": [1]}), r"layers\[2\]: no node applies it"),
    "misfit": (
        edited("layers", 0, "arguments", "shape", []),
        r'dense "dense_0" \(layers\[1\]\): needs an input of at least one axis',
    ),
    "shape": (edited("layers", 0, "arguments", "shape", [None, 10**30]), r"layers\[|x"),
    # values
    "form": (argument({"pickle": "gASV"}), r'layers\[2\]: unknown form of a value "pickle"'),
    "two forms": (
        argument({"slice": [], "float": "inf"}),
        r"layers\[2\]: a value is plain, a list or an object with one",
    ),
    "float": (argument({"float": "1"}), r'layers\[2\]: unknown float "1"'),
    "slice": (argument({"slice": [1]}), r"layers\[2\]: slice needs a list of 3"),
    "dict": (argument({"dict": {}}), r"layers\[2\]: dict needs a list of pairs"),
    "pair": (argument({"dict": [[1]]}), r"layers\[2\]: a pair of dict needs a list of 2"),
    "key": (argument({"dict": [[[1], 2]]}), r"layers\[2\]: a key of dict must be text or a number"),
    "key twice": (argument({"dict": [["a", 1], ["a", 2]]}), r"layers\[2\]: the key a of dict is there twice"),
    "huge text": (argument(HUGE), r"layers\[2\]: a text may have 100000"),
    "array dtype": (argument(array(dtype="object")), r"layers\[2\]: unknown dtype object"),
    "array kind": (argument(array(kind="pickle")), r"layers\[2\]: unknown kind pickle"),
    "array shape": (argument(array(shape=[-2])), r"layers\[2\]: an array's shape needs a list"),
    "array size": (
        argument(array(shape=[2**40])),
        r"layers\[2\]: its arrays need more than the 1073741824 bytes",
    ),
    "array bytes": (
        argument(array(shape=[3])),
        r"layers\[2\]: an array of int8 and shape \[3\] needs 3 bytes, got 2",
    ),
    "array data": (argument(array(data="???")), r"layers\[2\]: an array's data must be base64"),
    "array text": (argument(array(data=5)), r"layers\[2\]: an array's data must be base64"),
    "array empty": (argument(array(shape=[0, 10**30], data="")), r"layers\[2\]"),
    "array x64": (
        argument(array(dtype="float64", shape=[0], data="", kind="jax")),
        r"layers\[2\]: a jax array of float64 is none of this JAX",
    ),
    "array weak": (argument(array(kind="weak")), r"layers\[2\]: a weak array of int8 is none of this JAX"),
    "initializer": (
        edited(
            "layers", 1, "arguments", "kernel_initializer", {"initializer": {"name": "norml", "options": {}}}
        ),
        r'layers\[1\]: unknown initializer norml: did you mean "normal"',
    ),
    "initializer option": (
        argument({"initializer": {"name": "normal", "options": {"std": 1}}}),
        r"layers\[2\]: normal: .*unexpected keyword argument 'std'",
    ),
    "initializer value": (
        argument({"initializer": {"name": "normal", "options": {"stddev": "a"}}}),
        r"layers\[2\]: normal: ",
    ),
    "initializer name": (
        edited("layers", 1, "arguments", "kernel_initializer", "nrmal"),
        r'layers\[1\]: unknown initializer "nrmal"',
    ),
    "tied to no layer": (
        argument({"tied": {"layer": 2, "name": "kernel", "transform": "same"}}),
        r"layers\[2\]: needs the number of a layer before it",
    ),
    "tied to nothing": (
        argument({"tied": {"layer": 1, "name": "kernl", "transform": "same"}}),
        r'layers\[2\]: tied: .*has no "kernl": did you mean "kernel"',
    ),
    "tied by a name": (
        argument({"tied": {"layer": 1, "name": "kernel", "transform": "os.system"}}),
        r"layers\[2\]: unknown transform 'os.system'",
    ),
    "layer within": (
        argument({"layer": {"op": "dense", "arguments": {"units": -1}}}),
        r"layers\[2\]: dense: units must be a positive integer",
    ),
    "model within": (
        argument(
            {"model": {"layers": [{"op": "input", "name": "x", "arguments": {}}], "nodes": [{"layer": 1}]}}
        ),
        r"layers\[2\] model nodes\[0\]: a node has no field",
    ),
    "builder trips": (
        edited("layers", 2, "arguments", "initializer", [1]),
        r"layers\[2\]: initializer must be a name or a callable",
    ),
}


@pytest.mark.parametrize("name", REFUSED)
def test_a_reader_refuses(name):
    given, text = REFUSED[name]
    with pytest.raises(nn.ModelFileError, match=text) as caught:
        nn.loads(given, OWN)
    assert len(str(caught.value)) < 500


RICH = nn.dumps(
    nn.container(
        {"a": (y := x((None, 6, 6, 2)) | nn.conv(4, 3) | nn.batch_norm() | shift(2.0)), "b": y[..., 1:]}
    )
    | around(nn.dense(2), options={"m": x() | nn.relu(), "i": initializers.normal(stddev=0.5)})
)
FORMS = [
    "float",
    "complex",
    "slice",
    "ellipsis",
    "dict",
    "array",
    "initializer",
    "tied",
    "layer",
    "model",
    "op",
]
JSON = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats(allow_nan=False)
    | st.sampled_from(["", "x", "relu", "float32"]),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(FORMS), inner, max_size=2),
    max_leaves=5,
)


def places(value, path=()):
    """Every path within a value of JSON."""
    yield path
    parts = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, each in parts:
        yield from places(each, (*path, key))


PLACES = [path for path in places(json.loads(RICH)) if path]


def read_or_refuse(path, value, remove):
    """Whatever stands in a text, it is read or refused by the one error."""
    try:
        model = nn.loads(edited(*path, ... if remove else value, text=RICH), OWN)
    except nn.ModelFileError:
        return
    nn.dumps(model)


@settings(max_examples=150, deadline=None, derandomize=True)
@given(st.sampled_from(PLACES), JSON, st.booleans())
def test_a_changed_text_is_read_or_refused(path, value, remove):
    read_or_refuse(path, value, remove)


@pytest.mark.slow
@settings(max_examples=10_000, deadline=None)
@given(st.sampled_from(PLACES), JSON, st.booleans())
def test_any_changed_text_is_read_or_refused(path, value, remove):
    read_or_refuse(path, value, remove)


def test_what_is_refused_above_is_read_without_the_edit():
    assert nn.dumps(nn.loads(TEXT, OWN)) == TEXT
    assert nn.loads(argument(array()), OWN).layer.arguments["factors"].tolist() == [0, 0]


def test_whatever_a_function_trips_over_names_the_row():
    @nn.builder
    def trips(*, name=None):
        return nn.layer(lambda x: x.missing)

    text = nn.dumps(x() | trips())
    with pytest.raises(nn.ModelFileError, match=r'(?s)missing.*in trips "trips_0" \(layers\[1\]\)'):
        nn.loads(text, [trips])


def test_a_builder_of_the_user_must_be_named():
    with pytest.raises(nn.ModelFileError, match=r'layers\[2\]: unknown builder "shift".*loads\(builders='):
        nn.loads(TEXT)


@pytest.mark.parametrize(
    ("limits", "text"),
    [
        ({"nodes": 2}, "may have 2 nodes"),
        ({"parameter_bytes": 75}, r'layers\[2\]: with gain of "shift_0" the parameters need 80 bytes'),
        ({"text": 100}, "may have 100 characters"),
        ({"string": 4}, r"layers\[0\]: a text may have 4 characters, got 5"),
        ({"depth": 0}, r"layers\[0\]: values may nest 0 deep"),
        ({"array_bytes": 1}, r"layers\[2\]: its arrays need more than the 1 bytes"),
    ],
)
def test_limits(limits, text):
    given = argument(array())
    with pytest.raises(nn.ModelFileError, match=text):
        nn.loads(given, OWN, limits=nn.Limits(**limits))


def test_nodes_of_models_within_count():
    model = x() | around(nn.relu(), options={"body": x() | nn.relu()})
    nn.loads(nn.dumps(model), OWN, limits=nn.Limits(nodes=4))
    with pytest.raises(nn.ModelFileError, match="may have 3 nodes"):
        nn.loads(nn.dumps(model), OWN, limits=nn.Limits(nodes=3))


def test_reading_draws_nothing_and_computes_nothing(monkeypatch):
    text = nn.dumps(x() | nn.dense(10**9, use_bias=False))
    monkeypatch.setattr(jax.random, "uniform", lambda *_: pytest.fail("drew"))
    assert "12000000000 bytes" in str(nn.loads(text))
