"""Named losses train what ends in softmax or sigmoid on its logits, and refuse logits for probabilities."""

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from flax import linen

from axonax import functional as F
from axonax import graph as nn
from axonax import loop, optim
from axonax.tensor.contracts import Closing, Model, ModelState, Unclosed

random = np.random.default_rng(0)
X = random.normal(size=(6, 3)).astype(np.float32)
LABELS = np.array([0, 1, 2, 0, 1, 2], np.int32)
BITS = random.integers(0, 2, (6, 3)).astype(np.float32)
SHARES = np.float32([[0.2, 0.5, 0.3], [1, 0, 0]] * 3)
STEPS = random.normal(size=(2, 4, 3)).astype(np.float32)
SEQUENCES = (np.array([1, 2]), np.array([[1, 1], [2, 1]]))


def ends_in(activation, shape=(None, 3), **options):
    return nn.input("x", shape) | nn.dense(3, activation=nn.activation(activation, **options))


CASES = {
    "binary_cross_entropy": ("sigmoid", X, BITS, {"positive_weight": 2.0}),
    "categorical_cross_entropy": ("softmax", X, LABELS, {"label_smoothing": 0.1}),
    "categorical_cross_entropy of shares": ("softmax", X, SHARES, {}),
    "focal": ("sigmoid", X, BITS, {}),
    "focal of labels": ("softmax", X, LABELS, {"gamma": 1.0}),
    "kl_divergence": ("softmax", X, SHARES, {}),
    "poly": ("softmax", X, LABELS, {}),
    "connectionist_temporal_classification": ("softmax", STEPS, SEQUENCES, {}),
}


