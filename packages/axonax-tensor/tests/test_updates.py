"""Updates of parameters, and hyperparameters that are read and set while training."""

import math
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from axonax.tensor import updates
from axonax.tensor.updates import GroupsState, LiveState, Range, Signature


class InjectHyperparamsState(NamedTuple):
    """As ``optax.inject_hyperparams`` makes it."""

    count: Any
    hyperparams: dict[str, Any]
    inner_state: Any


RANGES = {"learning_rate": Range(0, math.inf), "scale": Range(-math.inf, math.inf)}


def live(**values):
    return LiveState(
        step=jnp.zeros((), jnp.int32),
        numbers=jnp.stack([jnp.array(list(values.values()), jnp.float32), jnp.zeros(len(values))]),
        inner={"moment": jnp.zeros(3)},
        signature=Signature("test", tuple(values), tuple(RANGES.get(name, Range(0, 1)) for name in values)),
    )


INJECTED = InjectHyperparamsState(
    jnp.zeros((), jnp.int32), {"learning_rate": jnp.float32(0.1), "b1": 0.9}, ()
)


def numbers(found):
    return {name: round(float(value), 6) for name, value in found.items()}


def test_apply_updates_keeps_dtypes_and_skips_none():
    params = {"w": jnp.ones(2, jnp.bfloat16), "n": np.ones(2, np.float16), "still": jnp.ones(1)}
    new = updates.apply_updates(
        params, {"w": jnp.full(2, 1e-3), "n": jnp.ones(2, jnp.bfloat16), "still": None}
    )
    assert {name: leaf.dtype.name for name, leaf in new.items()} == {
        "w": "bfloat16",
        "n": "float16",
        "still": "float32",
    }
    np.testing.assert_array_equal(new["n"], 2)
    np.testing.assert_array_equal(new["still"], 1)
    exact = updates.apply_updates(jnp.asarray(256.0, jnp.bfloat16), jnp.float32(1.5))
    assert exact == jnp.asarray(257.5, jnp.float32).astype(jnp.bfloat16)


def test_apply_updates_leaves_none_where_there_is_no_parameter():
    new = updates.apply_updates({"w": jnp.ones(2), "gone": None}, {"w": jnp.ones(2), "gone": jnp.ones(3)})
    assert new["gone"] is None
    np.testing.assert_array_equal(new["w"], 2)
    assert updates.apply_updates({"gone": None}, {"gone": None}) == {"gone": None}


def test_hyperparams_are_found_wherever_they_stand():
    assert numbers(updates.hyperparams(live(learning_rate=0.1, b1=0.9))) == {"learning_rate": 0.1, "b1": 0.9}
    assert numbers(updates.hyperparams((INJECTED, {"inner": ()}))) == {"learning_rate": 0.1, "b1": 0.9}
    assert updates.hyperparams(({"moment": jnp.zeros(2)}, ())) == {}
    chain = (live(decay=0.1), live(decay=0.2, eps=1.0), live(decay=0.3))
    assert numbers(updates.hyperparams(chain)) == {"decay": 0.1, "decay_1": 0.2, "eps": 1.0, "decay_2": 0.3}


def test_a_set_value_overrides_until_none():
    state = updates.with_hyperparams(live(learning_rate=0.1, b1=0.9), learning_rate=0.5)
    assert numbers(updates.hyperparams(state)) == {"learning_rate": 0.5, "b1": 0.9}
    assert state.is_set.tolist() == [True, False]
    ended = updates.with_hyperparams(state, learning_rate=None)
    assert not ended.is_set.any()
    assert numbers(updates.hyperparams(ended)) == {"learning_rate": 0.5, "b1": 0.9}


def test_numbered_names_are_set_alone():
    chain = updates.with_hyperparams((live(decay=0.1), live(decay=0.2)), decay_1=0.7)
    assert numbers(updates.hyperparams(chain)) == {"decay": 0.1, "decay_1": 0.7}


def test_optax_states_are_set_in_their_dtype():
    state = updates.with_hyperparams(INJECTED, learning_rate=1)
    assert isinstance(state, InjectHyperparamsState)
    assert state.hyperparams["learning_rate"].dtype == jnp.float32
    assert numbers(updates.hyperparams(state)) == {"learning_rate": 1.0, "b1": 0.9}


def test_setting_never_compiles_again():
    traced = []

    @jax.jit
    def step(state):
        traced.append(1)
        return updates.hyperparams(state)["learning_rate"] * 2

    state = live(learning_rate=0.1)
    for value in (0.25, 3, None, np.float64(0.5), jnp.float32(2)):
        state = updates.with_hyperparams(state, learning_rate=value)
        step(state)
    assert len(traced) == 1
    assert step(state) == 4


