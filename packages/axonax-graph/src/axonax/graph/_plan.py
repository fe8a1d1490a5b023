"""The nodes of a model in order, named: the form in which it is shown, initialized and run."""

from __future__ import annotations

import re
from collections import Counter
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from axonax.graph._node import Layer, Node


@dataclass(frozen=True, kw_only=True)
class Step:
    """A node with its names.

    ``path`` is that of the layer and of its parameters; ``use`` counts the applications of the layer;
    ``sources`` are the places of the inputs among the steps.
    """

    layer: Layer
    path: str
    use: int
    sources: tuple[int, ...]

    @property
    def name(self) -> str:
        """The name of the node: that of its layer, with the number of the application after the first."""
        return f"{self.path}@{self.use}" if self.use else self.path

    def leaf(self, name: str) -> str:
        """The path of one of the layer's parameters or buffers."""
        return f"{self.path}/{name}"

    def __str__(self) -> str:
        return f'{self.layer.op} "{self.name}" ({self.layer.where})'


@dataclass(frozen=True, kw_only=True)
class Plan:
    """All steps of a model, inputs before what takes them, the output last.

    ``known_inputs`` are names that a dict of inputs may hold: those of the whole that a part is taken from.
    """

    steps: tuple[Step, ...]
    known_inputs: frozenset[str]

    @property
    def inputs(self) -> list[int]:
        """The places of the input steps."""
        return [place for place, step in enumerate(self.steps) if step.layer.op == "input"]


def plan(node: Node, within: Node | None = None) -> Plan:
    """The steps of a model; ``within`` a whole, they keep the names that they have there.

    Raises:
        ValueError: two layers have one name, or the node is not part of the whole.
    """
    nodes = order(node)
    whole = nodes if within is None else order(within)
    paths = _paths(whole)
    uses: Counter[Layer] = Counter()
    numbers = {}
    for each in whole:
        numbers[each] = uses[each.layer]
        uses[each.layer] += 1
    for each in nodes:
        if each not in numbers:
            raise ValueError(f"build: {each!r} is not part of {within!r}, the whole that it is built within")
    places = {each: place for place, each in enumerate(nodes)}
    steps = tuple(
        Step(
            layer=each.layer,
            path=paths[each.layer],
            use=numbers[each],
            sources=tuple(places[parent] for parent in each.parents),
        )
        for each in nodes
    )
    known = frozenset(paths[each.layer] for each in whole if each.layer.op == "input")
    return Plan(steps=steps, known_inputs=known)


def order(node: Node) -> list[Node]:
    """The nodes that lead to ``node``, parents first, itself last; each once, left to right."""
    found: dict[Node, None] = {}
    pending = [(node, False)]  # a stack of its own: a deep model would exhaust Python's
    while pending:
        each, ready = pending.pop()
        if each in found:
            continue
        if ready:
            found[each] = None
        else:
            pending.append((each, True))
            pending.extend((parent, False) for parent in reversed(each.parents))
    return list(found)


def check_name(op: str, name: object) -> None:
    """Refuse a name that could not be a path, or that would read as a pattern or an application.

    Raises:
        ValueError: it is not one or more segments joined by ``/``, without ``*``, ``@`` or quotes.
    """
    if not isinstance(name, str) or not re.fullmatch(r'[^/*@"]+(/[^/*@"]+)*', name):
        raise ValueError(f'{op}: name must be text without * @ " and without empty segments, got {name!r}')


def _paths(nodes: list[Node]) -> dict[Layer, str]:
    """The path of each layer: its own name, else its op and a number in the order of the graph."""
    layers = dict.fromkeys(node.layer for node in nodes)
    taken: dict[str, Layer] = {}
    for layer in layers:
        if layer.name is None:
            continue
        other = taken.setdefault(layer.name, layer)
        if other is not layer:
            places = f"{other.op} ({other.where}) and {layer.op} ({layer.where})"
            raise ValueError(f'two layers are named "{layer.name}": {places}; to share one, call it twice')
    counts: Counter[str] = Counter()
    paths = {}
    for layer in layers:
        path = layer.name
        while path is None or (layer.name is None and path in taken):
            path = f"{layer.op}_{counts[layer.op]}"
            counts[layer.op] += 1
        paths[layer] = path
    return paths
