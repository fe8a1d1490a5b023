"""Generation against the whole forward pass at each step."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from axonax import graph as nn

VOCABULARY = 11
PROMPT = np.array([[1, 2, 3], [4, 5, 6]], "int32")


def language(*body, close=()):
    node = nn.input("tokens", (None, None), dtype="int32") | nn.embedding(
        VOCABULARY, 8, kernel_initializer="he_normal"
    )
    for each in (*body, nn.dense(VOCABULARY, kernel_initializer="he_normal"), *close):
        node = node | each
    return node


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
}


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
    if name != "recurrent":
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


def test_frozen_parameters_and_half_precision_serve_too(trained):
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


def test_arguments_of_the_wrong_type(trained):
    model, state = trained
    with pytest.raises(TypeError, match="generate: needs a node, got str"):
        nn.generate("model", state, PROMPT, max_new_tokens=1)
    with pytest.raises(TypeError, match="generate: needs the ModelState of the model, got dict"):
        nn.generate(model, {}, PROMPT, max_new_tokens=1)
    with pytest.raises(TypeError, match="prompt must be integers, got float32"):
        nn.generate(model, state, jnp.ones((1, 2)), max_new_tokens=1)
