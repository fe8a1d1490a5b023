"""Inputs and targets by the names of columns, of tables and of batches that are dicts."""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import jax
import numpy as np

from axonax.loop.data._arrays import arrays
from axonax.loop.data._convert import converted
from axonax.loop.data._wrapped import mapped, wrapped
from axonax.tensor import names

PyTree = Any
Names = str | Sequence[str] | Mapping[str, str]


def columns(
    source: Any,
    *,
    inputs: Names,
    targets: Names | None = None,
    weights: str | None = None,
    stack: bool = False,
    batch_size: int | None = None,
    shuffle: bool = False,
    drop_last: bool = False,
) -> Any:
    """A data source of columns by name: of a table, or of batches that are dicts.

    A table is a pandas or polars ``DataFrame``, an Arrow table, a Hugging Face ``Dataset`` or a dict of
    arrays; it is read into memory, as by `arrays`. Of data that does not fit pass its batches:
    ``columns(lambda epoch: dataset.iter(batch_size=32), inputs="image", targets="label")``.

    Args:
        source: a table, or a re-iterable of dicts, or a function of the epoch that returns one. A Hugging
            Face ``IterableDataset`` is read batch by batch.
        inputs: a column, or several as a dict by name, for a model with inputs of these names; as a dict
            ``{name: column}`` under names of their own.
        targets: likewise; without them a batch is the inputs alone.
        weights: the column of one weight a row.
        stack: make one float array ``(B, n)`` of the input columns, which have one number a row.
        batch_size: the rows of a batch of a table.
        shuffle: as of `arrays`, for a table.
        drop_last: as of `arrays`, for a table.

    Returns:
        a source that yields ``inputs``, ``(inputs, targets)`` or ``(inputs, targets, weights)``.

    Raises:
        ValueError: a column that is not there (the text lists near matches) or holds no numbers, a table
            without ``batch_size``, batches with one, weights without targets.
        TypeError: ``source`` is neither a table nor a source of batches, or names are of another type.

    >>> table = {"age": [31, 45, 27], "height": [1.8, 1.6, 1.7], "label": [0, 1, 0]}
    >>> for x, y in columns(table, inputs=["age", "height"], targets="label", stack=True, batch_size=2):
    ...     print(x.tolist(), y)
    [[31.0, 1.7999999523162842], [45.0, 1.600000023841858]] [0 1]
    [[27.0, 1.7000000476837158]] [0]
    """
    picked = _Picked(
        inputs=_by_name(inputs, "inputs"),
        targets=None if targets is None else _by_name(targets, "targets"),
        weights=None if weights is None else _by_name(weights, "weights"),
        stack=stack,
    )
    if weights is not None and targets is None:
        raise ValueError("columns: weights need targets")
    whole = _is_table(source)
    streamed = not whole and hasattr(source, "column_names") and hasattr(source, "iter")
    if (whole or streamed) and batch_size is None:
        raise ValueError(f"columns: a {type(source).__name__} is a table: pass batch_size=")
    if whole:
        parts = picked.of(_Table(source))
        return arrays(
            *((parts,) if targets is None else parts),
            batch_size=batch_size,  # type: ignore[arg-type]  # checked above
            shuffle=shuffle,
            drop_last=drop_last,
        )
    if shuffle or (not streamed and (batch_size is not None or drop_last)):
        given = "shuffle" if shuffle else "batch_size" if batch_size is not None else "drop_last"
        raise ValueError(
            f"columns: {given}= goes with a table in memory, but a {type(source).__name__} gives its batches "
            "as they come"
        )
    if streamed:
        source = functools.partial(_streamed, source, batch_size, drop_last)
    return wrapped(source, functools.partial(_each, picked.of), "columns")


def _each(function: Callable[[Any], Any], batches: Iterator[Any]) -> Iterator[Any]:
    return mapped(batches, function)


def _streamed(source: Any, batch_size: int | None, drop_last: bool, epoch: int) -> Iterator[Any]:
    """The batches of an epoch of a Hugging Face ``IterableDataset``."""
    if hasattr(source, "set_epoch"):
        source.set_epoch(epoch)
    return iter(source.iter(batch_size=batch_size, drop_last_batch=drop_last))


