from dataclasses import replace

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from axonax import graph as nn
from axonax.tensor.precision import Policy

pytestmark = pytest.mark.smoke


def key(seed=0):
    return jax.random.key(seed)


def draw(*shape, seed=0):
    return jnp.asarray(np.random.default_rng(seed).normal(size=shape), "float32")


def classifier():
    return (
        nn.input("image", (None, 6))
        | nn.dense(8, activation="relu")
        | nn.dropout(0.5)
        | nn.dense(3, activation="softmax")
    )


def test_the_example_of_the_design():
    model = classifier()
    init, apply = nn.build(model)
    images = draw(5, 6)
    state = init(key(), jnp.zeros((1, 6)))
    probabilities = nn.predict(model, state, images)
    hidden = jax.nn.relu(images @ state.params["dense_0"]["kernel"])
    expected = jax.nn.softmax(hidden @ state.params["dense_1"]["kernel"])
    np.testing.assert_allclose(probabilities, expected, rtol=1e-5)
    prediction, buffers = apply(state, images, train=True, key=key(1))
    assert prediction.shape == (5, 3)
    assert state.replace(buffers=buffers).buffers == {}


def test_predict_takes_nodes_models_and_dicts():
    model = classifier()
    state = nn.build(model).init(key())
    images = np.asarray(draw(2, 6))
    expected = nn.predict(model, state, images)
    np.testing.assert_array_equal(nn.predict(nn.build(model), state, images), expected)
    np.testing.assert_array_equal(nn.predict(model, state, {"image": images}), expected)


def test_any_batch_goes_through_one_model():
    model = classifier()
    state = nn.build(model).init(key(), (1, 6))
    for batch in (1, 2, 7):
        prediction = jax.eval_shape(nn.build(model).apply, state, draw(batch, 6))[0]
        assert prediction.shape == (batch, 3)


def test_jit_grad_vmap():
    init, apply = nn.build(classifier())
    state, images = init(key()), draw(4, 6)
    step = jax.jit(apply, static_argnames="train")
    np.testing.assert_allclose(step(state, images)[0], apply(state, images)[0], rtol=1e-5)
    np.testing.assert_allclose(
        step(state, images, train=True, key=key(2))[0],
        apply(state, images, train=True, key=key(2))[0],
        rtol=1e-5,
    )
    mapped = jax.vmap(lambda image: apply(state, image[None])[0][0])(images)
    np.testing.assert_allclose(mapped, apply(state, images)[0], rtol=1e-5)

    def loss(params):
        return -jnp.log(apply(state.replace(params=params), images)[0][:, 0]).mean()

    gradients = jax.grad(loss)(state.params)
    assert jax.tree.structure(gradients) == jax.tree.structure(state.params)
    bump = 1e-2 * gradients["dense_0"]["kernel"] / jnp.linalg.norm(gradients["dense_0"]["kernel"])
    moved = {
        **state.params,
        "dense_0": {**state.params["dense_0"], "kernel": state.params["dense_0"]["kernel"] + bump},
    }
    slope = (loss(moved) - loss(state.params)) / 1e-2
    assert slope == pytest.approx(float(jnp.linalg.norm(gradients["dense_0"]["kernel"])), rel=0.05)


def test_strict_promotion_of_dtypes():
    model = nn.input("x", (None, 6, 2)) | nn.conv(3, 2, activation="relu") | nn.batch_norm() | nn.max_pool(2)
    model = (model | nn.flatten() | nn.dropout(0.1) | nn.dense(3, activation="softmax")) * 2.0 + 1
    with jax.numpy_dtype_promotion("strict"):
        init, apply = nn.build(model)
        state = init(key())
        train = jax.jit(apply, static_argnames="train")
        assert train(state, draw(2, 6, 2), train=True, key=key(1))[0].shape == (2, 3)


def test_eval_shape():
    init, apply = nn.build(classifier())
    state = jax.eval_shape(init, key())
    prediction, _ = jax.eval_shape(apply, state, jax.ShapeDtypeStruct((9, 6), "float32"))
    assert prediction.shape == (9, 3)


