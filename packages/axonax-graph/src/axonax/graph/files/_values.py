"""From JSON to the plain values of arguments, none of which is trusted."""

from __future__ import annotations

import base64
import binascii
import math
from collections.abc import Callable, Iterable, Mapping
from typing import Any

import jax.numpy as jnp
import numpy as np

from axonax.graph.files._limits import DTYPES, Limits, ModelFileError
from axonax.graph.files._registry import INITIALIZERS
from axonax.tensor import names

_FLOATS = {"inf": math.inf, "-inf": -math.inf, "nan": math.nan}
_KINDS = ("numpy", "jax", "weak")

Further = Mapping[str, Callable[[Any, int], Any]]


class Values:
    """Reads arguments, and counts the bytes of their arrays.

    Args:
        limits: what they may ask for.
        further: forms that hold more than values, by name, called with their content and depth.
    """

    def __init__(self, limits: Limits, further: Further) -> None:
        self.limits = limits
        self.array_bytes = 0
        self.forms: Further = {
            "float": lambda body, depth: names.lookup(_FLOATS, self.text(body), "float"),
            "complex": lambda body, depth: complex(*self.parts("complex", body, 2, depth)),
            "slice": lambda body, depth: slice(*self.parts("slice", body, 3, depth)),
            "ellipsis": lambda body, depth: ...,
            "dict": self.dictionary,
            "array": lambda body, depth: self.array(body),
            "initializer": self.initializer,
            **further,
        }

    def value(self, given: Any, depth: int) -> Any:
        """The value of an argument, or of part of one.

        Raises:
            ModelFileError: it has none of the forms, or exceeds a limit.
        """
        if given is None or isinstance(given, bool | int):
            return given
        if isinstance(given, str):
            return self.text(given)
        if isinstance(given, float):
            return given if math.isfinite(given) else _refuse('a float beyond the range is {"float": "inf"}')
        if depth >= self.limits.depth:
            _refuse(f"values may nest {self.limits.depth} deep")
        if isinstance(given, list):
            return tuple(self.value(each, depth + 1) for each in given)
        if not isinstance(given, dict) or len(given) != 1:
            _refuse(f"a value is plain, a list or an object with one key, got {short(given)}")
        ((name, body),) = given.items()
        if name not in self.forms:
            _refuse(f'unknown form of a value "{short(name)}": {names.suggestion(name[:99], self.forms)}')
        return self.forms[name](body, depth + 1)

    def text(self, given: Any) -> str:
        """A text of permitted length."""
        if not isinstance(given, str):
            _refuse(f"needs text, got {short(given)}")
        if len(given) > self.limits.string:
            _refuse(f"a text may have {self.limits.string} characters, got {len(given)}")
        return str(given)

    def parts(self, name: str, body: Any, count: int, depth: int) -> list[Any]:
        """The values of a list of that length."""
        if not isinstance(body, list) or len(body) != count:
            _refuse(f"{name} needs a list of {count}, got {short(body)}")
        return [self.value(each, depth) for each in body]

    def dictionary(self, body: Any, depth: int) -> dict[Any, Any]:
        """A dict from a list of pairs, in its order."""
        if not isinstance(body, list):
            _refuse(f"dict needs a list of pairs, got {short(body)}")
        found: dict[Any, Any] = {}
        for pair in body:
            key, value = self.parts("a pair of dict", pair, 2, depth)
            if not isinstance(key, str | int | float | bool | None):
                _refuse(f"a key of dict must be text or a number, got {short(key)}")
            if key in found:
                _refuse(f"the key {short(key)} of dict is there twice")
            found[key] = value
        return found

    def array(self, body: Any) -> Any:
        """An array of exactly the bytes that are there, as many as its shape says."""
        given = fields("array", body, ("dtype", "shape", "data", "kind"))
        dtype = jnp.dtype(closed("dtype", given["dtype"], DTYPES))
        kind = closed("kind", given["kind"], _KINDS)
        shape = given["shape"]
        if not isinstance(shape, list) or len(shape) > 32 or not all(is_count(size) for size in shape):
            _refuse(f"an array's shape needs a list of at most 32 sizes, got {short(shape)}")
        needed = math.prod(shape) * dtype.itemsize
        self.array_bytes += needed
        if self.array_bytes > self.limits.array_bytes:
            _refuse(f"its arrays need more than the {self.limits.array_bytes} bytes of Limits.array_bytes")
        try:
            data = base64.b64decode(given["data"], validate=True)
        except (binascii.Error, TypeError, ValueError) as error:
            _refuse(f"an array's data must be base64: {error}")
        if len(data) != needed:
            _refuse(f"an array of {given['dtype']} and shape {shape} needs {needed} bytes, got {len(data)}")
        array = np.frombuffer(data, dtype.newbyteorder("<")).astype(dtype, copy=False).reshape(shape)
        return array if kind == "numpy" else _on_device(array, kind)

    def initializer(self, body: Any, depth: int) -> Any:
        """An initializer with its options."""
        given = fields("initializer", body, ("name", "options"))
        make = INITIALIZERS[closed("initializer", given["name"], INITIALIZERS)]
        if not isinstance(given["options"], dict):
            _refuse(f"the options of an initializer are an object, got {short(given['options'])}")
        options = {name: self.value(each, depth) for name, each in given["options"].items()}
        try:
            return make(**options)
        except (TypeError, ValueError) as error:
            return _refuse(f"{given['name']}: {error}")