def test_setting_works_inside_jit_vmap_and_scan():
    state = live(learning_rate=0.1, b1=0.9)
    rates = jnp.array([0.2, 0.3])
    set_rate = jax.jit(lambda rate: updates.with_hyperparams(state, learning_rate=rate))
    np.testing.assert_allclose(updates.hyperparams(set_rate(0.7))["learning_rate"], 0.7)
    several = jax.vmap(set_rate)(rates)
    np.testing.assert_allclose(updates.hyperparams(several)["learning_rate"], rates)
    np.testing.assert_allclose(updates.hyperparams(several)["b1"], [0.9, 0.9])
    _, seen = jax.lax.scan(
        lambda carry, rate: (updates.with_hyperparams(carry, learning_rate=rate), carry.values[0]),
        state,
        rates,
    )
    np.testing.assert_allclose(seen, [0.1, 0.2])


def test_groups_are_read_and_set_by_label():
    state = GroupsState(
        groups={"**/bias": live(learning_rate=0.1), "default": live(learning_rate=0.2, b1=0.9)}
    )
    found = updates.hyperparams(state)
    assert {label: numbers(group) for label, group in found.items()} == {
        "**/bias": {"learning_rate": 0.1},
        "default": {"learning_rate": 0.2, "b1": 0.9},
    }
    everywhere = updates.hyperparams(updates.with_hyperparams((state,), learning_rate=0.5))
    assert [round(float(group["learning_rate"]), 6) for group in everywhere.values()] == [0.5, 0.5]
    one = updates.hyperparams(updates.with_hyperparams(state, **{"**/bias": {"learning_rate": 0.5}}))
    assert [round(float(group["learning_rate"]), 6) for group in one.values()] == [0.5, 0.2]
    mixed = updates.with_hyperparams(state, b1=0.5, **{"default": {"learning_rate": 0.7}})
    assert numbers(updates.hyperparams(mixed)["default"]) == {"learning_rate": 0.7, "b1": 0.5}


def test_labels_that_stand_twice_are_numbered():
    chain = tuple(GroupsState(groups={"default": live(learning_rate=rate)}) for rate in (0.1, 0.2))
    one = updates.hyperparams(updates.with_hyperparams(chain, default_1={"learning_rate": 0.5}))
    assert {label: numbers(group)["learning_rate"] for label, group in one.items()} == {
        "default": 0.1,
        "default_1": 0.5,
    }


def test_copies_of_a_state_are_set_one_by_one_or_all_alike():
    copies = jax.tree.map(lambda leaf: jnp.stack([leaf, leaf]), live(learning_rate=0.1, b1=0.9))
    several = updates.with_hyperparams(copies, learning_rate=jnp.array([0.2, 0.3]), b1=0.5)
    np.testing.assert_allclose(several.values, [[0.2, 0.5], [0.3, 0.5]])
    assert several.is_set.all()
    ended = updates.with_hyperparams(several, learning_rate=None)
    assert ended.is_set.tolist() == [[False, True], [False, True]]


@pytest.mark.parametrize(
    ("state", "values", "message"),
    [
        (live(b1=0.9), {"b1": "big"}, "with_hyperparams: b1 must be a number or None, got 'big'"),
        (live(b1=0.9), {"b1": float("nan")}, "with_hyperparams: b1 must be a number or None, got nan"),
        (live(b1=0.9), {"b1": jnp.ones(2)}, r"with_hyperparams: b1 must have shape \(\), got \(2,\)"),
        (INJECTED, {"b1": None}, "b1 of optax.inject_hyperparams must be a number, got None"),
        (
            GroupsState(groups={"**/bias": live(b1=0.9)}),
            {"**/bias": 0.5},
            r'with_hyperparams: the group "\*\*/bias" takes a dict of hyperparameters, got 0.5',
        ),
    ],
)
def test_values_that_are_none(state, values, message):
    with pytest.raises(ValueError, match=message):
        updates.with_hyperparams(state, **values)