def test_frozen_parameters_are_used_and_get_no_gradient():
    init, apply = nn.build(classifier())
    state, images = init(key()), draw(4, 6)
    frozen = state.freeze("dense_0/**")
    np.testing.assert_array_equal(apply(frozen, images)[0], apply(state, images)[0])
    gradients = jax.grad(lambda params: apply(frozen.replace(params=params), images)[0][:, 0].sum())(
        frozen.params
    )
    assert list(gradients) == ["dense_1"]


def test_sharing_adds_the_gradients_of_both_uses():
    encode = nn.dense(4, use_bias=False)
    model = (nn.input("a", (None, 3)) | encode) + (nn.input("b", (None, 3)) | encode)
    init, apply = nn.build(model)
    state, a, b = init(key()), draw(2, 3), draw(2, 3, seed=1)
    kernel = state.params["dense_0"]["kernel"]
    np.testing.assert_allclose(apply(state, a, b)[0], (a + b) @ kernel, rtol=1e-4, atol=1e-6)
    gradient = jax.grad(lambda params: apply(state.replace(params=params), a, b)[0].sum())(state.params)
    expected = (a + b).T @ jnp.ones((2, 4))
    np.testing.assert_allclose(gradient["dense_0"]["kernel"], expected, rtol=1e-4, atol=1e-6)


def test_a_part_runs_on_the_state_of_its_whole():
    body = nn.input("x", (None, 3)) | nn.dense(4)
    right = body | nn.dense(2)
    whole = (body | nn.dense(2)) + right * nn.input("unused", (None, 2))
    state = nn.build(whole).init(key())
    part = nn.build(right, within=whole)
    inputs = draw(2, 3)
    layers = state.params
    expected = inputs @ layers["dense_0"]["kernel"] @ layers["dense_2"]["kernel"]
    for given in (inputs, {"x": inputs, "unused": draw(2, 2)}):
        np.testing.assert_allclose(part.apply(state, given)[0], expected, rtol=1e-4, atol=1e-6)


class TestDropout:
    def masks(self, model, **options):
        state = nn.build(model).init(key())
        return nn.build(model).apply(state, jnp.ones((2, 50)), train=True, **options)[0]

    def test_one_key_gives_one_mask_and_another_key_another(self):
        model = nn.input("x", (None, 50)) | nn.dropout(0.5)
        one = self.masks(model, key=key(1))
        np.testing.assert_array_equal(one, self.masks(model, key=key(1)))
        assert not np.array_equal(one, self.masks(model, key=key(2)))
        assert set(np.unique(one)) == {0, 2}

    def test_layers_and_uses_of_a_shared_layer_draw_different_masks(self):
        shared = nn.dropout(0.5)
        x = nn.input("x", (None, 50))
        assert np.any(self.masks((x | shared) - (x | shared), key=key()) != 0)
        assert np.any(self.masks((x | nn.dropout(0.5)) - (x | nn.dropout(0.5)), key=key()) != 0)

    def test_masks_follow_from_the_path(self):
        x = nn.input("x", (None, 50))
        alone = self.masks(x | nn.dropout(0.5, name="drop"), key=key())
        second = self.masks(x | nn.activation("linear") | nn.dropout(0.5, name="drop"), key=key())
        np.testing.assert_array_equal(alone, second)

    def test_training_without_a_key_is_refused(self):
        model = nn.input("x", (None, 50)) | nn.dropout(0.5)
        with pytest.raises(
            ValueError, match=r'dropout "dropout_0" \(test_apply.py:\d+\): draws at random.*pass key='
        ):
            self.masks(model)

    def test_rate_0_needs_no_key(self):
        np.testing.assert_array_equal(self.masks(nn.input("x") | nn.dropout(0)), np.ones((2, 50)))


