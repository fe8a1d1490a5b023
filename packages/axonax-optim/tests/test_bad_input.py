"""Every refusal, by its message: of every option of every optimizer, update and schedule."""

import inspect

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from axonax import optim

PARAMS = {"w": jnp.ones((2, 2))}
REQUIRED = {
    **{"init_value": 0.1, "peak_value": 0.1, "factor": 1.0, "learning_rate": 0.1, "decay": 0.5},
    **{"steps": 5, "decay_steps": 5, "stable_steps": 3, "warmup_steps": 2, "boundaries": [3]},
    **{
        "factors": {3: 0.5},
        "schedules": [0.1, 0.2],
        "schedule": optim.constant(0.1),
        "inner": optim.sgd(0.1),
    },
}
NO_NUMBER = ["x", True, 1j, [1.0], np.ones(2), jnp.ones((1,))]
NUMBERS = [float("nan"), float("inf"), -1.0, -1e-30]
SHARES = ("b1", "b2", "b3", "adam_b1", "adam_b2", "momentum", "rise")
BAD = {
    "Number | Schedule": [*NO_NUMBER, *NUMBERS, None],
    "Number | Schedule | None": [*NO_NUMBER, *NUMBERS],
    "Schedule": [*NO_NUMBER, *NUMBERS, None, 0.1],
    "float": [*NO_NUMBER, *NUMBERS, None],
    "int": [*NO_NUMBER, *NUMBERS, None, 1.5],
    "int | None": [*NO_NUMBER, *NUMBERS, 1.5],
    "bool": ["x", 1, None, np.ones(2)],
    "jax.Array | int": ["x", 1.5, None, np.ones(2), True, np.int64(1), jnp.ones(2)],
    "mask": ["x", 1.5, {"kernel": 1}],
    "Sequence[Number | Schedule]": [0.1, None, "x"],
    "Sequence[int]": [3, None, "x"],
    "Mapping[int, float]": [[1.0], None, 0.5],
    "Callable[[Any], Any]": [0.1, None, "sgd"],
}
ELSEWHERE = ("chain", "compose", "masked", "stateful", "stateless", "groups")


def factories():
    """All that makes a transformation or a schedule."""
    for name, each in vars(optim).items():
        if inspect.isfunction(each) and name not in ELSEWHERE:
            signature = inspect.signature(each)
            if signature.return_annotation in ("optax.GradientTransformationExtraArgs", "Schedule"):
                yield name, signature.parameters


def refused():
    for name, parameters in factories():
        given = {key: REQUIRED[key] for key, each in parameters.items() if each.default is each.empty}
        for key, each in parameters.items():
            kind = "mask" if key.endswith("mask") else each.annotation
            if kind in BAD:
                yield pytest.param(name, given, key, BAD[kind] + [1.0] * (key in SHARES), id=f"{name}-{key}")


