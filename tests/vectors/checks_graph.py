"""The vectors' models run: all in one program, each result looked at on its own."""

from __future__ import annotations

import contextlib
import functools
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from ops import programs

from axonax import graph as nn
from axonax.tensor import trees
from axonax.tensor.contracts import Model, ModelState
from vectors import adapter, adapter_graph, format, leaves_graph
from vectors.adapter_graph import Built

Case = dict[str, Any]
KEY = 0
EXACT = {"rtol": 1e-5, "atol": 1e-6}
NX: dict[str, Callable[..., Any]] = {
    "nx.add": jnp.add,
    "nx.subtract": jnp.subtract,
    "nx.multiply": jnp.multiply,
    "nx.sin": jnp.sin,
    "nx.transpose": jnp.transpose,
    "nx.reshape": jnp.reshape,
    "nx.concatenate": jnp.concatenate,
    "nx.pad": lambda x, value, widths: jax.lax.pad(x, jnp.asarray(value, x.dtype), widths),
    "nx.as_type": lambda x, dtype: x.astype(format.DTYPES[dtype]),
}
STATIC = ("nx.pad", "nx.reshape", "nx.as_type")
"""Of these only the first argument is an array."""


@dataclass(frozen=True)
class Held:
    """What upstream calls the parameters: a state, and the number of the step that is next."""

    state: ModelState
    step: int = 0


@dataclass(frozen=True)
class Run:
    """A case in the making: its model, the mode, and the values of its variables."""

    case: Case
    built: Built
    model: Model
    free: dict[str, Any]

    def inputs(self, written: Any) -> tuple[Any, ...]:
        """What goes into the model; nothing where upstream has an empty container."""
        found = self.value(written)
        return () if isinstance(found, dict | tuple) and not found else (found,)

    def held(self, written: Any) -> Held:
        """The parameters that a case speaks of."""
        if "call" not in written:
            return self.fresh
        old, _, new = map(self.value, written["call"]["args"])
        return Held(old.state.replace(buffers=new), old.step + 1)

    @functools.cached_property
    def fresh(self) -> Held:
        """A new state; for a relation, which holds for any, none of its leaves is all zeros or ones."""
        given = self.inputs(self.case["input"])
        state = self.model.init(jax.random.key(KEY), *map(specs, given))
        return Held(jax.tree.map(moved, state) if self.case["kind"] == "relation" else state)

    @functools.cached_property
    def leaves(self) -> dict[str, Any]:
        """Its leaves, by upstream's names."""
        return leaves_graph.theirs(self.built, self.fresh.state)

    def predicted(self, held: Held, inputs: tuple[Any, ...]) -> Any:
        """The prediction; with the buffers when training, as upstream has it."""
        train = self.case["mode"] == "train"
        key = jax.random.fold_in(jax.random.key(KEY), held.step) if train else None
        prediction, buffers = self.model.apply(held.state, *inputs, train=train, key=key)
        return {"prediction": prediction, "state": buffers} if train else prediction

    def value(self, written: Any) -> Any:
        """The value of an expression."""
        if isinstance(written, list):
            return [self.value(each) for each in written]
        if not isinstance(written, dict) or format.is_tensor(written):
            return jax.tree.map(jnp.asarray, format.value(written)) if written != {} else {}
        ((kind, held),) = written.items()
        return READERS[kind](self, written, held)

    def called(self, op: str, args: list[Any], kwargs: dict[str, Any]) -> Any:
        """The result of a function of the vectors."""
        if op == "model_state.update":
            return self.held({"call": {"args": args}})
        call = NX.get(op) or adapter.operation(op)
        given = [each if op in STATIC and place else self.value(each) for place, each in enumerate(args)]
        return call(*map(plain, given), **{name: plain(each) for name, each in kwargs.items()})


def _got(run: Run, written: Any, held: Any) -> Any:
    found = run.value(held["of"])
    for step in held["path"]:
        found = found[step]
    return found


def _param(run: Run, written: Any, held: list[str]) -> Any:
    found: Any = run.leaves
    for step in held:
        found = found[step]
    return found


READERS: dict[str, Callable[[Run, Any, Any], Any]] = {
    "var": lambda run, written, held: run.free[held],
    "param": _param,
    "get": _got,
    "call": lambda run, written, held: run.called(held["op"], held["args"], held["kwargs"]),
    "predict": lambda run, written, held: run.predicted(run.value(held["params"]), run.inputs(held["input"])),
    "init_params": lambda run, written, held: run.held(written),
    "empty_state": lambda run, written, held: run.held(written),
    "template": lambda run, written, held: jnp.zeros(held["shape"], format.DTYPES[held["dtype"]]),
    "fn": lambda run, written, held: held,
    "map": lambda run, written, held: {name: run.value(each) for name, each in held.items()},
    "tuple": lambda run, written, held: tuple(run.value(each) for each in held),
}
"""How the parts of an expression are read, by their key."""


def plain(written: Any) -> Any:
    """An option, or the static argument of a function of arrays, with tuples for lists."""
    if isinstance(written, dict) and "tuple" in written:
        return plain(written["tuple"])
    return tuple(map(plain, written)) if isinstance(written, list) else written


def moved(leaf: Any) -> Any:
    """A leaf with something else added to each element."""
    return leaf + 0.1 * jnp.cos(jnp.arange(leaf.size, dtype=leaf.dtype)).reshape(leaf.shape)


def specs(value: Any) -> Any:
    return jax.tree.map(lambda leaf: jax.ShapeDtypeStruct(jnp.shape(leaf), jnp.result_type(leaf)), value)