class TestBuffers:
    def counter(self):
        def count(x, seen, train):
            return x * 1.0, {"seen": seen + train}

        return nn.layer(count, buffers={"seen": nn.param((), "zeros", dtype="int32")}, needs=("train",))

    def test_they_are_returned_and_go_on(self):
        model = nn.input("x", (None, 2)) | self.counter()
        init, apply = nn.build(model)
        state = init(key())
        assert state.params == {}
        assert state.buffers["count_0"]["seen"].dtype == jnp.int32
        for _ in range(3):
            state = state.replace(buffers=apply(state, jnp.ones((1, 2)), train=True)[1])
        assert int(state.buffers["count_0"]["seen"]) == 3
        assert int(apply(state, jnp.ones((1, 2)))[1]["count_0"]["seen"]) == 3

    def test_those_of_a_shared_layer_thread_through(self):
        shared = self.counter()
        model = nn.input("x", (None, 2)) | shared | nn.activation("relu") | shared
        init, apply = nn.build(model)
        _, buffers = apply(init(key()), jnp.ones((1, 2)), train=True)
        assert int(buffers["count_0"]["seen"]) == 2

    def test_their_structure_is_that_of_the_state(self):
        model = nn.input("x", (None, 2)) | self.counter()
        init, apply = nn.build(model)
        state = init(key())

        def body(state, x):
            prediction, buffers = apply(state, x, train=True)
            return state.replace(buffers=buffers), prediction

        state, _ = jax.lax.scan(body, state, jnp.ones((4, 1, 2)))
        assert int(state.buffers["count_0"]["seen"]) == 4

    @pytest.mark.parametrize(
        ("function", "message"),
        [
            (lambda x, seen: x, r"must return \(output, \{name: new value\}\) for its buffers \['seen'\]"),
            (lambda x, seen: (x, {"sen": seen}), r"new values of its buffers \['seen'\], got \['sen'\]"),
            (lambda x, seen: (x, {"seen": jnp.ones(3)}), r"buffer seen has shape \(3,\), it needs \(\)"),
        ],
    )
    def test_what_a_layer_with_buffers_must_return(self, function, message):
        layer = nn.layer(function, buffers={"seen": nn.param((), "zeros")})
        with pytest.raises(ValueError, match=message):
            nn.build(nn.input("x", (3, 2)) | layer)


