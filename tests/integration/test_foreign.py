"""Models, optimizers and plugins that are not ours."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from axonax import functional as F
from axonax import loop, optim
from axonax.tensor.contracts import ModelState


def rings(rows=128):
    """Points inside (0) and outside (1) of a circle: no line separates them."""
    random = np.random.default_rng(1)
    x = random.uniform(-1, 1, (rows, 2)).astype(np.float32)
    return x, (np.hypot(*x.T) > 0.7).astype(np.int32)


def test_a_flax_model_with_statistics_and_dropout_trains_in_the_loop():
    linen = pytest.importorskip("flax.linen")

    class Net(linen.Module):
        """With batch statistics and dropout, which the loop threads through `ModelState`."""

        @linen.compact
        def __call__(self, x, train=False):
            x = linen.relu(linen.Dense(32)(x))
            x = linen.BatchNorm(use_running_average=not train, momentum=0.9)(x)
            x = linen.Dropout(0.1, deterministic=not train)(x)
            return linen.Dense(2)(x)

    x, y = rings()
    net = Net()

    def init(key, inputs):
        variables = net.init(key, jnp.zeros(inputs.shape))
        return ModelState(params=variables["params"], buffers=variables["batch_stats"])

    def apply(state, inputs, train=False, key=None):
        variables = {"params": state.variables, "batch_stats": state.buffers}
        if not train:
            return net.apply(variables, inputs), state.buffers
        prediction, changed = net.apply(
            variables, inputs, train=True, rngs={"dropout": key}, mutable=["batch_stats"]
        )
        return prediction, changed["batch_stats"]

    def loss(y_true, y_pred):
        return F.losses.categorical_cross_entropy(y_true, y_pred, from_logits=True)

    data = loop.arrays(x, y, batch_size=32, shuffle=True)
    trainer = loop.trainer((init, apply), loss, optim.adamw(0.02)).metric("accuracy").validate(data)
    result = trainer.run(data, epochs=15)
    assert result.history[-1]["validation_accuracy"] > 0.9
    assert np.abs(result.model_state.buffers["BatchNorm_0"]["mean"]).max() > 0


def test_an_equinox_model_trains_in_the_loop():
    eqx = pytest.importorskip("equinox")
    x, y = rings()

    def build(key):
        return eqx.nn.MLP(2, 2, 32, 2, key=key)

    _, static = eqx.partition(build(jax.random.key(0)), eqx.is_array)

    def init(key):
        return eqx.filter(build(key), eqx.is_array)

    def apply(params, inputs):
        return jax.nn.softmax(jax.vmap(eqx.combine(params, static))(inputs))

    data = loop.arrays(x, y, batch_size=32, shuffle=True)
    trainer = loop.trainer((init, apply), "categorical_cross_entropy", optax.adam(0.01)).metric("accuracy")
    result = trainer.run(data, epochs=15)
    assert result.metrics["accuracy"] > 0.9
    trained = eqx.combine(result.model_state, static)
    assert trained(x[0]).shape == (2,)


@pytest.mark.parametrize(
    "optimizer",
    [
        optax.chain(optax.clip_by_global_norm(1.0), optax.scale_by_adam(), optax.scale(-0.01)),
        optax.inject_hyperparams(optax.rmsprop)(learning_rate=0.01),
        optax.lbfgs(),
        optim.lamb(0.05),
    ],
    ids=["chain", "inject_hyperparams", "lbfgs", "ours"],
)
def test_optimizers_of_every_kind_run_in_the_loop(optimizer):
    x, y = rings()

    def init(key):
        return {"kernel": 0.1 * jax.random.normal(key, (2, 2))}

    def apply(params, inputs):
        return jax.nn.softmax(inputs**2 @ params["kernel"])

    result = loop.trainer((init, apply), "categorical_cross_entropy", optimizer).run([(x, y)], epochs=20)
    assert result.history[-1]["loss"] < result.history[0]["loss"]


def test_an_optax_schedule_drives_our_optimizer():
    schedule = optax.linear_schedule(0.2, 0.0, 10)
    optimizer = optim.sgd(schedule)
    state = optimizer.init({"w": jnp.ones(2)})
    for step in range(3):
        _, state = optimizer.update({"w": jnp.ones(2)}, state, {"w": jnp.ones(2)})
        assert float(optim.hyperparams(state)["learning_rate"]) == pytest.approx(float(schedule(step)))


PLUGIN = """
def cubed(y_true, y_pred, *, reduction="none", weights=None, where=None):
    return (abs(y_true - y_pred) ** 3).mean(-1)
"""


def test_a_third_party_registers_a_loss_the_same_way(tmp_path, monkeypatch):
    (tmp_path / "cubed_loss.py").write_text(PLUGIN)
    info = tmp_path / "cubed_loss-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: cubed-loss\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text("[axonax.losses]\ncubed = cubed_loss:cubed\n")
    monkeypatch.syspath_prepend(tmp_path)

    x = np.ones((4, 2), np.float32)
    model = (lambda key: jnp.zeros((2, 1)), lambda params, inputs: inputs @ params)
    result = loop.trainer(model, "cubed", optax.sgd(0.01)).run([(x, 2 * np.ones((4, 1), np.float32))])
    assert result.metrics["loss"] == pytest.approx(8.0)
