"""Generation against the whole forward pass at each step."""

from dataclasses import replace

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from axonax import graph as nn
from axonax.graph.data._layer import order
from axonax.graph.data._swap import remade, swapped
from axonax.tensor.precision import Policy

VOCABULARY = 11
PROMPT = np.array([[1, 2, 3], [4, 5, 6]], "int32")


def language(*body, close=()):
    node = nn.input("tokens", (None, None), dtype="int32") | nn.embedding(
        VOCABULARY, 8, kernel_initializer="he_normal"
    )
    for each in (*body, nn.dense(VOCABULARY, kernel_initializer="he_normal"), *close):
        node = node | each
    return node


def shared():
    look = nn.multi_head_attention(2, causal=True)
    return language(look, look)


def changed(model, change):
    """The model with other layers: ``change(layer)``, or ``None`` to leave one."""
    known = dict.fromkeys(node.layer for node in order(model))
    return swapped(model, {layer: new for layer in known if (new := change(layer)) is not None})


MODELS = {
    "attention": lambda: language(nn.multi_head_attention(2, causal=True)),
    "rotary": lambda: language(nn.multi_head_attention(2, causal=True, rotary=True, kv_heads=1)),
    "window": lambda: language(
        nn.multi_head_attention(2, causal=True, window=(2, 0)), nn.sinusoidal_positions()
    ),
    "transformer": lambda: language(
        nn.position_embedding(16, kernel_initializer="he_normal"),
        nn.transformer_encoder(8, 2, causal=True, dropout_rate=0.5),
        nn.transformer_encoder(8, 2, causal=True, pre_norm=False, norm="rms_norm"),
        nn.layer_norm(),
    ),
    "repeat": lambda: language(
        nn.position_embedding(16),
        nn.repeat(nn.transformer_encoder(8, 2, causal=True), 3),
        nn.remat(lambda x: x | nn.dense(8, activation="gelu")),
    ),
    "softmax": lambda: language(nn.multi_head_attention(2, causal=True), close=(nn.softmax(),)),
    "recurrent": lambda: language(nn.lstm(8)),
    "shared": shared,
    "cell": lambda: language(nn.rnn_over(lambda c, x: (c + x, c), carry=8)),
}
SLOW = {"recurrent", "shared", "cell"}


def by_hand(model, state, prompt, count):
    """Greedy tokens from a whole pass each; all lengths in one program."""
    apply = nn.build(model).apply
    total = prompt.shape[1] + count

    @jax.jit
    def logits(tokens, place):
        return apply(state, tokens)[0][:, place]

    tokens = np.zeros((len(prompt), total), "int32")
    tokens[:, : prompt.shape[1]] = prompt
    for place in range(prompt.shape[1], total):
        tokens[:, place] = np.argmax(logits(tokens, place - 1), -1)
    return tokens


@pytest.mark.parametrize("name", MODELS)
def test_the_tokens_are_those_of_the_whole_pass(name):
    model = MODELS[name]()
    state = nn.build(model).init(jax.random.key(3))
    found = nn.generate(model, state, PROMPT, max_new_tokens=5)
    np.testing.assert_array_equal(found, by_hand(model, state, PROMPT, 5))
    if name not in SLOW:
        slow = nn.generate(model, state, PROMPT, max_new_tokens=5, cache=False)
        np.testing.assert_array_equal(found, slow)


@pytest.fixture(scope="module")
def trained():
    model = MODELS["rotary"]()
    return model, nn.build(model).init(jax.random.key(3))


def test_drawing_follows_the_key_and_its_options(trained):
    model, state = trained
    draw = lambda seed, **options: nn.generate(  # noqa: E731
        model, state, PROMPT, max_new_tokens=5, temperature=2.0, key=jax.random.key(seed), **options
    )
    first = draw(0)
    np.testing.assert_array_equal(first, draw(0))
    assert not np.array_equal(first, draw(1))
    greedy = nn.generate(model, state, PROMPT, max_new_tokens=5)
    np.testing.assert_array_equal(draw(0, top_k=1), greedy)
    assert 0 <= int(first.min()) <= int(first.max()) < VOCABULARY


def test_after_the_end_a_row_is_filled_up(trained):
    model, state = trained
    free = nn.generate(model, state, PROMPT, max_new_tokens=5)
    end = int(free[0, 4])
    found = np.asarray(nn.generate(model, state, PROMPT, max_new_tokens=5, eos_token=end))
    np.testing.assert_array_equal(found[0, 4:], end)
    np.testing.assert_array_equal(found[:, :4], free[:, :4])


def test_one_row_comes_back_as_one(trained):
    model, state = trained
    one = nn.generate(model, state, PROMPT[0], max_new_tokens=2)
    np.testing.assert_array_equal(one, nn.generate(model, state, PROMPT[:1], max_new_tokens=2)[0])