@pytest.mark.parametrize(
    ("allowed", "text", "good", "bad"),
    [
        (Range(0, math.inf), "at least 0", [0, 1e30], [-1e-30, math.inf, math.nan]),
        (Range(0, math.inf, open=True), "above 0", [1e-30], [0, -1, math.inf, math.nan]),
        (Range(0, 1), r"in \[0, 1\)", [0, 0.5], [1, 1 - 1e-9, -1e-30, math.nan]),
        (Range(0, 1, open=True), r"in \(0, 1\)", [1e-30, 0.5], [0, 1, math.nan]),
        (Range(-math.inf, math.inf), "finite", [-1e30, 0, 1e30], [math.inf, -math.inf, 1e39, math.nan]),
    ],
)
def test_a_value_out_of_its_range_is_refused_when_it_is_set(allowed, text, good, bad):
    state = live(number=0.5)
    state = state._replace(signature=Signature("adam", ("number",), (allowed,)))
    for value in good:
        assert updates.with_hyperparams(state, number=value).values == np.float32(value)
    copies = jax.tree.map(lambda leaf: jnp.stack([leaf, leaf]), state)
    for value in bad:
        message = f"with_hyperparams: number (of adam must be {text}|must be a number or None), got "
        with np.errstate(over="ignore"):
            single = jnp.float32(value)
        for given in (value, np.float64(value), single):
            with pytest.raises(ValueError, match=message):
                updates.with_hyperparams(state, number=given)
            with pytest.raises(ValueError, match=message):
                jax.jit(lambda state, given=given: updates.with_hyperparams(state, number=given))(state)
        with pytest.raises(ValueError, match=message):
            updates.with_hyperparams(copies, number=jnp.stack([jnp.float32(good[0]), single]))
        traced = jax.jit(lambda value: updates.with_hyperparams(state, number=value))(single)
        np.testing.assert_array_equal(traced.values, [single])


class Asking(NamedTuple):
    """A state that asks for two extra arguments."""

    inner: Any

    @property
    def extra_arguments(self):
        return ("weight", "flush")


def test_states_ask_for_extra_arguments_from_anywhere():
    assert updates.extra_arguments(({"a": Asking(())}, [Asking(jnp.ones(2))])) == ("weight", "flush")
    assert updates.extra_arguments(GroupsState(groups={"default": live(b1=0.9)})) == ()


@pytest.mark.parametrize(
    "state", [live(learning_rate=0.1), INJECTED, GroupsState(groups={"default": live(learning_rate=0.1)})]
)
def test_an_unknown_name_lists_near_matches(state):
    with pytest.raises(
        ValueError, match='unknown hyperparameter "learning_rat": did you mean "learning_rate"'
    ):
        updates.with_hyperparams(state, learning_rat=1)


def test_states_inside_states_are_read_and_set():
    outer = live(rate=0.5)._replace(inner={"fast": live(learning_rate=0.1, rate=0.2)})
    assert numbers(updates.hyperparams(outer)) == {"rate": 0.5, "learning_rate": 0.1, "rate_1": 0.2}
    changed = updates.with_hyperparams(outer, learning_rate=0.7, rate_1=0.3)
    assert numbers(updates.hyperparams(changed)) == {"rate": 0.5, "learning_rate": 0.7, "rate_1": 0.3}


def test_a_state_without_numbers_has_none():
    state = live(learning_rate=0.1)
    bare = LiveState(state.step, None, (), Signature("bare", (), ()))
    assert updates.hyperparams((bare, state)).keys() == {"learning_rate"}
    assert updates.with_hyperparams((bare, state), learning_rate=0.2)[0] == bare


class Average(NamedTuple):
    """A state that has something better to evaluate."""

    mean: Any

    def evaluation_params(self, params):
        return self.mean


class ScheduleFreeState(NamedTuple):
    """With the fields of Optax's."""

    b1: Any
    max_lr: Any
    z: Any


def test_evaluation_params_takes_what_a_state_offers():
    params = {"a": jnp.ones(2, jnp.float16), "b": jnp.ones(2)}
    state = (
        {"moment": jnp.zeros(2)},
        live(decay=0.9)._replace(inner=Average({"a": jnp.full(2, 3.0), "b": None})),
    )
    best = updates.evaluation_params(state, params)
    assert best["a"].dtype == jnp.float16
    np.testing.assert_array_equal(best["a"], [3, 3])
    np.testing.assert_array_equal(best["b"], [1, 1])
    assert updates.evaluation_params((), params) is params


def test_evaluation_params_of_a_schedule_free_state_of_optax():
    state = ScheduleFreeState(b1=0.5, max_lr=0.1, z={"a": jnp.full(2, 2.0), "b": None})
    best = updates.evaluation_params((state,), {"a": jnp.full(2, 3.0), "b": jnp.ones(1)})
    np.testing.assert_allclose(best["a"], [4.0, 4.0])
    np.testing.assert_allclose(best["b"], [1.0])


def test_groups_are_evaluated_each_for_its_own():
    one, two = Average({"a": jnp.zeros(1), "b": None}), Average({"a": None, "b": jnp.full(1, 5.0)})
    best = updates.evaluation_params(GroupsState({"x": one, "y": two}), {"a": jnp.ones(1), "b": jnp.ones(1)})
    assert (float(best["a"][0]), float(best["b"][0])) == (0.0, 5.0)
