"""The nodes of a model in order, named: the form in which it is shown, initialized and run."""

from __future__ import annotations

import functools
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from axonax.graph.data._layer import Applied, Layer, Scope, Tied, order


@dataclass(frozen=True, kw_only=True)
class Tie:
    """A parameter of another layer: its path, and what it goes through."""

    path: str
    transform: Callable[[Any], Any]


@dataclass(frozen=True, kw_only=True)
class Step:
    """A node with its names.

    ``path`` is that of the layer and of its parameters; ``use`` counts the applications of the layer;
    ``sources`` are the places of the inputs among the steps, and ``done`` those of the steps whose values
    no later step reads; ``ties`` are the parameters that are another layer's, by name.
    """

    layer: Layer
    path: str
    use: int
    sources: tuple[int, ...]
    named: tuple[str, ...]
    done: tuple[int, ...]
    ties: Mapping[str, Tie]

    @property
    def name(self) -> str:
        """The name of the node: that of its layer, with the number of the application after the first."""
        return f"{self.path}@{self.use}" if self.use else self.path

    def leaf(self, name: str) -> str:
        """The path of one of the layer's parameters or buffers."""
        return f"{self.path}{self.layer.computation.mark}/{name}"

    def __str__(self) -> str:
        return f'{self.layer.op} "{self.name}" ({self.layer.where})'


@dataclass(frozen=True, kw_only=True)
class Plan:
    """All steps of a model, inputs before what takes them, the output last.

    ``known_inputs`` are names that a dict of inputs may hold: those of the whole that a part is taken from.
    """

    steps: tuple[Step, ...]
    known_inputs: frozenset[str]

    @functools.cached_property
    def inputs(self) -> list[int]:
        """The places of the input steps."""
        return [place for place, step in enumerate(self.steps) if step.layer.op == "input"]


def plan(node: Applied, within: Applied | None = None) -> Plan:
    """The steps of a model; ``within`` a whole, they keep the names that they have there.

    Raises:
        ValueError: two layers have one name, or leaves of one path, or the node is not part of the whole.
    """
    nodes = order(node)
    whole = nodes if within is None else order(within)
    named = paths(whole)
    uses: Counter[Layer] = Counter()
    numbers = {}
    for each in whole:
        numbers[each] = uses[each.layer]
        uses[each.layer] += 1
    for each in nodes:
        if each not in numbers:
            raise ValueError(f"build: {each!r} is not part of {within!r}, the whole that it is built within")
    places = {each: place for place, each in enumerate(nodes)}
    last = {parent: place for place, each in enumerate(nodes) for parent in (*each.parents, each)}
    done: list[list[int]] = [[] for _ in nodes]
    for each in nodes[:-1]:
        done[last[each]].append(places[each])
    steps = tuple(
        Step(
            layer=each.layer,
            path=named[each.layer],
            use=numbers[each],
            sources=tuple(places[parent] for parent in each.parents),
            named=each.named,
            done=tuple(done[place]),
            ties=_ties(each.layer, named),
        )
        for place, each in enumerate(nodes)
    )
    _check_leaves(steps)
    known = frozenset(named[each.layer] for each in whole if each.layer.op == "input")
    return Plan(steps=steps, known_inputs=known)


def paths(nodes: list[Applied]) -> dict[Layer, str]:
    """The path of each layer: that of its block, then its name, else its op and a number in their order.

    Raises:
        ValueError: two layers, or two blocks, have one name, or a layer stands both within another one and
            outside of it.
    """
    layers = dict.fromkeys(node.layer for node in nodes)
    _check_within(layers)
    taken: dict[str, Layer | Scope] = {}
    for layer in layers:
        for each in _chain(layer):
            names = [one.name for one in _chain(each)]
            if all(name is not None for name in names):
                _take(taken, "/".join(map(str, names)), each)
    found: dict[Layer | Scope, str] = {}
    counts: Counter[str] = Counter()
    for layer in layers:
        for each in _chain(layer):
            if each not in found:
                prefix = "" if each.scope is None else f"{found[each.scope]}/"
                found[each] = _path(each, prefix, taken, counts)
    return {layer: found[layer] for layer in layers}


def within(layer: Layer) -> Iterator[Layer]:
    """The layers of the models that a layer holds as arguments, at any depth."""
    for value in layer.arguments.values():
        if isinstance(value, Applied):
            for each in order(value):
                yield each.layer
                yield from within(each.layer)


def _check_within(layers: Mapping[Layer, Any]) -> None:
    for layer in layers:
        for inner in within(layer):
            if inner in layers:
                problem = "stands within it and outside of it, and would not share its parameters"
                raise ValueError(f"{layer.op} ({layer.where}): {inner!r} {problem}: make another one")


def _check_leaves(steps: tuple[Step, ...]) -> None:
    """Refuse two layers that keep a leaf under one path, or one of them a leaf below that of the other."""
    owners = {
        step.leaf(name): step
        for step in steps
        for name in (*step.layer.computation.params, *step.layer.computation.buffers)
        if not step.use and name not in step.ties
    }
    for step in steps:
        for name in () if step.use else (*step.layer.computation.params, *step.layer.computation.buffers):
            parts = step.leaf(name).split("/")
            above = ("/".join(parts[:count]) for count in range(2, len(parts) + 1))
            for path in above if name not in step.ties else ():
                if owners.get(path, step).layer is not step.layer:
                    other = owners[path]
                    raise ValueError(
                        f'"{path}" is a leaf of {other}, and would hold one of {step}: rename one'
                    )


def _ties(layer: Layer, named: Mapping[Layer, str]) -> dict[str, Tie]:
    ties = {}
    for name, param in layer.computation.params.items():
        if isinstance(param.initializer, Tied):
            tied = param.initializer
            if tied.layer not in named:
                where = f"{layer.op} ({layer.where})"
                raise ValueError(f"{where}: {name} is tied to {tied.layer!r}, which is not in the model")
            path = f"{named[tied.layer]}{tied.layer.computation.mark}/{tied.name}"
            ties[name] = Tie(path=path, transform=tied.transform)
    return ties


def _path(each: Layer | Scope, prefix: str, taken: dict[str, Layer | Scope], counts: Counter[str]) -> str:
    if each.name is not None:
        return _take(taken, prefix + each.name, each)
    stem = prefix + each.op
    while (path := f"{stem}_{counts[stem]}") in taken:
        counts[stem] += 1
    return _take(taken, path, each)


def _take(taken: dict[str, Layer | Scope], path: str, each: Layer | Scope) -> str:
    other = taken.setdefault(path, each)
    if other is not each:
        places = f"{other.op} ({other.where}) and {each.op} ({each.where})"
        hint = "use that node twice" if each.op == "input" else "call it twice"
        raise ValueError(f'two layers are named "{path}": {places}; to share one, {hint}')
    return path


def _chain(each: Layer | Scope) -> list[Layer | Scope]:
    """A layer or block with the blocks around it, the outermost first."""
    found: list[Layer | Scope] = [each]
    while (scope := found[-1].scope) is not None:
        found.append(scope)
    return found[::-1]
