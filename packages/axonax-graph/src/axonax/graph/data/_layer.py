"""The data of a model: a layer is the call of a builder, a node is a layer applied to nodes."""

from __future__ import annotations

import contextlib
import functools
from collections.abc import Callable, Iterator, Mapping
from contextvars import ContextVar
from dataclasses import dataclass, field, replace
from typing import Any, Never, NoReturn, TypeVar, overload

from axonax.graph.data._names import check_name
from axonax.graph.data._param import Param
from axonax.graph.data._values import hashable
from axonax.graph.data._where import caller
from axonax.tensor.precision import Policy

A = TypeVar("A", bound="Applied")
Check = Callable[..., str | None]
MANY = 1 << 30
"""As the most inputs of a layer: any number."""
_DEFAULT = Policy()  # one for all layers: it looks at its dtypes when it is made


@dataclass(frozen=True, kw_only=True, eq=False)
class Computation:
    """What a layer computes. It follows from the builder's arguments, and is no part of a model's data.

    Args:
        function: called as ``function(*inputs, **named inputs, **params, **buffers, **options)``, and with
            ``train=`` or ``key=`` where ``needs`` lists them. With buffers it returns
            ``(output, {name: new value})``.
        params: what is trained, by name; a name may hold ``/``.
        buffers: what the function changes and no optimizer trains.
        options: further keyword arguments of the function.
        needs: ``"train"`` for the mode, ``"key"`` for a key of the layer's own (``None`` when not training).
        arity: the number of its inputs, ``None`` for any, or the least and the most.
        named: inputs that may come by name, after the others.
        takes_none: called also when an optional input is missing; else the result is missing too.
        check: gets the shapes of the inputs (those by name as keywords) and returns what is wrong with them.
        bare: a function of the user, which no file can hold.
        outputs: for a result in parts a tuple of these, nested: what the layer gives when applied.
        mark: what follows the path of the layer in the paths of its leaves.
        casts: whether the policy of the layer is applied; one that holds a model leaves that to its layers.
        at_init: called by ``init`` with the first leaves, by name, of the layer that gives the input.
        then: the activation that follows, as a node of its own.
    """

    function: Callable[..., Any]
    params: Mapping[str, Param] = field(default_factory=dict)
    buffers: Mapping[str, Param] = field(default_factory=dict)
    options: Mapping[str, Any] = field(default_factory=dict)
    needs: frozenset[str] = frozenset()
    arity: int | tuple[int, int] | None = 1
    named: tuple[str, ...] = ()
    takes_none: bool = False
    check: Check | None = None
    bare: bool = False
    outputs: Any = None
    mark: str = ""
    casts: bool = True
    at_init: Callable[[Any], None] | None = None
    then: Layer | None = None


_CURRENT: ContextVar[Scope | None] = ContextVar("scope", default=None)


@dataclass(frozen=True, eq=False)
class Scope:
    """A block that layers stand in: their paths begin with its own."""

    op: str
    name: str | None = None
    scope: Scope | None = field(default_factory=_CURRENT.get)
    where: str = field(default_factory=caller)

    def __post_init__(self) -> None:
        if self.name is not None:
            check_name(self.op, self.name)


@contextlib.contextmanager
def inside(scope: Scope | None) -> Iterator[None]:
    """While a block is written, the layers that are made stand in it; in none for ``None``."""
    token = _CURRENT.set(scope)
    try:
        yield
    finally:
        _CURRENT.reset(token)


