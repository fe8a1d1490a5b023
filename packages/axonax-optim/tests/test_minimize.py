"""`minimize` against closed forms, SciPy and scikit-learn; its compilations, its refusals."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
import scipy.optimize
from sklearn.datasets import load_breast_cancer
from sklearn.linear_model import LogisticRegression
from sklearn.preprocessing import scale

from axonax import optim

RATES = {
    "adabelief": 0.1,
    "adagrad": 1.0,
    "adam": 0.1,
    "adamw": 0.1,
    "fromage": 0.005,
    "lamb": 0.02,
    "lbfgs": None,
    "noisy_sgd": 0.1,
    "radam": 0.1,
    "rmsprop": 0.003,
    "sgd": 0.1,
    "yogi": 0.3,
}
# Steps that follow a norm end in a small circle about the minimum, noise in a cloud.
BOUNDS = {"fromage": 0.05, "lamb": 0.05, "noisy_sgd": 0.1}


def rosenbrock(x):
    return jnp.sum(100 * (x[1:] - x[:-1] ** 2) ** 2 + (1 - x[:-1]) ** 2)


def quadratic(x, center, weight):
    return jnp.sum(weight * (x - center) ** 2) / 2


def make(name):
    return name if RATES[name] is None else getattr(optim, name)(RATES[name])


@pytest.mark.parametrize("name", RATES)
def test_quadratic(name, minimize):
    center, weight = jnp.array([1.0, -2.0, 0.5]), jnp.array([1.0, 2.0, 4.0])
    result = minimize(
        quadratic, jnp.full(3, 0.1), make(name), args=(center, weight), max_steps=2000, tolerance=1e-5
    )
    np.testing.assert_allclose(result.x, center, atol=BOUNDS.get(name, 1e-4))
    assert result.converged == (name not in BOUNDS)


def test_rosenbrock_with_lbfgs_reaches_the_minimum(minimize):
    result = minimize(rosenbrock, jnp.zeros(2), "lbfgs", max_steps=200, tolerance=1e-8)
    np.testing.assert_allclose(result.x, [1.0, 1.0], atol=1e-6)
    assert result.converged
    assert int(result.steps) < 40


def test_lbfgs_in_float64_agrees_with_scipy(minimize):
    x0 = np.linspace(-1.0, 0.5, 10)
    with jax.enable_x64(True):
        ours = minimize(rosenbrock, x0, "lbfgs", tolerance=1e-9)
        assert ours.x.dtype == jnp.float64
        assert ours.converged
        gradient = jax.jit(jax.grad(rosenbrock))(ours.x)
        np.testing.assert_allclose(ours.gradient_norm, np.linalg.norm(gradient), rtol=1e-6)
    theirs = scipy.optimize.minimize(
        scipy.optimize.rosen, x0, jac=scipy.optimize.rosen_der, method="BFGS", options={"gtol": 1e-9}
    )
    np.testing.assert_allclose(ours.x, theirs.x, atol=1e-7)
    assert float(ours.value) <= theirs.fun + 1e-12


def test_adam_descends_rosenbrock(minimize):
    result = minimize(rosenbrock, jnp.zeros(2), optim.adam(0.02), max_steps=5000, tolerance=1e-4)
    np.testing.assert_allclose(result.x, [1.0, 1.0], atol=1e-3)


def test_logistic_regression_agrees_with_scikit_learn(minimize):
    inputs, labels = load_breast_cancer(return_X_y=True)
    inputs = scale(inputs)

    def objective(params, inputs, labels):
        logits = inputs @ params["kernel"] + params["bias"]
        loss = jnp.sum(optax.sigmoid_binary_cross_entropy(logits, labels))
        return loss + jnp.sum(params["kernel"] ** 2) / 2

    with jax.enable_x64(True):
        start = {"kernel": jnp.zeros(inputs.shape[1]), "bias": jnp.zeros(())}
        result = minimize(objective, start, "lbfgs", args=(inputs, labels), tolerance=1e-6)
        assert result.converged
    sklearn = LogisticRegression(solver="newton-cholesky", tol=1e-12).fit(inputs, labels)
    np.testing.assert_allclose(result.x["kernel"], sklearn.coef_[0], atol=1e-6)
    np.testing.assert_allclose(result.x["bias"], sklearn.intercept_[0], atol=1e-6)


def test_many_starts_under_vmap_agree_with_each_alone(quick):
    starts = np.random.default_rng(0).normal(size=(4, 2)).astype(np.float32)

    def solve(start):
        return optim.minimize(rosenbrock, start, "lbfgs", tolerance=1e-3)

    together, each = quick(jax.vmap(solve))(starts), quick(solve)
    assert together.converged.tolist() == [True] * 4
    assert [reason[:9] for reason in together.reason] == ["converged"] * 4
    for index, start in enumerate(starts):
        alone = each(start)
        np.testing.assert_allclose(together.x[index], alone.x, atol=1e-2)
        theirs = scipy.optimize.fmin_bfgs(scipy.optimize.rosen, np.asarray(start, np.float64), disp=0)
        np.testing.assert_allclose(alone.x, theirs, atol=1e-2)


def test_under_jit_the_reason_is_known_after_the_run():
    reasons = []

    @jax.jit
    def solve(x0):
        result = optim.minimize(rosenbrock, x0, "lbfgs", tolerance=1e-3)
        reasons.append((result.reason, isinstance(result.converged, jax.core.Tracer)))
        return result

    assert solve(jnp.zeros(2)).reason == "converged: the gradient norm is within its tolerance"
    assert reasons == [("not known while tracing", True)]


def test_each_reason(minimize):
    def solve(**options):
        return minimize(quadratic, jnp.ones(2), optim.sgd(0.1), args=(0.0, 1.0), **options)

    def only(**tolerance):
        return optim.Tolerance(**{"gradient": None, **tolerance})

    assert solve(tolerance=1e-3).reason.startswith("converged: the gradient norm")
    assert solve(tolerance=only(value=1e-3)).reason.startswith("converged: the value changed")
    assert solve(tolerance=only(step=1e-3)).reason.startswith("converged: the step")
    limited = solve(max_steps=3)
    assert (limited.reason, limited.converged, int(limited.steps)) == ("max_steps reached", False, 3)
    assert int(solve(max_steps=0).steps) == 0
    arrived = minimize(quadratic, jnp.zeros(2), args=(0.0, 1.0))
    assert (arrived.converged, int(arrived.steps)) == (True, 0)


def test_it_ends_at_the_last_finite_point(minimize):
    result = minimize(lambda x: x, 1.0, optim.sgd(1e38), history=True, max_steps=9)
    assert result.reason.startswith("not finite")
    assert not result.converged
    assert (float(result.x), int(result.steps)) == (pytest.approx(-3e38), 3)
    assert result.history["value"].tolist()[3:] == [float(result.x)] * 7


def test_a_first_step_out_of_all_numbers_is_no_fault_of_the_start(minimize):
    result = minimize(lambda x: x**2, 1.0, optim.sgd(1e38))
    assert result.reason.startswith("not finite")
    assert (float(result.x), int(result.steps), int(result.evaluations)) == (1.0, 0, 2)


def test_a_line_search_that_ends_in_rounding_says_so(minimize):
    result = minimize(lambda x: jnp.sum((x - 0.1) ** 2) + 1e4, jnp.ones(3), "lbfgs", tolerance=0.0)
    assert result.reason.startswith(("no progress", "converged"))
    assert int(result.steps) < 100


def test_the_loop_compiles_once_for_an_objective():
    traces = []

    def objective(x, center):
        traces.append(None)
        return jnp.sum((x - center) ** 2)

    counts = []
    for center, rate in ((1.0, 0.1), (2.0, 0.1), (3.0, 0.1)):
        result = optim.minimize(
            objective,
            jnp.zeros(2),
            optim.adam(rate),
            args=(center,),
            max_steps=int(9 * center),
            tolerance=center,
        )
        assert result.x.shape == (2,)
        counts.append(len(traces))
    assert counts[0] == counts[1] == counts[2]


@pytest.mark.parametrize("method", ["lbfgs", optim.adam, lambda: optax.sgd(0.1), optax.sgd(0.1)])
def test_methods_of_every_kind_compile_once(method):
    traces = []

    def objective(x):
        traces.append(None)
        return jnp.sum((x - 1.0) ** 2)

    first, second = (
        optim.minimize(objective, x0, method, max_steps=50) for x0 in (jnp.zeros(2), jnp.ones(2) / 2)
    )
    assert len(traces) < 10
    before = len(traces)
    optim.minimize(objective, first.x, method, max_steps=50)
    assert len(traces) == before
    assert float(second.value) < 0.5


def test_a_plain_optax_transformation_without_extra_arguments(minimize):
    plain = optax.GradientTransformation(*optax.scale(-0.1)[:2])
    result = minimize(quadratic, jnp.ones(2), plain, args=(0.0, 1.0), tolerance=1e-3)
    assert result.converged


def test_an_objective_that_cannot_be_hashed(minimize):
    class Objective:
        __hash__ = None

        def __call__(self, x):
            return jnp.sum(x**2)

    assert minimize(Objective(), jnp.ones(2), optim.sgd(0.1), tolerance=1e-3).converged


def test_a_tree_with_aux_and_history(minimize):
    def objective(params):
        return params["a"] ** 2 + jnp.sum(params["b"] ** 2), {"sum": params["a"] + jnp.sum(params["b"])}

    start = {"a": 1.0, "b": jnp.ones(3, jnp.float32), "c": None}
    result = minimize(objective, start, optim.sgd(0.25), has_aux=True, history=True, max_steps=5)
    assert jax.tree.structure(result.x) == jax.tree.structure(start)
    np.testing.assert_allclose(result.aux["sum"], 4 * 0.5**5, rtol=1e-5)
    np.testing.assert_allclose(result.history["value"], 4 * 0.25 ** np.arange(6), rtol=1e-5)
    np.testing.assert_allclose(result.history["gradient_norm"], 4 * 0.5 ** np.arange(6), rtol=1e-5)


def test_history_ends_with_its_last_entry_repeated(minimize):
    seen = []
    result = minimize(
        quadratic, jnp.ones(1), optim.sgd(1.0), args=(0.0, 1.0), history=True, max_steps=4, callback=None
    )
    np.testing.assert_array_equal(result.history["value"], [0.5, 0.0, 0.0, 0.0, 0.0])
    np.testing.assert_array_equal(result.history["gradient_norm"], [1.0, 0.0, 0.0, 0.0, 0.0])
    rate, told = optim.sgd(0.5), {"history": True, "max_steps": 2, "callback": seen.append}
    optim.minimize(quadratic, jnp.ones(1), rate, args=(0.0, 1.0), **told)
    np.testing.assert_array_equal(seen[0].history["value"], [0.5, 0.125, 0.125])


@pytest.mark.parametrize("dtype", ["float16", "bfloat16"])
def test_half_precision_is_kept(dtype, minimize):
    x0 = jnp.full(3, 100.0, dtype)
    result = minimize(quadratic, x0, optim.adam(1.0), args=(1.0, 1.0), max_steps=300)
    assert result.x.dtype == dtype
    np.testing.assert_allclose(result.x.astype(np.float32), 1.0, atol=0.1)


def test_an_objective_with_a_key_sees_a_new_one_every_step(minimize):
    def objective(x, *, key):
        return jnp.sum((x - jax.random.normal(key, (200,))) ** 2) / 400

    rate = optim.exponential_decay(1.0, 0.9, 10)
    solve = [
        minimize(objective, jnp.ones(()), optim.sgd(rate), key=jax.random.key(n), max_steps=200, history=True)
        for n in (0, 0, 1)
    ]
    assert abs(float(solve[0].x)) < 0.05
    assert float(solve[0].x) == float(solve[1].x) != float(solve[2].x)
    assert len(np.unique(solve[0].history["value"])) == 201


def test_callback_every_n_steps(minimize):
    seen = []
    result = minimize(
        quadratic, jnp.ones(2), optim.sgd(0.1), args=(0.0, 1.0), max_steps=10, callback=seen.append, every=4
    )
    assert [int(each.steps) for each in seen] == [4, 8]  # the last step has its own result
    np.testing.assert_allclose(seen[0].x, 0.9**4, rtol=1e-5)
    assert seen[0].reason == "still running"
    assert int(result.steps) == 10


def test_callbacks_come_in_order_and_are_all_there_at_the_end():
    seen = []
    optim.minimize(
        quadratic,
        jnp.ones(2),
        optim.sgd(0.01),
        args=(0.0, 1.0),
        max_steps=200,
        callback=lambda result: seen.append(int(result.steps)),
    )
    assert seen == list(range(1, 201))


def test_callback_under_vmap_follows_each_start_to_its_end():
    seen = []

    def solve(x0):
        return optim.minimize(
            quadratic, x0, optim.sgd(0.5), args=(0.0, 1.0), tolerance=0.1, callback=seen.append, every=2
        )

    result = jax.block_until_ready(jax.vmap(solve)(jnp.array([1.0, 16.0])))
    jax.effects_barrier()
    assert result.steps.tolist() == [4, 8]
    assert sorted(int(each.steps) for each in seen) == [2, 2, 4, 4, 6, 8]


@pytest.mark.parametrize(
    ("objective", "x0", "options", "message"),
    [
        (lambda x: x, jnp.ones(2), {}, r"objective must return a scalar, got shape \(2,\)"),
        (lambda x: {"a": x}, jnp.ones(()), {}, r"objective must return a scalar, got a dict"),
        (lambda x: (x, x), jnp.ones(()), {}, r"got a tuple; for \(value, aux\) pass has_aux=True"),
        (lambda x: x, jnp.ones(()), {"has_aux": True}, r"must return \(value, aux\), got "),
        (lambda x: (x, x, x), jnp.ones(()), {"has_aux": True}, r"must return \(value, aux\), got tuple"),
        (lambda x: (x**2, "a"), jnp.ones(()), {"has_aux": True}, r"objective must return arrays, got a str"),
        (lambda x: None, jnp.ones(()), {}, r"objective must return a scalar, got a NoneType"),
        (lambda x: jnp.int32(1), jnp.ones(()), {}, r"must return a floating-point number, got int32"),
        (lambda x: x * 1j, jnp.ones(()), {}, r"must return a floating-point number, got complex64"),
        (3, jnp.ones(()), {}, r"objective must be a function, got 3"),
        (jnp.log, -1.0, {}, r"objective must be finite at x0, got nan"),
        (
            lambda x: jnp.sum(jnp.sqrt(x["w"])),
            {"w": jnp.arange(2.0)},
            {},
            r"gradient .* got inf at x0/w\[0\]",
        ),
        (rosenbrock, jnp.array([1.0, jnp.nan]), {}, r"x0 must be finite, got nan at x0\[1\]"),
        (rosenbrock, jnp.ones(2, int), {}, r"x0 must be real floating point, got int32"),
        (rosenbrock, {"n": 1}, {}, r"x0/n must be real floating point, got int32"),
        (rosenbrock, {}, {}, r"x0 has no leaves"),
        (rosenbrock, {"a": 1.0, "b": "c"}, {}, r"x0/b must be real floating point, got a str"),
        (rosenbrock, 1j, {}, r"x0 must be real floating point, got complex64"),
        (rosenbrock, jnp.ones(2), {"args": 2.0}, r"args must be a tuple .* args=\(value,\) .* got a float"),
        (rosenbrock, jnp.ones(2), {"args": jnp.ones(2)}, r"args must be a tuple .*, got an array"),
        (
            rosenbrock,
            jnp.ones(2),
            {"args": (1.0, {"act": "relu"})},
            r"args must hold arrays and numbers, got a str at args/1/act; let the objective close over",
        ),
        (rosenbrock, jnp.ones(2), {"key": 0}, r"key must be one key, such as jax.random.key\(0\), got 0"),
        (
            rosenbrock,
            jnp.ones(2),
            {"key": jax.random.split(jax.random.key(0), 2)},
            r"key must be one key, .* got key<fry>\[2\]",
        ),
        (rosenbrock, jnp.ones(2), {"key": jnp.ones(2)}, r"key must be one key, .* got float32\[2\]"),
        (rosenbrock, jnp.ones(2), {"callback": 3}, r"callback must be a function, got 3"),
        (rosenbrock, jnp.ones(2), {"method": "adamm"}, r'unknown method "adamm": did you mean "adam"'),
        (rosenbrock, jnp.ones(2), {"method": "L-BFGS-B"}, r'unknown method "L-BFGS-B": did you mean "lbfgs"'),
        (
            rosenbrock,
            jnp.ones(2),
            {"method": optax.adam},
            r"method adam must be called with its arguments: .* 'learning_rate'",
        ),
        (rosenbrock, jnp.ones(2), {"method": 3}, r"method must be a name, a factory .*, got 3"),
        (rosenbrock, jnp.ones(2), {"tolerance": -1}, r"tolerance on the gradient must be at least 0, got -1"),
        (rosenbrock, jnp.ones(2), {"tolerance": optim.Tolerance(step=-1)}, r"tolerance on the step must be"),
        (
            rosenbrock,
            jnp.ones(2),
            {"max_steps": -1},
            r"max_steps must be a whole number of at least 0 .*, got -1",
        ),
        (rosenbrock, jnp.ones(2), {"max_steps": 1.5}, r"max_steps must be a whole number"),
        (rosenbrock, jnp.ones(2), {"max_steps": 10**10}, r"max_steps must be .* below 2\*\*31 - 1"),
        (rosenbrock, jnp.ones(2), {"every": 0}, r"every must be a whole number of at least 1, got 0"),
        (rosenbrock, jnp.ones(2), {"max_step": 9}, r'unknown option "max_step": did you mean "max_steps"'),
    ],
)
def test_refusals(objective, x0, options, message):
    with pytest.raises(
        ValueError, match=f"minimize: .*{message}" if "unknown method" not in message else message
    ):
        optim.minimize(objective, x0, **options)