@pytest.mark.parametrize("case", CASES)
def test_where_nothing_saturates_the_step_is_that_on_probabilities(case):
    activation, x, targets, options = CASES[case]
    name, model = case.split()[0], ends_in(activation, (None, *x.shape[1:]))
    function = getattr(F.losses, name)

    def of_probabilities(y_true, y_pred):
        return function(y_true, jnp.log(y_pred) if "temporal" in name else y_pred, **options)

    def of_logits(y_true, y_pred):
        return function(y_true, y_pred, from_logits=True, **options)

    named = loop.train_step(model, name, optax.sgd(0.5), loss_options=options)
    by_hand = loop.train_step(model, of_probabilities, optax.sgd(0.5))
    start = named.init(jax.random.key(0), (x, targets))

    @jax.jit
    def both(start, batch):
        logits, _ = model.build().unclosed.apply(start.model_state, batch[0])
        return named.step(start, batch), by_hand.step(start, batch), of_logits(batch[1], logits).mean()

    (new, outputs), (old, expected), value = both(start, (x, targets))
    np.testing.assert_allclose(outputs["loss"], expected["loss"], rtol=1e-6)
    np.testing.assert_allclose(outputs["loss"], value, rtol=1e-7)
    np.testing.assert_array_equal(outputs["y_pred"], expected["y_pred"])
    for one, two in zip(*map(jax.tree.leaves, (new.model_state, old.model_state)), strict=True):
        np.testing.assert_allclose(one, two, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize(
    ("activation", "loss", "target"),
    [
        ("softmax", "categorical_cross_entropy", [1]),
        ("softmax", "categorical_cross_entropy", [[0.0, 1.0]]),
        ("softmax", "focal", [1]),
        ("softmax", "poly", [1]),
        ("softmax", "kl_divergence", [[0.0, 1.0]]),
        ("sigmoid", "binary_cross_entropy", [[0.0, 1.0]]),
        ("sigmoid", "focal", [[0.0, 1.0]]),
    ],
)
def test_a_saturated_model_trains_and_is_validated_through_its_logits(activation, loss, target):
    model = nn.input("x", (None, 1)) | nn.dense(2, activation=activation, use_bias=False)
    state = ModelState(params={"dense_0": {"kernel": jnp.array([[200.0, -200.0]])}})
    data = [(np.ones((1, 1), np.float32), np.array(target))]
    trainer = loop.trainer(model, loss, optax.sgd(1.0)).metric(lambda t, p: p[:, 0], "p").validate(data)
    result = trainer.run(data * 2, state, epochs=2)
    kernel = result.model_state.params["dense_0"]["kernel"][0]
    assert kernel[0] <= 199
    assert kernel[1] >= -199
    assert result.metrics["validation_p"] == 1.0
    assert np.isfinite(result.metrics["validation_loss"])
    assert result.metrics["validation_loss"] < result.metrics["loss"] < result.history[0]["loss"]
    evaluator = loop.evaluator(model, loss).run(data, result.model_state)
    assert evaluator.metrics["loss"] == result.metrics["validation_loss"] > 100


def test_softmax_along_another_axis_needs_the_loss_on_that_axis():
    images = np.moveaxis(STEPS, 1, -1)
    model = nn.input("x", (None, 3, 4)) | nn.dense(4) | nn.softmax(axis=1)
    data = [(images, np.array([[0, 1, 2, 0], [1, 1, 2, 2]]))]
    result = loop.trainer(model, "categorical_cross_entropy", "sgd", loss_options={"axis": 1}).run(data)
    assert result.metrics["loss"] > 0
    with pytest.raises(ValueError, match="sum to 1 over axis -1, but .* it ends in softmax over axis 1"):
        loop.trainer(model, "categorical_cross_entropy", "sgd").run([(images, np.zeros((2, 3), np.int32))])


def test_options_say_which_dimensions_make_up_a_value():
    masks = np.zeros((2, 4, 4, 3), np.float32)
    model = nn.input("x", (None, 4, 4, 3)) | nn.dense(3, activation="sigmoid")
    step = loop.eval_step(model, "dice", loss_options={"axis": (1, 2)})
    outputs = step(nn.build(model).init(jax.random.key(0)), (masks, masks))
    assert outputs["loss_weight"] == 6


def test_a_model_that_gives_logits_trains_with_from_logits_once():
    logits = nn.input("x", (None, 3)) | nn.dense(3)
    closed = nn.input("x", (None, 3)) | nn.dense(3, activation="softmax")
    data, loss = [(X, LABELS)] * 3, "categorical_cross_entropy"
    told = loop.trainer(logits, loss, optim.sgd(0.1), loss_options={"from_logits": True}).run(data)
    offered = loop.trainer(nn.build(closed), loss, optim.sgd(0.1)).run(data)
    assert told.metrics["loss"] == offered.metrics["loss"]
    jax.tree.map(np.testing.assert_array_equal, told.model_state.params, offered.model_state.params)
    with pytest.raises(
        ValueError, match="from_logits says that the model gives logits, but it ends in softmax"
    ):
        loop.trainer(closed, loss, "sgd", loss_options={"from_logits": True})


@pytest.mark.parametrize(
    ("end", "loss", "targets", "message"),
    [
        (
            "linear",
            "categorical_cross_entropy",
            LABELS,
            r"lie in \[-.*: end the model in softmax",
        ),
        ("linear", "binary_cross_entropy", BITS, "end the model in sigmoid, or pass loss_options"),
        ("linear", "dice", BITS, "end the model in sigmoid$"),
        (
            "sigmoid",
            "categorical_cross_entropy",
            LABELS,
            "sum to 1 over axis -1, .* in softmax, it ends in sigmoid",
        ),
        ("linear", "js_divergence", SHARES, "end the model in softmax$"),
        ("log_softmax", "kl_divergence", SHARES, "lie in .*from_logits"),
    ],
)
def test_what_gives_no_probabilities_is_refused_at_the_first_batch(end, loss, targets, message):
    with pytest.raises(ValueError, match=f'batch 0: loss "{loss}" needs probabilities.*{message}'):
        loop.trainer(ends_in(end), loss, "adam").run([(3 * X, targets)])


def test_probabilities_that_no_logits_stand_behind_are_taken():
    """Binary losses of a softmax, overlap of either, and halves of a mixture of softmaxes."""
    model, half = ends_in("softmax"), ends_in("softmax") * 0.5
    cases = (("binary_cross_entropy", BITS), ("dice", BITS), ("js_divergence", SHARES))
    for net, loss, targets in (*((model, *case) for case in cases), (half + half, "poly", LABELS)):
        state = nn.build(net).init(jax.random.key(0))
        assert np.isfinite(loop.evaluator(net, loss).run([(X, targets)], state).metrics["loss"])


class Net(linen.Module):
    softmax: bool

    @linen.compact
    def __call__(self, inputs):
        scores = linen.Dense(3)(inputs)
        return linen.softmax(scores) if self.softmax else scores


def flax_model(softmax):
    net = Net(softmax)
    return net.init, net.apply


def equinox_model(softmax):
    last = jax.nn.softmax if softmax else jnp.asarray
    static = eqx.partition(eqx.nn.Linear(3, 3, key=jax.random.key(0)), eqx.is_array)[1]

    def apply(arrays, x):
        return last(jax.vmap(eqx.combine(arrays, static))(x))

    return lambda key: eqx.filter(eqx.nn.Linear(3, 3, key=key), eqx.is_array), apply


def hand_written(softmax):
    last = jax.nn.softmax if softmax else jnp.asarray
    return lambda key: jax.random.normal(key, (3, 3)), lambda kernel, x: last(x @ kernel)


@pytest.mark.parametrize("make", [flax_model, equinox_model, hand_written])
def test_models_that_offer_no_logits_have_their_first_predictions_looked_at(make):
    data, loss = [(5 * X, LABELS)], "categorical_cross_entropy"
    with pytest.raises(ValueError, match=r"lie in \[-.*end the model in softmax, or pass loss_options"):
        loop.trainer(make(False), loss, optax.adam(0.1)).run(data)
    told = loop.trainer(make(False), loss, optax.adam(0.1), loss_options={"from_logits": True}).run(data)
    closed = loop.trainer(make(True), loss, optax.adam(0.1)).run(data)
    assert told.metrics["loss"] == pytest.approx(closed.metrics["loss"], rel=1e-5)


def test_a_hand_written_model_offers_its_logits():
    class Classifier(Model):
        unclosed = Unclosed(lambda kernel, x: x @ kernel, jax.nn.softmax, Closing("softmax"))

    model = Classifier(lambda key: jnp.array([[200.0, 0.0]]), lambda kernel, x: jax.nn.softmax(x @ kernel))
    result = (
        loop.trainer(model, "categorical_cross_entropy", optax.sgd(1.0))
        .metric("accuracy")
        .run([(np.ones((1, 1), np.float32), np.array([1]))] * 150)
    )
    assert result.model_state[0, 1] > result.model_state[0, 0]
    assert result.metrics["accuracy"] > 0.2
