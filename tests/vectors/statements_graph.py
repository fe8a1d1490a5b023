"""The sentences of the vectors about models."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from ops import programs

from axonax import graph as nn
from axonax.tensor import trees
from axonax.tensor.contracts import ModelState
from axonax.tensor.precision import Policy

KEY = jax.random.key(0)


def paths(model: Any, *inputs: Any) -> list[str]:
    """The paths of all leaves."""
    return sorted(leaves(model, *inputs))


def leaves(model: Any, *inputs: Any) -> dict[str, Any]:
    """The shapes and dtypes of all leaves, by path."""
    state = jax.eval_shape(lambda: nn.build(model).init(KEY, *inputs))
    return trees.flatten(state.variables) | trees.flatten(state.buffers)


def state_of(model: Any, *inputs: Any) -> ModelState:
    state: ModelState = programs.quick(lambda: nn.build(model).init(KEY, *inputs))()
    return state


def result(model: Any, *inputs: Any, train: bool = False) -> Any:
    """What a new model makes of arrays, in one program."""

    @programs.quick
    def run(inputs: Any) -> Any:
        init, apply = nn.build(model)
        return apply(init(KEY, *inputs), *inputs, train=train, key=KEY if train else None)[0]

    return run(inputs)


def shape_of(model: Any, *inputs: Any) -> Any:
    """The shapes of what a model gives."""
    init, apply = nn.build(model)
    found = jax.eval_shape(lambda *xs: apply(init(KEY, *xs), *xs)[0], *inputs)
    return jax.tree.map(lambda leaf: leaf.shape, found)


def x(size: int = 2) -> Any:
    return nn.input("x", (None, size))


def naming() -> None:
    assert paths(x() | nn.dense(3) | nn.relu() | nn.dense(1, use_bias=False)) == [
        *("dense_0/bias", "dense_0/kernel", "dense_1/kernel")
    ]


def names_are_taken_as_they_are() -> None:
    """Ours by policy: a name has no template; a layer without a name is numbered."""
    model = x() | nn.dense(1, name="dense_{n}", use_bias=False)
    assert paths(model) == ["dense_{n}/kernel"]


def input_needs_name() -> None:
    with pytest.raises(TypeError, match="name"):
        nn.input()
    with pytest.raises(ValueError, match='two layers are named "x"'):
        nn.build(nn.input("x", (None, 2)) + nn.input("x", (None, 2)))


def input_single_tensor() -> None:
    two = nn.input("a", (None, 2)) + nn.input("b", (None, 2))
    with pytest.raises(ValueError, match=r'takes 2 input\(s\), "a", "b", got 1'):
        nn.predict(two, ModelState(), np.ones((1, 2)))
    assert nn.predict(x(), ModelState(), np.ones((1, 2))).tolist() == [[1, 1]]


def declared_shapes_hold() -> None:
    """Ours by policy: what does not fit the declared shape is refused; without one any array will do."""
    with pytest.raises(ValueError, match=r"declared with shape \(None, 3\), got \(1, 2\)"):
        nn.predict(x(3) | nn.relu(), ModelState(), np.ones((1, 2)))
    assert nn.predict(nn.input("x") | nn.relu(), ModelState(), np.ones((1, 2))).shape == (1, 2)


def dense_init_defaults() -> None:
    for layer in (nn.dense(2), nn.bilinear(2), nn.conv(2), nn.depthwise_conv(2), nn.conv_transpose(2)):
        assert layer.arguments["kernel_initializer"] == "glorot_uniform"
        assert layer.arguments["bias_initializer"] == "zeros"
    drawn = state_of(x(300) | nn.dense(200)).params["dense_0"]
    np.testing.assert_allclose(np.abs(drawn["kernel"]).max(), np.sqrt(6 / 500), rtol=1e-3)
    assert not drawn["bias"].any()


def scales_start_at_one() -> None:
    """Ours by policy: the scale of every norm starts at ones, as in PyTorch, Keras and Flax."""
    for norm in (nn.batch_norm(), nn.instance_norm(), nn.layer_norm(), nn.group_norm(2), nn.rms_norm()):
        (found,) = state_of(nn.input("x", (None, 3, 4)) | norm).params.values()
        assert (found["scale"] == 1).all()
        assert not found.get("offset", np.zeros(1)).any()


def windows_of_two() -> None:
    """Ours by policy: a pool without a window pools by two, as in Keras; the rest is as upstream."""
    for layer in (nn.max_pool(), nn.avg_pool(), nn.lp_pool()):
        given = layer.arguments
        assert given["window"] == 2
        assert (given["strides"], given["padding"], given["dilation"]) == (None, "valid", 1)
        assert shape_of(nn.input("x", (None, 8, 6, 3)) | layer, np.ones((1, 8, 6, 3))) == (1, 4, 3, 3)


DROPOUTS = ("dropout", "spatial_dropout", "alpha_dropout", "feature_alpha_dropout")


def rates_up_to_one() -> None:
    """Ours by policy: a rate of 1 drops everything, as in PyTorch; what is out of [0, 1] is an error."""
    for name in DROPOUTS:
        getattr(nn, name)(1.0)
        for rate in (-0.1, 1.1):
            with pytest.raises(ValueError, match=rf"{name}: rate must be in \[0, 1\], got {rate}"):
                getattr(nn, name)(rate)


def dropout_inference() -> None:
    given = np.arange(12, dtype=np.float32).reshape(1, 3, 4)
    model = nn.input("x")
    for name in DROPOUTS:
        model = model | getattr(nn, name)(0.5)
    assert nn.predict(model, ModelState(), given).tolist() == given.tolist()


def dropout_no_state_inference() -> None:
    for name in DROPOUTS:
        assert paths(nn.input("x", (None, 3, 4)) | getattr(nn, name)(0.5)) == []


def apply_gives_the_buffers() -> None:
    """Ours by policy: ``apply`` gives ``(prediction, buffers)`` whether training or not."""
    apply = nn.build(x()).apply
    for mode in (False, True):
        prediction, buffers = apply(ModelState(), np.ones((1, 2)), train=mode)
        assert (prediction.tolist(), buffers) == ([[1, 1]], {})


def bad_initializer() -> None:
    with pytest.raises(ValueError, match='unknown initializer "glorot": did you mean .*"glorot_uniform"'):
        nn.dense(2, kernel_initializer="glorot")


def init_from() -> None:
    half = nn.with_policy(x() | nn.dense(1), Policy(params="bf16"))
    given = {"dense_0": {"kernel": np.array([[3.0], [4.0]], np.float32)}}
    kernel = nn.build(half).init(KEY, initial=given).params["dense_0"]["kernel"]
    assert (kernel.tolist(), kernel.dtype) == ([[3], [4]], jnp.bfloat16)


def identity_dense() -> None:
    given = np.arange(6, dtype=np.float32)[None]
    assert result(x(6) | nn.dense(6, kernel_initializer="identity"), given).tolist() == given.tolist()


def optional_params() -> None:
    given = nn.input("given", (None, 2), optional=True) | nn.dense(3)
    model = nn.or_else(given, x(3) | nn.bias()) | nn.relu()
    spec = jax.ShapeDtypeStruct((1, 3), "float32")
    assert paths(model, {"x": spec}) == ["bias_0/bias"]
    more = {"x": spec, "given": jax.ShapeDtypeStruct((1, 2), "float32")}
    assert paths(model, more) == ["bias_0/bias", "dense_0/bias", "dense_0/kernel"]


def constant_policy() -> None:
    found = result(nn.with_policy(nn.constant(np.float32(1)), Policy(output="bf16")))
    assert (found.item(), found.dtype) == (1, jnp.bfloat16)


def container_output() -> None:
    a, b = nn.input("a"), nn.input("b")
    model = nn.container({"one": a, "rest": (b, {"inner": a}, ())})
    ones = np.ones(1, np.float32)
    found = nn.predict(model, ModelState(), {"a": ones, "b": 2 * ones})
    assert jax.tree.map(float, jax.tree.map(lambda leaf: leaf.item(), found)) == {
        "one": 1,
        "rest": (2, {"inner": 1}, ()),
    }


def reshape_literal() -> None:
    one = np.ones((1, 32))
    assert shape_of(nn.input("x") | nn.reshape((16, 2)), one) == (16, 2)
    assert shape_of(nn.input("x") | nn.reshape(("batch", 16, 2)), one) == (1, 16, 2)


def flatten_batch() -> None:
    assert shape_of(nn.input("x") | nn.flatten(), np.ones((5, 2, 3, 4))) == (5, 24)


def pad_axes() -> None:
    found = result(nn.input("x") | nn.pad(((1, 0), (0, 2))), np.ones((1, 2, 2, 1), np.float32))
    assert found[0, :, :, 0].tolist() == [[0, 0, 0, 0], [1, 1, 0, 0], [1, 1, 0, 0]]


def split_uneven() -> None:
    with pytest.raises(ValueError, match="split"):
        nn.build(nn.container(x(5) | nn.split(2)))
    parts = nn.container(x(5) | nn.split((2, 3)))
    assert shape_of(parts, np.ones((1, 5))) == ((1, 2), (1, 3))


def elementwise_many() -> None:
    nodes = [nn.input(name) for name in "abc"]
    given = (np.float32([[6, 8]]), np.float32([[2], [3]]), np.float32([[1, 1]]))
    both = nn.container([join(*nodes) for join in (nn.add, nn.subtract, nn.multiply)])
    listed = nn.container([join(nodes) for join in (nn.add, nn.subtract, nn.multiply)])
    a, b, c = given
    for model in (both, listed):
        for found, expected in zip(result(model, *given), (a + b + c, a - b - c, a * b * c), strict=True):
            assert found.tolist() == expected.tolist()


def elementwise_bad() -> None:
    for join in (nn.add, nn.subtract, nn.multiply):
        with pytest.raises(ValueError, match=rf"{join.op} .*\(None, 2\), \(None, 3\)"):
            nn.build(join(nn.input("a", (None, 2)), nn.input("b", (None, 3))))


def chosen() -> Any:
    given = nn.input("x")
    return nn.cond(given | nn.layer(lambda x: x.all()), given | nn.relu(), given | nn.sigmoid())


def cond_layer() -> None:
    for given, expected in (([[1, 1]], [[1, 1]]), ([[0, 0]], [[0.5, 0.5]])):
        np.testing.assert_allclose(result(chosen(), np.float32(given)), expected, rtol=1e-6)


def cond_bad() -> None:
    given = x()
    with pytest.raises(ValueError, match="cond"):
        nn.build(nn.cond(given, given | nn.relu(), given | nn.sigmoid()))


def block_shared() -> None:
    twice = nn.block(lambda x: x | nn.dense(2))
    assert paths(x() | twice | twice) == ["block_0/dense_0/bias", "block_0/dense_0/kernel"]


def block_twice_value() -> None:
    dense = nn.dense(2)
    twice = nn.block(lambda x: x | nn.dense(2))
    given = np.float32([[1, -2]])
    leaves = {"kernel": np.float32([[1, 2], [3, 4]]), "bias": np.float32([5, 6])}
    for model, tree in ((x() | dense | dense, leaves), (x() | twice | twice, {"dense_0": leaves})):
        name = "block_0" if "dense_0" in tree else "dense_0"
        found = nn.predict(model, ModelState(params={name: tree}), given)
        np.testing.assert_allclose(found, (given @ leaves["kernel"] + [5, 6]) @ leaves["kernel"] + [5, 6])


def block_multi() -> None:
    model = x() | nn.block(lambda x: x | nn.dense(2)) | nn.block(lambda x: x | nn.dense(3))
    assert paths(model) == [f"block_{n}/dense_0/{leaf}" for n in (0, 1) for leaf in ("bias", "kernel")]


def block_inputs() -> None:
    both = nn.block(lambda a, b: nn.add(a | nn.dense(2), b))
    model = both(nn.input("a", (None, 3)), nn.input("b", (None, 2)))
    assert paths(model) == ["block_0/dense_0/bias", "block_0/dense_0/kernel"]
    assert shape_of(model, np.ones((1, 3)), np.ones((1, 2))) == (1, 2)


def param_template() -> None:
    fixed = nn.layer(lambda x, gain: x * gain, params={"gain": nn.param((1, 2), "ones")})
    assert leaves(nn.input("x") | fixed, np.ones((3, 2), np.float32))["layer_0/gain"].shape == (1, 2)


def options_are_the_builders_own() -> None:
    """Ours by policy: no option is given to all layers; one that a builder does not have is an error."""
    with pytest.raises(TypeError, match='dense: unknown option "foo"'):
        nn.dense(2, foo=1)


def stack_columns() -> None:
    record = {name: np.float32([value]) for name, value in (("a", 1), ("b", 2), ("c", 3))}
    columns = nn.input("record", dict.fromkeys(record, (None,))) | nn.stack_columns(ignore=("b",))
    found = result(columns, record)
    assert found.tolist() == [[1, 3]]


def predict_deterministic() -> None:
    given = np.ones((1, 2), np.float32)
    one, two = (result(x() | nn.dense(3) | nn.tanh(), given) for _ in range(2))
    assert one.tolist() == two.tolist()


def output_shape_container() -> None:
    dense = x(1) | nn.dense(2)
    assert shape_of(nn.container((dense, dense)), np.ones((1, 1))) == ((1, 2), (1, 2))


def container_shape() -> None:
    given = x()
    both = nn.container((given | nn.dense(2), given | nn.dense(3)))
    for chosen in (both | nn.layer(lambda pair: pair[1]), both[1]):
        assert shape_of(chosen, np.ones((1, 2))) == (1, 3)
        assert "(None, 3)" in str(chosen).splitlines()[-5]


PASSING: dict[str, Callable[[], None]] = {
    f"models/{each.__name__}": each
    for each in (
        *(naming, input_needs_name, input_single_tensor, dense_init_defaults, dropout_inference),
        *(dropout_no_state_inference, bad_initializer, init_from, identity_dense),
        *(optional_params, constant_policy, container_output, reshape_literal, flatten_batch, pad_axes),
        *(split_uneven, elementwise_many, elementwise_bad, cond_layer, cond_bad, block_shared),
        *(block_twice_value, block_multi, block_inputs, param_template, stack_columns),
        *(predict_deterministic, output_shape_container, container_shape),
    )
}
POLICY: dict[str, Callable[[], None]] = {
    "models/naming_template": names_are_taken_as_they_are,
    "models/input_shape_not_enforced": declared_shapes_hold,
    "models/norm_gamma_default": scales_start_at_one,
    "models/pool_defaults": windows_of_two,
    "models/dropout_rate_range": rates_up_to_one,
    "models/train_output": apply_gives_the_buffers,
    "models/global_options": options_are_the_builders_own,
}
"""Sentences that we differ from on purpose, each with what holds instead."""