@pytest.mark.parametrize(("name", "given", "key", "values"), list(refused()))
def test_every_option_is_checked(name, given, key, values):
    # The inner optimizer speaks of its rate, and a factor lives in the state as the scale.
    owner, said = {"sam": "(sam|sgd)"}.get(name, name), {"factor": "(factor|scale)"}.get(key, key.rstrip("s"))
    for value in values:
        if key == "factor" and isinstance(value, float) and value < 0:
            continue
        with pytest.raises(ValueError, match=rf"^{owner}: .*{said}.* got ") as caught:
            getattr(optim, name)(**{**given, key: value})
        assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("build", "message"),
    [
        (lambda: optim.adam(-0.1), r"adam: learning_rate must be at least 0, got -0.1"),
        (lambda: optim.adam(float("nan")), r"adam: learning_rate must be at least 0, got nan"),
        (lambda: optim.sgd(float("inf")), r"sgd: learning_rate must be at least 0, got inf"),
        (lambda: optim.adamw(b1=1.0), r"adamw: b1 must be in \[0, 1\), got 1"),
        (lambda: optim.lamb(b2=-0.1), r"lamb: b2 must be in \[0, 1\), got -0.1"),
        (lambda: optim.rmsprop(decay=1.5), r"rmsprop: decay must be in \[0, 1\), got 1.5"),
        (lambda: optim.sgd(momentum=1), r"sgd: momentum must be in \[0, 1\), got 1"),
        (lambda: optim.yogi(eps=-1e-8), r"yogi: eps must be at least 0, got -1e-08"),
        (lambda: optim.adamw(weight_decay=-1), r"adamw: weight_decay must be at least 0, got -1"),
        (
            lambda: optim.adagrad(initial_accumulator_value=-1),
            r"adagrad: initial_accumulator_value must be at",
        ),
        (lambda: optim.rmsprop(initial_scale=-1), r"rmsprop: initial_scale must be at least 0, got -1"),
        (
            lambda: optim.yogi(initial_accumulator_value="x"),
            r"yogi: initial_accumulator_value must be a number",
        ),
        (lambda: optim.adam("cosine"), r"learning_rate must be a number or a schedule .*, got 'cosine'"),
        (lambda: optim.adam(True), r"learning_rate must be a number or a schedule .*, got True"),
        (lambda: optim.adam(1j), r"learning_rate must be a number or a schedule"),
        (lambda: optim.adam(jnp.ones(2)), r"adam: learning_rate must be a scalar, got shape \(2,\)"),
        (
            lambda: optim.adamw(weight_deca=0.1),
            r'adamw: unknown option "weight_deca": did you mean "weight_decay"',
        ),
        (lambda: optim.adam(lr=0.1), r'adam: unknown option "lr": known are "b1", "b2"'),
        (lambda: optim.prodigy(estim_lr0=0), r"prodigy: estim_lr0 must be above 0, got 0"),
        (lambda: optim.sgd(nesterov=True), r"sgd: nesterov=True needs momentum"),
        (lambda: optim.rmsprop(nesterov=True), r"rmsprop: nesterov=True needs momentum"),
        (lambda: optim.constant(-1), r"constant: init_value must be at least 0, got -1"),
        (
            lambda: optim.cosine_decay(0.1, 0),
            r"cosine_decay: decay_steps must be a whole number of at least 1",
        ),
        (lambda: optim.cosine_decay(0.1, 1.5), r"decay_steps must be a whole number of at least 1, got 1.5"),
        (lambda: optim.linear_decay(0.1, warmup=5, steps=5), r"steps must exceed warmup = 5, got 5"),
        (lambda: optim.exponential_decay(0.1, 0.0), r"exponential_decay: decay_rate must be above 0, got 0"),
        (lambda: optim.warmup("up", 3), r"warmup: schedule must be a number or a schedule"),
        (lambda: optim.warmup(0.1, -1), r"warmup: steps must be a whole number of at least 0, got -1"),
    ],
)
def test_options(build, message):
    with pytest.raises(ValueError, match=message):
        build()


def test_a_schedule_that_returns_a_vector():
    with pytest.raises(
        ValueError, match=r"adam: the schedule of learning_rate must return a scalar, got shape"
    ):
        optim.adam(lambda step: jnp.ones(3)).init(jnp.ones(2))


def test_integer_parameters():
    with pytest.raises(
        ValueError, match=r'adam: parameter "a/count" has dtype int32, and only floating-point'
    ):
        optim.adam().init({"a": {"count": jnp.ones(2, jnp.int32)}})


def test_a_state_of_other_leaves():
    optimizer = optim.adam()
    state = optimizer.init({"a": jnp.ones(2)})
    with pytest.raises(
        ValueError,
        match=r"belongs to other parameters than the gradients(.|\n)*moments/mu/b: only in the first",
    ):
        optimizer.update({"a": jnp.ones(2), "b": jnp.ones(2)}, state)


@pytest.mark.parametrize("shape", [(3,), (1,), (2, 2), ()])
def test_a_state_of_other_shapes(shape):
    optimizer = optim.adamw()
    state = optimizer.init({"a": jnp.ones(2)})
    gradients = {"a": jnp.ones(shape)}
    with pytest.raises(
        ValueError, match=r"moments/nu/a: float32\[.*\] in the first, float32\[2\] in the second"
    ):
        optimizer.update(gradients, state, gradients)


