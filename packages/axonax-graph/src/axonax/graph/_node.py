"""The model as immutable data: a layer says what to compute, a node applies it to other nodes."""

from __future__ import annotations

import functools
import operator
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import jax

from axonax.graph import _build, _display, _infer, _plan
from axonax.graph._param import Param
from axonax.graph._where import caller
from axonax.tensor.contracts import Model
from axonax.tensor.precision import Policy

Check = Callable[..., str | None]


@dataclass(frozen=True, kw_only=True, eq=False, repr=False)
class Layer:
    """What to compute, with which parameters: a description that makes nodes when called on nodes.

    Calling one layer twice shares its parameters. ``function`` is called as
    ``function(*inputs, **params, **buffers, **options)``, and with ``train=`` or ``key=`` where ``needs``
    lists them; a layer with buffers returns ``(output, {name: new value})``. ``check`` gets the shapes of
    the inputs and returns what is wrong with them, before anything runs.
    """

    op: str
    function: Callable[..., Any]
    params: Mapping[str, Param] = field(default_factory=dict)
    buffers: Mapping[str, Param] = field(default_factory=dict)
    options: Mapping[str, Any] = field(default_factory=dict)
    needs: frozenset[str] = frozenset()
    arity: int | None = 1
    check: Check | None = None
    custom: bool = False
    policy: Policy = field(default_factory=Policy)
    activation: Layer | None = None
    name: str | None = None
    where: str = field(default_factory=caller)

    def __post_init__(self) -> None:
        if self.name is not None:
            _plan.check_name(self.op, self.name)

    def __call__(self, *nodes: Node) -> Node:
        """The node that applies this layer, then its activation.

        Raises:
            TypeError: an argument is not a node, or there are too many or too few of them.
        """
        for each in nodes:
            if not isinstance(each, Node):
                hint = "a layer takes nodes; a model runs on arrays by nn.predict(model, state, ...)"
                raise TypeError(f"{self.op} ({self.where}): {hint}, got {type(each).__name__}")
        if self.arity is not None and len(nodes) != self.arity:
            raise TypeError(f"{self.op} ({self.where}): takes {self.arity} input(s), got {len(nodes)}")
        node = Node(layer=self, parents=nodes)
        return node if self.activation is None else self.activation(node)

    def __repr__(self) -> str:
        return f"<{self.op} layer, {self.where}>"

    def __deepcopy__(self, memo: Any) -> Layer:
        return self


@dataclass(frozen=True, kw_only=True, eq=False, repr=False)
class Node:
    """A layer applied to nodes. Any node is a model: all that leads to it, with its value as the output.

    ``x | layer`` is ``layer(x)``, for any function of a node; ``+ - * / @`` take nodes and constants, an
    index takes part of the value; ``print(node)`` is the table of the model.
    """

    layer: Layer
    parents: tuple[Node, ...]

    # NumPy would make object arrays of nodes, and indexing alone would make list(node) endless.
    __array_ufunc__ = None
    __iter__ = None
    __axonax_node__ = True

    def __or__(self, other: Callable[[Node], Node]) -> Node:
        if not callable(other):
            kind = type(other).__name__
            raise TypeError(f"{self!r}: after | goes a layer or a function of a node, got {kind}")
        result = other(self)
        if not isinstance(result, Node):
            name = getattr(other, "__name__", repr(other))
            raise TypeError(f"{self!r}: {name} after | must return a node, got {type(result).__name__}")
        return result

    def __add__(self, other: Any) -> Node:
        return _binary("add", operator.add, self, other)

    def __radd__(self, other: Any) -> Node:
        return _binary("add", operator.add, other, self)

    def __sub__(self, other: Any) -> Node:
        return _binary("subtract", operator.sub, self, other)

    def __rsub__(self, other: Any) -> Node:
        return _binary("subtract", operator.sub, other, self)

    def __mul__(self, other: Any) -> Node:
        return _binary("multiply", operator.mul, self, other)

    def __rmul__(self, other: Any) -> Node:
        return _binary("multiply", operator.mul, other, self)

    def __truediv__(self, other: Any) -> Node:
        return _binary("divide", operator.truediv, self, other)

    def __rtruediv__(self, other: Any) -> Node:
        return _binary("divide", operator.truediv, other, self)

    def __matmul__(self, other: Any) -> Node:
        return _binary("matmul", operator.matmul, self, other)

    def __rmatmul__(self, other: Any) -> Node:
        return _binary("matmul", operator.matmul, other, self)

    def __neg__(self) -> Node:
        return Layer(op="negative", function=operator.neg)(self)

    def __getitem__(self, index: Any) -> Node:
        return Layer(op="getitem", function=_item, options={"index": index})(self)

    def build(self) -> Model:
        """The model as two pure functions, the same two each time (see `build`)."""
        return self._model

    def __repr__(self) -> str:
        return f"<{self.layer.op} node, {self.layer.where}>"

    def __str__(self) -> str:
        return _display.table(self._plan, self._facts)

    def __deepcopy__(self, memo: Any) -> Node:
        return self

    def __reduce__(self) -> Any:
        # A flat list: pickle would recurse through a chain and reach its limit at some 200 layers.
        nodes = _plan.order(self)
        places = {node: place for place, node in enumerate(nodes)}
        rows = [(node.layer, tuple(places[parent] for parent in node.parents)) for node in nodes]
        return _from_rows, (rows,)

    @functools.cached_property
    def _plan(self) -> _plan.Plan:
        return _plan.plan(self)

    @functools.cached_property
    def _facts(self) -> _infer.Facts:
        return _infer.declared(self._plan)

    @functools.cached_property
    def _model(self) -> Model:
        return _build.functions(self._plan, self._facts)


def _from_rows(rows: list[tuple[Layer, tuple[int, ...]]]) -> Node:
    nodes: list[Node] = []
    for layer, parents in rows:
        nodes.append(Node(layer=layer, parents=tuple(nodes[place] for place in parents)))
    return nodes[-1]


def _binary(op: str, function: Callable[[Any, Any], Any], left: Any, right: Any) -> Node:
    check = None if op == "matmul" else _broadcasts
    return Layer(op=op, function=function, arity=2, check=check)(_as_node(left), _as_node(right))


def _as_node(value: Any) -> Node:
    """A node as it is; a number or an array as a node of that constant."""
    if isinstance(value, Node):
        return value
    return Layer(op="constant", function=_constant, options={"value": value}, arity=0)()


def _constant(*, value: Any) -> Any:
    return value


def _item(x: Any, *, index: Any) -> Any:
    return x[index]


def _broadcasts(left: jax.ShapeDtypeStruct, right: jax.ShapeDtypeStruct) -> str | None:
    sizes = zip(reversed(left.shape), reversed(right.shape), strict=False)
    fits = all(one == two or 1 in (one, two) for one, two in sizes)
    return None if fits else "needs inputs whose shapes broadcast"