def running(case: Case, free: dict[str, Any], *, shapes: bool = True) -> Run:
    """A case on these values of its variables."""
    built = adapter_graph.built(case["model"], shapes=shapes)
    return Run(case, built, nn.build(built.node), free)


def variables(case: Case) -> dict[str, np.ndarray]:
    """Random values of the variables of a case, in [0, 1)."""
    random = np.random.default_rng(3)
    return {
        name: random.random(each["shape"]).astype(format.DTYPES[each["dtype"]])
        for name, each in case.get("vars", {}).items()
    }


def initialized(case: Case, free: dict[str, Any], **given: Any) -> Any:
    """The leaves of a new state, by upstream's names."""
    return running(case, free, **given).leaves


def compared(case: Case, free: dict[str, Any], **given: Any) -> Any:
    """What a model gives, and for a relation what it should be equal to (or not)."""
    run = running(case, free, **given)
    found = run.predicted(run.value(case["params"]), run.inputs(case["input"]))
    for step in case.get("output_path", ()):
        found = found[step]
    return found, run.value(case["rhs"]) if "rhs" in case else ()


PROGRAMS = {"model_init": initialized, "model_output": compared, "relation": compared}


@functools.cache
def stored() -> dict[str, Case]:
    """The cases whose values are computed, by id."""
    return {
        each["id"]: each
        for kind in PROGRAMS
        for each in format.cases().get(f"models/{kind}", ())
        if kind == "relation" or {"value", "values"} & each["expected"].keys()
    }


@functools.cache
def together() -> dict[str, Any]:
    """The results of all these in one program, by id; what fails in it is left out, to run alone."""
    cases = stored()

    @programs.quick
    def every(given: dict[str, Any]) -> dict[str, Any]:
        found = {}
        for identity, free in given.items():
            with contextlib.suppress(Exception):
                found[identity] = PROGRAMS[cases[identity]["kind"]](cases[identity], free)
        return found

    return every({identity: variables(each) for identity, each in cases.items()})


def result(case: Case, **given: Any) -> Any:
    """What a case gives: out of the one program, or alone where that is asked or it failed there."""
    if not given and case["id"] in stored() and case["id"] in together():
        return together()[case["id"]]
    return programs.quick(functools.partial(PROGRAMS[case["kind"]], case, **given))(variables(case))


def relation(case: Case, **given: Any) -> str:
    left, right = result(case, **given)
    if "broadcasts" in case.get("note", ""):
        left, right = jnp.broadcast_arrays(left, right)
    wrong = format.alike(left, right, EXACT)
    if case["relation"] == "not_equal":
        return "" if wrong else "equal"
    return wrong


def model_output(case: Case, **given: Any) -> str:
    expected = case["expected"]
    if "value" in expected:
        found, _ = result(case, **given)
    else:
        found, _ = jax.eval_shape(lambda free: compared(case, free, **given), variables(case))
    wrong = []
    if "shape" in expected and list(found.shape) != expected["shape"]:
        wrong.append(f"shape {found.shape}")
    if "dtype" in expected and found.dtype != jnp.dtype(format.DTYPES[expected["dtype"]]):
        wrong.append(f"dtype {found.dtype}")
    if "value" in expected:
        wrong.append(format.alike(found, format.value(expected["value"]), EXACT))
    return "; ".join(filter(None, wrong))


def model_init(case: Case, **given: Any) -> str:
    expected = case["expected"]
    tree = jax.eval_shape(lambda: initialized(case, variables(case), **given))
    leaves = trees.flatten(tree)
    wrong = [unlike(path, leaves.get(path), need) for path, need in expected.get("params", {}).items()]
    for path, names in expected.get("names", {}).items():
        found = sorted(tree.get(path.partition("/")[2], {}))
        wrong.append("" if found == names else f"{path}: {found} for {names}")
    wrong += [f"{path} is there" for path in expected.get("absent", ()) if within(path, leaves)]
    wrong += [f"{path} is missing" for path in expected.get("values", ()) if path not in leaves]
    wrong += [f"not empty: {sorted(leaves)}"] if expected.get("empty") and leaves else []
    if "values" in expected and not any(wrong):
        held = trees.flatten(result(case, **given))
        for path, written in expected["values"].items():
            wrong.append(format.alike(held[path], format.value(written), EXACT))
    return "; ".join(filter(None, wrong))


def unlike(path: str, found: Any, need: dict[str, Any]) -> str:
    """What is wrong with the shape and the dtype of a leaf, of which either may be given."""
    if found is None:
        return f"{path} is missing"
    same = list(found.shape) == need.get("shape", list(found.shape))
    same &= found.dtype == jnp.dtype(format.DTYPES[need["dtype"]]) if "dtype" in need else True
    return "" if same else f"{path}: {found} for {need}"


def within(path: str, leaves: dict[str, Any]) -> bool:
    return any(each == path or each.startswith(f"{path}/") for each in leaves)


def node_shapes(case: Case) -> str:
    built = adapter_graph.built(case["model"])
    template = case["input"]["template"]
    spec = jax.ShapeDtypeStruct(tuple(template["shape"]), format.DTYPES[template["dtype"]])
    model = nn.build(nn.container(built.nodes))

    def run(x: Any) -> Any:
        return model.apply(model.init(jax.random.key(KEY), spec), x)[0]

    found = {name: list(each.shape) for name, each in jax.eval_shape(run, spec).items()}
    wrong = {name: found[name] for name, need in case["expected"]["shapes"].items() if found[name] != need}
    return str(wrong) if wrong else ""


CHECKS: dict[str, Callable[..., str]] = {
    "relation": relation,
    "model_init": model_init,
    "model_output": model_output,
    "node_shapes": node_shapes,
}