def test_a_state_of_another_optimizer():
    state = optim.sgd(momentum=0.9).init({"w": jnp.ones(2)})
    with pytest.raises(
        ValueError,
        match=r"adam: this state belongs to another optimizer: it is the LiveState of sgd .*'momentum'(.|\n)*"
        r"inner/moments/mu/w: only in the first(.|\n)*inner/trace/trace/w: only in the second",
    ):
        optim.adam().update({"w": jnp.ones(2)}, state)
    with pytest.raises(ValueError, match=r"this state belongs to another optimizer: it is dict with"):
        optim.adam().update(jnp.ones(2), {})


@pytest.mark.parametrize("maker", ["nadam", "adabelief", "yogi", "lamb"])
def test_a_state_that_would_fit_is_refused_with_both_names(maker):
    params = {"w": jnp.ones(2)}
    adam, other = optim.adam(), getattr(optim, maker)()
    with pytest.raises(ValueError, match=rf"^{maker}: .* it is the LiveState of adam with"):
        other.update(params, adam.init(params), params)
    with pytest.raises(ValueError, match=rf"^adam: .* it is the LiveState of {maker} with"):
        jax.jit(adam.update)(params, other.init(params), params)


@pytest.mark.parametrize(
    ("wrapper", "message"),
    [
        (lambda inner: optim.accumulate(inner, 2), "AccumulateState is required, got the LiveState of adam"),
        (optim.skip_nonfinite, "SkipState is required, got the LiveState of adam"),
        (lambda inner: optim.chain(inner, inner), "for 2 parts is required, got the LiveState of adam"),
        (lambda inner: optim.groups({"**": inner}), "is required, got the LiveState of adam"),
        (optim.lookahead, "lookahead: .* it is the LiveState of adam"),
        (lambda inner: optim.masked(inner, "**"), "sgd: .* it is the LiveState of adam"),
    ],
)
def test_the_state_of_what_is_not_wrapped(wrapper, message):
    state = optim.adam().init(PARAMS)
    with pytest.raises(ValueError, match=message):
        wrapper(optim.sgd()).update(PARAMS, state, PARAMS)


def numbers():
    """Every live number of every factory, by what it may not be."""
    for name, parameters in factories():
        given = {key: REQUIRED[key] for key, each in parameters.items() if each.default is each.empty}
        if any("Number" in str(each.annotation) for each in parameters.values()) and "inner" not in given:
            yield name, given


@pytest.mark.parametrize(("name", "given"), list(numbers()))
def test_what_may_not_be_built_in_may_not_be_set(name, given):
    made = getattr(optim, name)(**given)
    if not hasattr(made, "init"):
        return
    state = made.init(PARAMS)
    for key, value in optim.hyperparams(state).items():
        for number in (-1.0, 1.0, 0.0, 1e30, float("inf")):
            option = {"scale": "factor"}.get(key, key)
            results = []
            for act in (
                lambda option=option, number=number: getattr(optim, name)(**{**given, option: number}),
                lambda key=key, number=number: optim.with_hyperparams(state, **{key: number}),
            ):
                try:
                    act()
                    results.append("taken")
                except ValueError as error:
                    results.append(str(error).partition(" must be ")[2])
            assert results[0] == results[1], (key, number, value)


def test_gradients_that_do_not_fit_the_parameters():
    optimizer = optim.adamw()
    params = {"a": jnp.ones(2)}
    with pytest.raises(
        ValueError, match=r"gradients \(first\) do not fit the parameters(.|\n)*b: only in the first"
    ):
        optimizer.update({"a": jnp.ones(2), "b": jnp.ones(2)}, optimizer.init(params), params)


def test_decay_needs_the_parameters():
    optimizer = optim.adamw()
    with pytest.raises(ValueError, match=r"not passing `params`"):
        optimizer.update(jnp.ones(2), optimizer.init(jnp.ones(2)))


def test_an_unknown_hyperparameter():
    state = optim.adam().init(jnp.ones(2))
    with pytest.raises(
        ValueError, match=r'unknown hyperparameter "learning_rat": did you mean "learning_rate"'
    ):
        optim.with_hyperparams(state, learning_rat=0.1)
