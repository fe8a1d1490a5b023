"""Containers, choices, missing inputs, tied parameters, parts of results, blocks."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from axonax import graph as nn
from axonax.graph.data._layer import computes

A = np.arange(6, dtype="float32").reshape(2, 3)


def key():
    return jax.random.key(0)


def x(name="x", **options):
    return nn.input(name, (None, 3), **options)


def started(model):
    pair = nn.build(model)
    return pair, pair.init(key())


@nn.builder
def halves(*, name=None):
    """A layer whose result has parts."""
    return computes(lambda x: (x / 2, (x / 4, x / 8)), outputs=("", ("", "")))


class TestContainers:
    def test_outputs_keep_keys_order_and_nesting(self):
        a = x()
        model = nn.container({"z": a * 2, "a": (a, [a + 1, {"deep": -a}])})
        value = nn.predict(model, started(model)[1], A)
        assert list(value) == ["z", "a"]
        assert jax.tree.structure(value) == jax.tree.structure({"z": 0, "a": (0, (0, {"deep": 0}))})
        np.testing.assert_array_equal(value["a"][1][1]["deep"], -A)

    def test_parts_of_a_container_are_indexed(self):
        both = nn.container({"left": x(), "right": (x("y"), x("z"))})
        model = both["left"] + both["right"][1]
        given = {"x": A, "y": A, "z": 3 * A}
        np.testing.assert_array_equal(nn.predict(model, started(model)[1], given), 4 * A)

    def test_an_input_may_be_a_container(self):
        pair = nn.input("pair", {"left": (None, 3), "right": ((None, 3), (None, 3))})
        model = (pair["left"] | nn.dense(2)) + (pair["right"][1] | nn.dense(2))
        built, state = started(model)
        assert state.params["dense_0"]["kernel"].shape == (3, 2)
        value = {"left": A, "right": (A, A)}
        same = built.apply(state, {"pair": value})[0]
        np.testing.assert_array_equal(built.apply(state, value)[0], same)
        again = built.init(key(), {"left": A, "right": (A, jax.ShapeDtypeStruct((2, 3), "float32"))})
        np.testing.assert_array_equal(again.params["dense_1"]["kernel"], state.params["dense_1"]["kernel"])

    def test_a_layer_gathers_a_container_that_it_is_given(self):
        total = nn.layer(lambda pair: pair["a"] + pair["b"], name="total")
        a = x()
        model = total({"a": a, "b": a * 2})
        np.testing.assert_array_equal(nn.predict(model, started(model)[1], A), 3 * A)

    @pytest.mark.parametrize(
        ("value", "error", "message"),
        [
            (
                {"left": A},
                ValueError,
                r'input "pair" .*needs a dict with the keys \[.left., .right.\], got \[.left.\]',
            ),
            ({"left": A, "right": A}, ValueError, r'input "pair" .*needs a tuple of 2, got ndarray'),
            ({"left": A, "right": (A, A[0])}, ValueError, r"declared with shape \(None, 3\), got \(3,\)"),
            ({"left": A, "right": (A, "a")}, TypeError, r"needs an array, got str"),
        ],
    )
    def test_an_input_of_another_structure(self, value, error, message):
        pair = nn.input("pair", {"left": (None, 3), "right": ((None, 3), (None, 3))})
        model = pair["left"] + pair["right"][0]
        with pytest.raises(error, match=message):
            nn.predict(model, started(model)[1], value)

    def test_what_is_no_node_is_refused(self):
        with pytest.raises(TypeError, match="container: needs nodes in dicts and tuples, got ndarray"):
            nn.container({"a": x(), "b": A})
        with pytest.raises(TypeError, match="container: needs nodes, got none"):
            nn.container({})


class TestMissing:
    def test_what_follows_is_missing_up_to_a_layer_that_can_do_without(self):
        context = x("context", optional=True) | nn.dense(3, kernel_initializer="ones")
        model = nn.or_else(context, x())
        built, state = started(model)
        assert list(state.params) == ["dense_0"]
        np.testing.assert_array_equal(built.apply(state, A)[0], A)
        np.testing.assert_array_equal(built.apply(state, {"x": A})[0], A)
        np.testing.assert_array_equal(built.apply(state, {"x": A, "context": None})[0], A)
        given = built.apply(state, {"x": A, "context": A})[0]
        np.testing.assert_array_equal(given, np.tile(A.sum(1, keepdims=True), 3))
        np.testing.assert_array_equal(given, built.apply(state, A, A)[0])

    def test_init_without_it_makes_no_parameters_for_it(self):
        context = nn.input("context", optional=True) | nn.dense(3)
        built = nn.build(nn.or_else(context, x()))
        assert built.init(key(), {"x": A}).params == {}
        assert list(built.init(key(), {"x": A, "context": A}).params) == ["dense_0"]

    def test_an_output_that_cannot_do_without_says_what_is_missing(self):
        model = x("context", optional=True) | nn.dense(3)
        built, state = started(model)
        with pytest.raises(
            ValueError, match=r'dense "dense_0" .*no value, since input "context" .*is missing'
        ):
            built.apply(state, {})

    def test_one_that_is_not_optional_is_still_needed(self):
        model = nn.or_else(x("context", optional=True), x())
        built, state = started(model)
        with pytest.raises(ValueError, match=r'input "x" .*missing among the inputs by name, got "context"'):
            built.apply(state, {"context": A})


def test_cond_chooses_between_two_nodes():
    a = x()
    model = nn.cond(a | nn.layer(lambda x: x.sum() > 10), a * 2, -a)
    built, state = started(model)
    run = jax.jit(lambda state, x: built.apply(state, x)[0])
    np.testing.assert_array_equal(run(state, A), 2 * A)
    np.testing.assert_array_equal(run(state, A / 10), -A / 10)
    with pytest.raises(ValueError, match=r'cond "cond_0" .*predicate must be a scalar bool'):
        nn.build(nn.cond(a, a, a))


class TestParts:
    def test_a_layer_of_several_outputs_gives_a_tuple_of_nodes(self):
        half, (quarter, eighth) = x() | halves()
        model = half + quarter - eighth
        np.testing.assert_allclose(nn.predict(model, started(model)[1], A), A * 0.625)
        assert half.parents[0] is quarter.parents[0].parents[0]
        assert "halves_0 ( halves" in str(model)
        assert "((None, 3), ((None, 3), (None, 3)))" in str(model)


class TestTied:
    def test_one_array_serves_both_layers(self):
        encode = nn.dense(2)
        decode = nn.dense(3, kernel_initializer=nn.tied(encode, transform=jnp.transpose), use_bias=False)
        model = x() | encode | decode
        built, state = started(model)
        assert sorted(state.params) == ["dense_0"]
        kernel = state.params["dense_0"]["kernel"]
        np.testing.assert_allclose(built.apply(state, A)[0], A @ kernel @ kernel.T, rtol=1e-5)
        gradient = jax.grad(lambda params: built.apply(state.replace(params=params), A)[0].sum())(
            state.params
        )
        ones = np.ones((2, 3), "float32")
        expected = A.T @ ones @ kernel + ones.T @ (A @ kernel)
        np.testing.assert_allclose(gradient["dense_0"]["kernel"], expected, rtol=1e-5)
        assert "Total Parameters: 8\n" in str(model)

    def test_its_owner_may_come_later_and_may_be_frozen(self):
        owner = nn.dense(3, name="owner", use_bias=False)
        model = x() | nn.dense(3, kernel_initializer=nn.tied(owner), use_bias=False) | owner
        built, state = started(model)
        state = state.freeze("owner/**")
        kernel = state.frozen["owner"]["kernel"]
        np.testing.assert_allclose(built.apply(state, A)[0], A @ kernel @ kernel, rtol=1e-5)

    @pytest.mark.parametrize(
        ("make", "error", "message"),
        [
            (lambda: nn.tied(3), TypeError, r"tied: needs a layer, such as nn.dense\(8\), got int"),
            (lambda: nn.tied(nn.dense(2), "kernle"), ValueError, 'has no "kernle": did you mean "kernel"'),
            (
                lambda: nn.tied(nn.dense(2), transform=3),
                TypeError,
                "transform must be a function of an array",
            ),
            (
                lambda: nn.build(x() | nn.dense(2, kernel_initializer=nn.tied(nn.dense(2)))),
                ValueError,
                r"dense \(test_combining.py:\d+\): kernel is tied to <dense layer, .*, which is not in",
            ),
            (
                lambda: nn.build(
                    x() | (first := nn.dense(2)) | nn.dense(2, kernel_initializer=nn.tied(first))
                ),
                ValueError,
                r'dense "dense_1" .*kernel \(3, 2\) does not fit input \(None, 2\), which needs \(2, 2\)',
            ),
        ],
    )
    def test_misuse(self, make, error, message):
        with pytest.raises(error, match=message):
            make()


class TestBlocks:
    def test_paths_nest_and_calls_share(self):
        @nn.builder
        def scale(*, name=None):
            return nn.layer(lambda x, gain: x * gain, params={"gain": nn.param((), "ones")})

        inner = nn.block(lambda x: x | nn.dense(3) | scale(), name="inner")
        outer = nn.block(lambda x: (x | nn.block(lambda x: x | nn.dense(3))) + (x | inner), name="outer")
        model = x() | nn.dense(3) | outer | outer | inner
        _, state = started(model)
        paths = ["dense_0", "inner/dense_0", "inner/scale_0", "outer/block_0/dense_0"]
        leaves = [
            jax.tree_util.keystr(path, simple=True, separator="/")
            for path, _ in jax.tree.leaves_with_path(state.params)
        ]
        assert sorted({leaf.rpartition("/")[0] for leaf in leaves}) == paths
        assert "inner/dense_0@2 ( dense" in str(model)

    def test_it_computes_what_its_function_does(self):
        block = nn.block(lambda a, b: {"sum": a + b, "product": a * b})
        value = block(x("a"), x("b"))
        model = value["sum"] - value["product"]
        np.testing.assert_array_equal(nn.predict(model, started(model)[1], A, A), 2 * A - A * A)

    def test_layers_from_outside_stay_outside(self):
        shared = nn.dense(3)
        block = nn.block(lambda x: x | shared | nn.dense(3))
        model = x() | shared | block
        assert sorted(started(model)[1].params) == ["block_0", "dense_0"]

    def test_automatic_numbers_step_over_names_that_are_taken(self):
        model = x() | nn.dense(3, name="block_0/dense_0") | nn.block(lambda x: x | nn.dense(3) | nn.dense(3))
        assert sorted(started(model)[1].params["block_0"]) == ["dense_0", "dense_1", "dense_2"]

    @pytest.mark.parametrize(
        ("make", "error", "message"),
        [
            (lambda: nn.block(3), TypeError, "block: needs a function of nodes, got 3"),
            (
                lambda: nn.block(lambda: 3),
                TypeError,
                "block: needs a function of one or more nodes, got one of none",
            ),
            (lambda: nn.block(lambda x: 3), TypeError, "block: its function must return nodes, got int"),
            (lambda: nn.block(lambda x: x, name="a*"), ValueError, "block: name must be text without"),
            (
                lambda: nn.block(lambda x: x + 1)(A),
                TypeError,
                r"block \(test_combining.py:\d+\): takes nodes, got ndarray",
            ),
            (lambda: nn.block(lambda x: x + 1)(x(), x()), TypeError, r"takes 1 input\(s\), got 2"),
            (
                lambda: nn.build(
                    x()
                    | nn.block(lambda x: x | nn.dense(3), name="a")
                    | nn.block(lambda x: x | nn.dense(3), name="a")
                ),
                ValueError,
                r'two layers are named "a": block .* and block',
            ),
        ],
    )
    def test_misuse(self, make, error, message):
        with pytest.raises(error, match=message):
            make()


class TestInitial:
    def test_given_leaves_are_taken_and_frozen_ones_stay_frozen(self):
        model = x() | nn.dense(2) | nn.batch_norm() | nn.dense(2)
        built, state = started(model)
        half = built.init(jax.random.key(1)).freeze("dense_0/kernel")
        given = half.replace(params={})
        new = built.init(key(), initial=given)
        np.testing.assert_array_equal(new.frozen["dense_0"]["kernel"], half.frozen["dense_0"]["kernel"])
        np.testing.assert_array_equal(new.params["dense_1"]["kernel"], state.params["dense_1"]["kernel"])
        new = built.init(key(), initial={"dense_1": {"bias": np.ones(2)}})
        np.testing.assert_array_equal(new.params["dense_1"]["bias"], np.ones(2))

    def test_what_is_no_array_of_the_kind_of_its_leaf_is_listed(self):
        init = nn.build(x() | nn.dense(2)).init
        wrong = {"dense_0": {"kernel": [[1.0, 2.0]] * 3, "bias": np.ones(2, complex)}}
        message = (
            r'bias": dense .* needs float32, got complex.*\n.*kernel": dense .* needs an array, got list'
        )
        with pytest.raises(ValueError, match=message):
            init(key(), initial=wrong)
        for dtype in ("float64", "float16", "int8", "bool"):
            given = {"dense_0": {"bias": np.ones(2, dtype)}}
            assert init(key(), initial=given).params["dense_0"]["bias"].dtype == "float32"

    def test_what_does_not_fit_is_listed_together(self):
        init = nn.build(x() | nn.dense(2) | nn.dense(2)).init
        wrong = {"dense_0": {"kernel": np.ones((2, 2))}, "dense_2": {"bias": np.ones(2)}}
        message = (
            r'2 of 2 initial leaves do not fit:\n  "dense_0/kernel": dense "dense_0" \(.*:\d+\) '
            r'needs \(3, 2\), got \(2, 2\)\n  "dense_2/bias": did you mean "dense_'
        )
        with pytest.raises(ValueError, match=message):
            init(key(), initial=wrong)
        with pytest.raises(TypeError, match="init: initial must be a ModelState or nested dicts, got int"):
            init(key(), initial=3)