class TestMisfits:
    def fails(self, message, model, *inputs, state=None, error=ValueError, **options):
        init, apply = nn.build(model)
        state = init(key()) if state is None else state
        with pytest.raises(error, match=message):
            apply(state, *inputs, **options)

    def test_input_shape(self):
        message = r'input "image" \(test_apply.py:\d+\): declared with shape \(None, 6\), got \(4, 7\)'
        self.fails(message, classifier(), jnp.ones((4, 7)))
        with pytest.raises(ValueError, match=message):
            jax.jit(nn.build(classifier()).apply)(nn.build(classifier()).init(key()), jnp.ones((4, 7)))

    def test_state_without_a_leaf(self):
        state = nn.build(classifier()).init(key())
        state = state.replace(params={"dense_0": state.params["dense_0"]})
        message = (
            r'dense "dense_1" \(test_.*\): the state has no "dense_1/kernel": did you mean "dense_0/kernel"'
        )
        self.fails(message, classifier(), jnp.ones((4, 6)), state=state)

    def test_state_of_another_model(self):
        state = nn.build(nn.input("x", (None, 6)) | nn.batch_norm()).init(key())
        message = 'the state has no "dense_0/kernel": it has 2 leaves of other names'
        self.fails(message, classifier(), jnp.ones((4, 6)), state=state)

    def test_state_of_another_size(self):
        other = nn.build(nn.input("x", (None, 7)) | nn.dense(8) | nn.dense(3)).init(key())
        message = (
            r'dense "dense_0" \(test_.*\): kernel \(7, 8\) does not fit input \(4, 6\), which needs \(6, 8\)'
        )
        self.fails(message, classifier(), jnp.ones((4, 6)), state=other)

    def test_state_that_is_none(self):
        self.fails(
            "state must be the ModelState of init, got dict",
            classifier(),
            jnp.ones(6),
            state={},
            error=TypeError,
        )

    def test_inputs_that_are_no_arrays(self):
        for value in ([1.0], 2.0, jax.ShapeDtypeStruct((1, 6), "float32")):
            self.fails(r'input "image" \(.*\): needs an array, got', classifier(), value, error=TypeError)
        self.fails(r"array of numbers, got dtype <U1", classifier(), np.full((1, 6), "a"), error=TypeError)

    def test_number_of_inputs(self):
        self.fails(r'takes 1 input\(s\), "image", got 0', classifier())

    def test_dtype_where_declared(self):
        model = nn.input("tokens", (None, 2), dtype="int32") | nn.activation("relu")
        self.fails(r'input "tokens" \(.*\): declared with dtype int32, got float32', model, jnp.ones((1, 2)))
        assert nn.predict(model, nn.build(model).init(key()), jnp.ones((1, 2), "int8")).dtype == jnp.int8

    def test_integers_are_taken_where_nothing_is_declared(self):
        model = classifier()
        state = nn.build(model).init(key())
        images = np.arange(12, dtype="uint8").reshape(2, 6)
        np.testing.assert_allclose(
            nn.predict(model, state, images), nn.predict(model, state, images.astype("float32")), rtol=1e-6
        )

    def test_a_key_that_is_none(self):
        self.fails(
            "apply: key must be a PRNG key",
            classifier(),
            jnp.ones((1, 6)),
            train=True,
            key=3,
            error=TypeError,
        )

    def test_a_shared_layer_on_two_sizes_is_found_at_build(self):
        encode = nn.dense(64, name="decoder/dense_1")
        model = (nn.input("a", (None, 32)) | encode) + (nn.input("b", (None, 33)) | encode)
        message = r'dense "decoder/dense_1@1" \(test_.*\): kernel \(32, 64\) does not fit input \(None, 33\)'
        for act in (nn.build, print):
            with pytest.raises(ValueError, match=message):
                act(model)

    def test_shapes_that_do_not_broadcast_are_found_at_build(self):
        model = nn.input("a", (None, 3)) + nn.input("b", (None, 4))
        with pytest.raises(
            ValueError, match=r'add "add_0" \(.*\): needs.*broadcast, got \(None, 3\), \(None, 4\)'
        ):
            nn.build(model)

    def test_a_function_that_fails_names_its_layer(self):
        layer = nn.layer(lambda x: x.reshape(7, 11))
        message = r'layer "layer_0" \(test_apply.py:\d+\): cannot take input \(2, 3\): '
        with pytest.raises(ValueError, match=message):
            nn.build(nn.input("x", (2, 3)) | layer)
        with pytest.raises(ValueError, match=message):
            nn.build(nn.input("x", (None, 3)) | layer).init(key(), (2, 3))

    @pytest.mark.parametrize(("value", "kind"), [("text", "str"), (None, "NoneType")])
    def test_a_function_that_returns_no_arrays(self, value, kind):
        layer = nn.layer(lambda x: value)
        with pytest.raises(ValueError, match=rf'layer "layer_0" \(test_.*\): must return arrays, got {kind}'):
            nn.build(nn.input("x", (2, 3)) | layer)

    def test_open_sizes_show_as_open_in_what_an_op_says(self):
        model = nn.input("x", (None, 3)) | nn.glu()
        with pytest.raises(ValueError, match=r"even size, got 3 in \(None, 3\)") as caught:
            nn.build(model)
        assert not hasattr(caught.value, "__notes__")

    def test_a_function_of_traced_values_keeps_the_error_of_jax(self):
        layer = nn.layer(lambda x: x if x.sum() > 0 else -x)
        with pytest.raises(jax.errors.TracerBoolConversionError) as caught:
            nn.build(nn.input("x", (2, 3)) | layer)
        assert caught.value.__notes__[0].startswith('in layer "layer_0" (test_apply.py:')

    def test_a_shape_that_does_not_follow(self):
        layer = nn.layer(lambda x, w: x, params={"w": nn.param(lambda x: x.shape[5], "zeros")})
        with pytest.raises(
            ValueError, match=r"the shape of w does not follow from input \(None, 3\): tuple index"
        ):
            nn.build(nn.input("x", (None, 3)) | layer)


def test_a_policy_casts_for_the_computation_and_back():
    seen = []
    layer = nn.layer(
        lambda x, w: seen.append((x.dtype, w.dtype)) or x * w,
        params={"w": nn.param((), "ones")},
        name="probe_0",
    )
    model = nn.input("x", (None, 3)) | replace(layer, policy=Policy(compute="bfloat16"))
    state = nn.build(model).init(key())
    assert state.params["probe_0"]["w"].dtype == jnp.float32
    assert nn.predict(model, state, jnp.ones((1, 3))).dtype == jnp.float32
    assert set(seen) == {(jnp.dtype("bfloat16"),) * 2}
    assert "p=f32 c=bf16 o=f32" in str(model)


def test_a_deep_chain_builds_and_runs():
    model = nn.input("x", (None, 2))
    for _ in range(500):
        model = model | nn.activation("tanh")
    state = nn.build(model).init(key())
    assert nn.predict(model, state, jnp.ones((1, 2))).shape == (1, 2)
