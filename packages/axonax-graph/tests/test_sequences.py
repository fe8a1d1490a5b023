"""Recurrent layers and attention beside their functions, with all their options, and what they refuse."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from axonax import graph as nn
from axonax.tensor import initializers, layers

X = np.random.default_rng(0).normal(size=(2, 5, 3)).astype("float32")
COUNTS = np.array([[True, True, True, False, False], [True] * 5])
H = np.random.default_rng(1).normal(size=(2, 4)).astype("float32")


def x(shape=(None, None, 3)):
    return nn.input("x", shape)


def carried(carry, x, share):
    carry = share * carry + (1 - share) * x
    return carry, carry * 2


MODELS = {
    "last": lambda: x() | nn.lstm(4, return_sequences=False),
    "masked": lambda: nn.gru(4)(x(), mask=nn.input("mask", (None, None), dtype="bool")),
    "masked last": lambda: nn.gru(4, return_sequences=False)(x(), mask=nn.input("mask", dtype="bool")),
    "start": lambda: nn.lstm(4)(x(), initial_state=(nn.input("c", (None, 4)), nn.input("h", (None, 4)))),
    "reverse": lambda: x() | nn.rnn(4, reverse=True, activation="relu"),
    "before": lambda: x() | nn.gru(4, reset_after=False, use_bias=False),
    "states": lambda: nn.container(x() | nn.bidirectional(nn.gru(4, return_state=True), merge="sum")),
    "apart": lambda: nn.container(x() | nn.bidirectional(nn.rnn(4), merge=None)),
    "other": lambda: nn.container(x() | nn.bidirectional(nn.rnn(4), merge=None, backward=nn.gru(4))),
    "average": lambda: x() | nn.bidirectional(nn.rnn(4), merge="average"),
    "multiply": lambda: x() | nn.bidirectional(nn.rnn(4), merge="multiply"),
    "film": lambda: nn.input("film", (None, None, 6, 5, 2)) | nn.conv_lstm(3, (3, 2), strides=(2, 1)),
    "cell": lambda: x() | nn.rnn_over(carried, carry=3, params={"share": nn.param((), "ones")}),
    "cell last": lambda: nn.container(
        x() | nn.rnn_over(lambda c, x: (c + x, c), carry=(3,), return_state=True, return_sequences=False)
    ),
    "grouped": lambda: nn.multi_head_attention(4, size=2, kv_heads=2, rotary=True, causal=True, units=6)(x()),
    "values": lambda: nn.multi_head_attention(1)(x(), x2 := nn.input("context", (None, None, 7)), x2 * 2),
}
GIVEN = {"x": X, "mask": COUNTS, "c": H, "h": 2 * H}


@pytest.fixture(scope="module")
def found(quick):
    """Each model with its state and its value, in one program."""
    rng = np.random.default_rng(2)
    given = {**GIVEN, "film": rng.normal(size=(1, 3, 6, 5, 2)), "context": rng.normal(size=(2, 4, 7))}
    given = {name: np.asarray(each, bool if name == "mask" else "float32") for name, each in given.items()}
    models = {name: make() for name, make in MODELS.items()}
    pairs = {name: nn.build(model) for name, model in models.items()}

    def inputs(name):
        known = str(models[name]).split("Inputs: ")[1].split('"')[1::2]
        return {each: given[each] for each in known}

    every = {name: inputs(name) for name in models}

    def program(every):
        values = {}
        for name, pair in pairs.items():
            state = pair.init(jax.random.key(1), every[name])
            values[name] = (state, pair.apply(state, every[name])[0])
        return values

    return jax.device_get(quick(program)(every)), given


def params(state):
    (leaves,) = state.params.values()
    return leaves


def near(one, other):
    np.testing.assert_allclose(one, other, rtol=2e-5, atol=2e-6)


def test_the_last_output_is_that_of_the_last_step_that_counts(found):
    values, _ = found
    state, value = values["last"]
    near(value, layers.lstm(X, params(state))[0][:, -1])
    state, value = values["masked last"]
    near(value, layers.gru(X, params(state), mask=COUNTS)[1])
    near(value[0], layers.gru(X, params(state))[0][0, 2])


def test_masks_states_and_directions(found):
    values, _ = found
    state, value = values["masked"]
    near(value, layers.gru(X, params(state), mask=COUNTS)[0])
    state, value = values["start"]
    near(value, layers.lstm(X, params(state), (H, 2 * H))[0])
    state, value = values["reverse"]
    near(value, layers.rnn(X, params(state), reverse=True, activation="relu")[0])
    state, value = values["before"]
    assert sorted(params(state)) == ["kernel", "recurrent_kernel"]
    near(value, layers.gru(X, params(state), reset_after=False)[0])


def test_both_directions(found):
    values, _ = found
    for name, function in (("apart", layers.rnn), ("states", layers.gru)):
        state, value = values[name]
        one, one_state = function(X, params(state)["forward"])
        other, other_state = function(X[:, ::-1], params(state)["backward"])
        other = other[:, ::-1]
        if name == "apart":
            near(value[0], one)
            near(value[1], other)
        else:
            near(value[0], one + other)
            near(value[1][0], one_state)
            near(value[1][1], other_state)
    state, value = values["other"]
    near(value[1], layers.gru(X, params(state)["backward"], reverse=True)[0])
    for name, merged in (("average", lambda a, b: (a + b) / 2), ("multiply", lambda a, b: a * b)):
        state, value = values[name]
        one, _ = layers.rnn(X, params(state)["forward"])
        other, _ = layers.rnn(X, params(state)["backward"], reverse=True)
        near(value, merged(one, other))


def test_convolutions_and_any_cell(found):
    values, given = found
    state, value = values["film"]
    near(value, layers.conv_lstm(given["film"], params(state), strides=(2, 1))[0])
    _, value = values["cell"]
    near(value, np.zeros_like(X))  # a share of one keeps the first carry
    _, (last, carry) = values["cell last"]
    near(carry, X.sum(1))
    near(last, X[:, :-1].sum(1))


def test_attention_with_fewer_heads_of_keys_and_with_values_apart(found):
    values, given = found
    state, value = values["grouped"]
    kernels = params(state)
    assert kernels["query"]["kernel"].shape == (3, 4, 2)
    assert kernels["key"]["kernel"].shape == (3, 2, 2)
    heads = {
        part: layers.project_heads(X, kernels[part]["kernel"], kernels[part]["bias"])
        for part in kernels
        if part != "output"
    }
    turned = [layers.rotary_embedding(heads[part]) for part in ("query", "key")]
    seen = layers.dot_product_attention(*turned, heads["value"], causal=True)
    near(value, layers.merge_heads(seen, kernels["output"]["kernel"], kernels["output"]["bias"]))
    state, value = values["values"]
    kernels = params(state)
    context = given["context"]
    sources = {"query": X, "key": context, "value": 2 * context}
    heads = [
        layers.project_heads(each, kernels[part]["kernel"], kernels[part]["bias"])
        for part, each in sources.items()
    ]
    seen = layers.dot_product_attention(*heads)
    near(value, layers.merge_heads(seen, kernels["output"]["kernel"], kernels["output"]["bias"]))


def test_gates_and_heads_are_drawn_as_matrices_of_their_own():
    state = nn.build(x((None, 5, 300)) | nn.lstm(200)).init(jax.random.key(0))
    kernel = state.params["lstm_0"]["kernel"]
    assert float(jnp.abs(kernel).max()) == pytest.approx(np.sqrt(6 / 500), rel=1e-2)
    recurrent = state.params["lstm_0"]["recurrent_kernel"][:, 200:400]
    np.testing.assert_allclose(recurrent.T @ recurrent, np.eye(200), atol=1e-4)
    state = nn.build(x((None, 5, 300)) | nn.multi_head_attention(4)).init(jax.random.key(0))
    kernel = state.params["multi_head_attention_0"]["query"]["kernel"]
    assert float(jnp.abs(kernel).max()) == pytest.approx(np.sqrt(6 / 600), rel=1e-2)


def test_the_forget_gate_may_start_open():
    bias = initializers.gates(parts=("zeros", "ones", "zeros", "zeros"))
    state = nn.build(x() | nn.lstm(2, bias_initializer=bias)).init(jax.random.key(0))
    np.testing.assert_array_equal(state.params["lstm_0"]["bias"], [0, 0, 1, 1, 0, 0, 0, 0])


def test_tokens_that_count():
    tokens = nn.input("tokens", (None, None), dtype="int32")
    model = tokens | nn.mask(0)
    value = nn.predict(model, nn.build(model).init(jax.random.key(0)), np.array([[3, 1, 0, 0]]))
    np.testing.assert_array_equal(value, [[True, True, False, False]])


def test_a_sequence_of_states_prints_its_parts():
    sequence, (c, h) = x() | nn.lstm(4, return_state=True)
    assert "((None, None, 4), ((None, 4), (None, 4)))" in str(sequence)
    assert "(None, 4)" in str(c + h).splitlines()[-5]


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: nn.lstm(0), "lstm: units must be a positive integer, got 0"),
        (lambda: nn.gru("8"), "gru: units must be a positive integer, got '8'"),
        (lambda: nn.rnn(4, activation="tanhh"), 'unknown activation "tanhh": did you mean "tanh'),
        (lambda: nn.lstm(4, mode="loop"), 'lstm: mode must be "scan" or "static", got \'loop\''),
        (lambda: nn.mask(1.5), "mask: eos_token must be an integer, got 1.5"),
        (lambda: nn.rnn_over(3, carry=1), "rnn_over: cell must be a function"),
        (
            lambda: nn.rnn_over(carried, carry=1, params={"share": 3}),
            "rnn_over: share must be described by nn.param",
        ),
        (
            lambda: nn.bidirectional(nn.dense(3)),
            "bidirectional: needs recurrent layers, such as nn.lstm.8., got <dense",
        ),
        (lambda: nn.bidirectional(nn.rnn(3, reverse=True)), "goes backward: give the forward one"),
        (
            lambda: nn.bidirectional(nn.rnn(3), merge="sun"),
            'unknown bidirectional merge "sun": did you mean "sum"',
        ),
        (
            lambda: nn.bidirectional(nn.rnn(3), backward=nn.rnn(3, return_sequences=False)),
            "bidirectional: both layers must return all outputs, or neither",
        ),
        (lambda: nn.bidirectional(None), "bidirectional: needs recurrent layers.* got None"),
        (
            lambda: nn.rnn_over(carried, carry=3, mode="loop"),
            'rnn_over: mode must be "scan" or "static", got \'loop\'',
        ),
        (lambda: nn.conv_lstm(4, (3, 0)), "conv_lstm: kernel_size must be"),
        (lambda: nn.multi_head_attention(4, kv_heads=3), "kv_heads must divide heads, got 3 and 4"),
        (lambda: nn.multi_head_attention(4, dropout_rate=2), r"dropout_rate must be in \[0, 1\], got 2"),
        (lambda: nn.multi_head_attention(2.5), "heads must be a positive integer, got 2.5"),
        (lambda: nn.position_embedding(0), "position_embedding: length must be a positive integer, got 0"),
        (lambda: nn.transformer_encoder(8, 2, norm="batch"), 'unknown norm "batch"'),
        (lambda: nn.transformer_encoder(8, 2, hidden=-1), "hidden must be a positive integer, got -1"),
    ],
)
def test_arguments_are_checked_where_the_user_wrote_them(make, message):
    with pytest.raises(ValueError, match=message):
        make()


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (
            lambda: x((None, 3)) | nn.lstm(4),
            r'lstm "lstm_0" .*needs a sequence \(batch, time, features\), got \(None, 3\)',
        ),
        (
            lambda: x() | nn.conv_lstm(4),
            r"needs a sequence \(batch, time, \*spatial, channels\) with one to three",
        ),
        (
            lambda: x() | nn.multi_head_attention(2),
            r"needs features that heads=2 divides, or a size=, got \(None, None, 3\)",
        ),
        (
            lambda: x((3, 8)) | nn.multi_head_attention(2),
            r"needs sequences \(batch, time, features\), got \(3, 8\)",
        ),
        (lambda: x((2, 9, 3)) | nn.position_embedding(8), r"needs at most 8 tokens, got \(2, 9, 3\)"),
        (
            lambda: nn.lstm(4)(x((2, 5, 3)), initial_state=(nn.input("c", (2, 4)), nn.input("h", (2, 3)))),
            r"carry must be a tuple of arrays",
        ),
    ],
)
def test_inputs_that_do_not_fit_are_found_at_build(make, message):
    with pytest.raises(ValueError, match=message):
        nn.build(make())


def test_misuse_of_nodes():
    with pytest.raises(TypeError, match=r'lstm .*no input "maks" by name, it has "mask", "initial_state"'):
        nn.lstm(4)(x(), maks=x())
    with pytest.raises(
        TypeError, match=r"transformer_encoder \(test_sequences.py:\d+\): takes nodes, got ndarray"
    ):
        nn.transformer_encoder(4, 2)(X)
    with pytest.raises(
        TypeError, match='multi_head_attention: unknown option "casual": did you mean "causal"'
    ):
        nn.transformer_encoder(4, 2, casual=True)