def fields(what: str, given: Any, required: Iterable[str], optional: Iterable[str] = ()) -> dict[str, Any]:
    """An object with these fields and no other.

    Raises:
        ModelFileError: it is none, has another field or lacks one.
    """
    if not isinstance(given, dict):
        _refuse(f"{what} needs an object, got {short(given)}")
    known = (*required, *optional)
    for name in given:
        if name not in known:
            _refuse(f'{what} has an unknown field "{short(name)}": {names.suggestion(name[:99], known)}')
    for name in required:
        if name not in given:
            _refuse(f'{what} has no field "{name}"')
    return dict(given)


def closed(what: str, given: Any, known: Iterable[str]) -> str:
    """A text of a closed set.

    Raises:
        ModelFileError: it is not in the set.
    """
    if not isinstance(given, str) or given not in known:
        near = names.suggestion(given[:99], known) if isinstance(given, str) else "needs text"
        _refuse(f"unknown {what} {short(given)}: {near}")
    return str(given)


def is_count(value: Any) -> bool:
    """Whether a value is an integer of at least 0."""
    return isinstance(value, int) and not isinstance(value, bool) and value >= 0


def short(value: Any) -> str:
    """A value as errors show it: a megabyte of text stays out of them."""
    if isinstance(value, str):
        shown = value if value.isidentifier() else repr(value[:99])
    elif isinstance(value, int) and abs(value) > 10**30:
        shown = "a huge integer"
    else:
        shown = type(value).__name__ if isinstance(value, dict | list | tuple) else repr(value)
    return shown if len(shown) <= 60 else f"{shown[:50]}..."


def _on_device(array: np.ndarray, kind: str) -> Any:
    """A JAX array; ``"weak"`` for one whose dtype gives way, as that of a Python number does."""
    zero: Any = {"i": 0, "f": 0.0, "c": 0j}.get(array.dtype.kind)
    if kind == "weak" and zero is None:
        _refuse(f"no array of {array.dtype} is weak")
    made = jnp.asarray(array) if kind == "jax" else jnp.full(array.shape, zero)
    if made.dtype != array.dtype:
        _refuse(f"a {kind} array of {array.dtype} is none of this JAX: see its flag jax_enable_x64")
    return made if kind == "jax" else made.at[...].set(array)  # which keeps it weak


def _refuse(problem: str) -> Any:
    raise ModelFileError(problem)