def test_a_cache_takes_tokens_in_parts(trained):
    model, state = trained
    tokens = jnp.concatenate([PROMPT, PROMPT], 1)
    whole = nn.predict(model, state, tokens)
    cached = changed(
        model, lambda layer: remade(layer, cache=7) if layer.op == "multi_head_attention" else None
    )
    pair = nn.build(cached)  # of open time, whatever the cache holds
    state = pair.init(jax.random.key(0), tokens, initial=state.params)
    for start, end in ((0, 3), (3, 4), (4, 6)):
        logits, buffers = pair.apply(state, tokens[:, start:end])
        state = state.replace(buffers=buffers)
        np.testing.assert_allclose(logits, whole[:, start:end], rtol=2e-5, atol=2e-6)
    with pytest.raises(ValueError, match="2 tokens do not fit a capacity of 7 of which 6 are taken"):
        pair.apply(state, tokens[:, :2])


def test_half_precision_serves_too():
    half = Policy(params="bf16", compute="bf16", output="bf16")
    model = changed(
        MODELS["transformer"](), lambda layer: None if layer.op == "input" else replace(layer, policy=half)
    )
    state = nn.build(model).init(jax.random.key(3))
    assert state.params["dense_0"]["kernel"].dtype == jnp.bfloat16
    found = nn.generate(model, state, PROMPT, max_new_tokens=4)
    np.testing.assert_array_equal(found, nn.generate(model, state, PROMPT, max_new_tokens=4, cache=False))


def test_frozen_parameters_serve_too(trained):
    model, state = trained
    found = nn.generate(model, state.freeze("**"), PROMPT, max_new_tokens=3)
    np.testing.assert_array_equal(found, nn.generate(model, state, PROMPT, max_new_tokens=3))


def tokens_alone():
    return nn.input("tokens", (None, None), dtype="int32") | nn.embedding(VOCABULARY, 8)


@pytest.mark.parametrize(
    ("model", "options", "message"),
    [
        (
            lambda: language(nn.multi_head_attention(2)),
            {},
            r'multi_head_attention_0" .*sees later tokens: .*causal=True',
        ),
        (
            lambda: nn.multi_head_attention(2, causal=True)(x := tokens_alone(), x + 1.0),
            {},
            "takes more than the sequence itself",
        ),
        (
            lambda: language(nn.position_embedding(6)),
            {},
            r"8 tokens in all do not fit the 6 of position_embedding",
        ),
        (
            lambda: language(nn.lstm(8)),
            {"cache": True},
            r'lstm "lstm_0" .*keeps nothing of the tokens before',
        ),
        (shared, {"cache": True}, r'multi_head_attention "multi_head_attention_0@1" .*keeps nothing'),
        (lambda: language(nn.bidirectional(nn.rnn(8))), {}, r'bidirectional_0" .*must go forward alone'),
        (lambda: language(nn.gru(8, reverse=True)), {}, r'gru_0" .*sees later tokens: it must go forward'),
        (
            MODELS["attention"],
            {"top_k": 2},
            "top_k and top_p are for drawing: they need a temperature above 0",
        ),
        (MODELS["attention"], {"eos_token": "end"}, "eos_token must be an integer of at least 0, got 'end'"),
        (
            MODELS["attention"],
            {"prompt": np.array([[1, 11]])},
            r'prompt has token 11, embedding "embedding_0" .* takes 0 to 10',
        ),
        (lambda: nn.input("a") + nn.input("b"), {}, "needs a model of one input, the tokens, got 2"),
        (MODELS["attention"], {"max_new_tokens": 0}, "max_new_tokens must be a positive integer, got 0"),
        (MODELS["attention"], {"temperature": -1}, "temperature must be a number of at least 0, got -1"),
        (MODELS["attention"], {"temperature": 1.0}, "drawing needs key="),
        (
            MODELS["attention"],
            {"prompt": np.zeros((2, 0), "int32")},
            r"with one token at least, got \(2, 0\)",
        ),
    ],
)
def test_what_cannot_be_generated_from(model, options, message):
    given = {"max_new_tokens": 5, "prompt": PROMPT, **options}
    prompt = given.pop("prompt")
    with pytest.raises(ValueError, match=message):
        nn.generate(model(), nn.build(MODELS["attention"]()).init(jax.random.key(0)), prompt, **given)


@pytest.mark.parametrize(
    ("layer", "name"),
    [
        (lambda: nn.conv(8, 3, padding="same"), "conv"),
        (lambda: nn.layer_norm(axis=1, use_scale=False, use_offset=False), "layer_norm"),
    ],
)
def test_what_sees_later_tokens_unknown_to_us_is_found_by_its_predictions(layer, name):
    model = language(layer())
    state = nn.build(model).init(jax.random.key(3))
    with pytest.raises(
        ValueError, match=rf'predictions change with the tokens that follow: {name} "{name}_0"'
    ):
        nn.generate(model, state, PROMPT, max_new_tokens=2)


def test_arguments_of_the_wrong_type(trained):
    model, state = trained
    with pytest.raises(TypeError, match="generate: needs a node, got str"):
        nn.generate("model", state, PROMPT, max_new_tokens=1)
    with pytest.raises(TypeError, match="generate: needs the ModelState of the model, got dict"):
        nn.generate(model, {}, PROMPT, max_new_tokens=1)
    with pytest.raises(TypeError, match="prompt must be integers, got float32"):
        nn.generate(model, state, jnp.ones((1, 2)), max_new_tokens=1)