def _by_name(given: Any, option: str) -> str | dict[str, str]:
    """A column, or columns by the names that they get.

    Raises:
        TypeError: it is neither.
        ValueError: it names none.
    """
    if isinstance(given, str):
        return given
    if isinstance(given, Sequence) and all(isinstance(name, str) for name in given):
        given = {name: name for name in given}
    if not isinstance(given, Mapping) or not all(isinstance(name, str) for name in given.values()):
        raise TypeError(f"columns: {option} must be a column, a list of them or a dict, got {given!r:.60}")
    if not given:
        raise ValueError(f"columns: {option} names no column")
    return dict(given)


@dataclass(frozen=True, kw_only=True)
class _Picked:
    """Which columns are what."""

    inputs: str | dict[str, str]
    targets: str | dict[str, str] | None
    weights: str | dict[str, str] | None
    stack: bool

    def of(self, batch: Any) -> PyTree:
        """The parts of a table or of one batch."""
        if not isinstance(batch, Mapping):
            raise TypeError(f"columns: a batch must be a dict of columns, got {type(batch).__name__}")
        inputs = _stacked(batch, self.inputs) if self.stack else _of(batch, self.inputs)
        if self.targets is None:
            return inputs
        parts = (inputs, _of(batch, self.targets))
        return parts if self.weights is None else (*parts, _of(batch, self.weights))


def _of(batch: Mapping[str, Any], wanted: str | dict[str, str]) -> PyTree:
    if isinstance(wanted, str):
        return _column(batch, wanted)
    return {name: _column(batch, column) for name, column in wanted.items()}


def _column(batch: Mapping[str, Any], name: str) -> Any:
    names.lookup(dict.fromkeys(batch), name, "column")
    try:
        column = converted(batch[name])
    except (TypeError, ValueError) as error:
        raise type(error)(f'column "{name}": {str(error).removeprefix("the batch ")}') from error.__cause__
    if isinstance(column, np.ndarray) and column.dtype.kind not in "biufcV":
        kind = type(column.flat[0]).__name__ if column.size else column.dtype.name
        raise ValueError(f'column "{name}" holds {kind}, not numbers: encode it as numbers first')
    return column


def _stacked(batch: Mapping[str, Any], wanted: str | dict[str, str]) -> np.ndarray:
    listed = [wanted] if isinstance(wanted, str) else list(wanted.values())
    found = [np.asarray(_column(batch, name)) for name in listed]
    for name, column in zip(listed, found, strict=True):
        if column.ndim != 1:
            raise ValueError(f'column "{name}": stack takes one number a row, got shape {column.shape}')
    dtype = jax.dtypes.canonicalize_dtype(np.result_type(np.float32, *found))
    return np.stack(found, axis=1, dtype=dtype, casting="same_kind")


def _is_table(source: Any) -> bool:
    """Whether a source is a whole table: a dict of columns, or what offers columns and its length."""
    if isinstance(source, Mapping):
        return True
    named = hasattr(source, "column_names") or (hasattr(source, "columns") and hasattr(source, "to_numpy"))
    return named and hasattr(source, "__len__") and hasattr(source, "__getitem__")


class _Table(Mapping[str, Any]):
    """The columns of a table as arrays."""

    def __init__(self, table: Any) -> None:
        self._table = table
        listed = table if isinstance(table, Mapping) else getattr(table, "column_names", None)
        self._names = list(table.columns if listed is None else listed)

    def __iter__(self) -> Iterator[str]:
        return iter(self._names)

    def __len__(self) -> int:
        return len(self._names)

    def __getitem__(self, name: str) -> Any:
        if hasattr(self._table, "with_format"):
            column = self._table.select_columns([name]).with_format("numpy")[:][name]
        else:
            column = self._table[name]
        if hasattr(column, "to_numpy"):
            column = column.to_numpy()
        nested = isinstance(column, np.ndarray) and column.dtype == object and column.size
        # A column of lists comes as an array of arrays.
        return [np.asarray(row).tolist() for row in column] if nested and np.ndim(column[0]) else column