@dataclass(frozen=True, kw_only=True, eq=False, repr=False)
class Layer:
    """The call of a builder: a description of what to compute, which makes nodes when called on nodes.

    ``op`` is the builder's name and ``arguments`` are those of the call, completed by defaults. Calling one
    layer twice shares its parameters.
    """

    op: str
    arguments: Mapping[str, Any]
    computation: Computation
    builder: Callable[..., Layer] | None = None
    name: str | None = None
    scope: Scope | None = field(default_factory=_CURRENT.get)
    policy: Policy = _DEFAULT
    where: str = field(default_factory=caller)

    def __post_init__(self) -> None:
        if self.name is not None:
            check_name(self.op, self.name)

    @overload
    def __call__(self, *nodes: A, **named: Any) -> A: ...
    @overload
    def __call__(self, *nodes: Any, **named: Any) -> Any: ...
    def __call__(self, *nodes: Any, **named: Any) -> Any:
        """The node that applies this layer, then its activation; a tuple where the result has parts.

        Raises:
            TypeError: an argument is not a node, or there are too many or too few of them.
        """
        given = [self._node(each) for each in (*nodes, *named.values())]
        self.check_count(len(nodes), named)
        if not given:
            raise TypeError(f"{self.op} ({self.where}): a layer takes nodes, got none")
        node = given[0].applied(self, tuple(given), tuple(named))
        if self.computation.outputs is not None:
            return _parts(node, self.computation.outputs)
        return node if self.computation.then is None else self.computation.then(node)

    def __or__(self, other: Never) -> NoReturn:
        """A chain begins with a node.

        Raises:
            TypeError: always.
        """
        raise TypeError(f'{self!r}: a chain begins with a node, as nn.input("x") | {self.op}(...) | ...')

    __ror__ = __or__

    def _node(self, given: Any) -> Any:
        """A node as it is, a container of nodes as a node of its own."""
        if isinstance(given, Applied):
            return given
        inner = _first(given)
        if inner is None:
            hint = "a layer takes nodes; a model runs on arrays by nn.predict(model, state, ...)"
            raise TypeError(f"{self.op} ({self.where}): {hint}, got {type(given).__name__}")
        return inner.gathered(given)

    def check_count(self, count: int, named: Mapping[str, Any]) -> None:
        arity, known = self.computation.arity, self.computation.named
        least, most = arity if isinstance(arity, tuple) else (arity, arity)
        if (least is not None and count < least) or (most is not None and count > most):
            span = f"{least}" if least == most else f"{least} to {most}"
            span = f"{least} or more" if most is not None and most >= MANY else span
            raise TypeError(f"{self.op} ({self.where}): takes {span} input(s), got {count}")
        for name in named:
            if name not in known:
                inputs = ", ".join(f'"{each}"' for each in known) or "none"
                raise TypeError(f'{self.op} ({self.where}): no input "{name}" by name, it has {inputs}')

    def __repr__(self) -> str:
        return f"<{self.op} layer, {self.where}>"

    def __deepcopy__(self, memo: Any) -> Layer:
        return self

    def __reduce__(self) -> Any:
        beside = {"name": self.name, "scope": self.scope, "policy": self.policy, "where": self.where}
        return _remade, (self.builder, dict(self.arguments), self.computation.then, beside)

    @functools.cached_property
    def signature(self) -> Any:
        """What decides its shapes, hashable: op, arguments and policy; ``None`` if an argument is not."""
        found = hashable(self.arguments)
        return None if found is None else (self.builder, found, self.policy)


def computes(function: Callable[..., Any], **parts: Any) -> Layer:
    """What a builder of this package returns: the layer that is to become the record of the call."""
    return Layer(op="", arguments={}, computation=Computation(function=function, **parts))


@dataclass(frozen=True, eq=False)
class Tied:
    """In the place of an initializer: the parameter is that of another layer, through a function of it."""

    layer: Layer
    name: str
    transform: Callable[[Any], Any]

    def __call__(self, key: Any, shape: Any, dtype: Any) -> Any:
        """There is no first value: the parameter is another's.

        Raises:
            TypeError: always.
        """
        raise TypeError(f"tied: {self.name} is that of {self.layer!r} and has no first value of its own")


@dataclass(frozen=True, kw_only=True, eq=False, repr=False)
class Applied:
    """A layer applied to nodes: the last of ``parents`` are those given by the names in ``named``."""

    layer: Layer
    parents: tuple[Any, ...]
    named: tuple[str, ...] = ()

    # NumPy would make object arrays of nodes, and indexing alone would make list(node) endless.
    __array_ufunc__ = None
    __iter__ = None

    def applied(self, layer: Layer, parents: tuple[Any, ...], named: tuple[str, ...] = ()) -> Any:
        """The next node: of the kind of this one, so that the data need not know what stands above it."""
        return type(self)(layer=layer, parents=parents, named=named)

    def gathered(self, nodes: Any) -> Any:
        """The node of a container of nodes."""
        raise NotImplementedError

    def over(self, parents: tuple[Any, ...]) -> Any:
        """This node on other parents; itself where they are the same."""
        same = all(one is other for one, other in zip(self.parents, parents, strict=True))
        return self if same else replace(self, parents=parents)

    def __repr__(self) -> str:
        return f"<{self.layer.op} node, {self.layer.where}>"

    def __deepcopy__(self, memo: Any) -> Any:
        return self


def order(*nodes: Applied) -> list[Any]:
    """The nodes that lead to ``nodes``, parents first; each once, left to right."""
    found: dict[Applied, None] = {}
    pending = [(node, False) for node in reversed(nodes)]  # a stack: a deep model would exhaust Python's
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


def _first(given: Any) -> Any:
    """A node within a container, or ``None``."""
    if isinstance(given, Applied):
        return given
    parts = given.values() if isinstance(given, Mapping) else given if isinstance(given, tuple | list) else ()
    return next((found for found in map(_first, parts) if found is not None), None)


def _parts(node: Any, outputs: Any) -> Any:
    """The parts of a node's value as nodes, nested as ``outputs``."""
    if not isinstance(outputs, tuple):
        return node
    return tuple(_parts(node[place], each) for place, each in enumerate(outputs))


def _remade(builder: Callable[..., Layer], arguments: dict[str, Any], then: Any, beside: Any) -> Layer:
    made = builder(**arguments)
    return replace(made, computation=replace(made.computation, then=then), **beside)
