"""A model and its state in one safetensors file."""

from __future__ import annotations

import os
from collections.abc import Iterable

import jax.numpy as jnp

from axonax.graph.files._limits import Limits, ModelFileError
from axonax.graph.files._reading import loads
from axonax.graph.files._registry import Builder
from axonax.graph.files._writing import dumps
from axonax.graph.nodes._node import Node
from axonax.tensor import files, trees
from axonax.tensor.contracts import ModelState

_MODEL = "axonax.graph"  # the text of the model among the metadata of the file
_HEADER = 50_000_000  # the format's readers take headers of 100 MB, in which quotes are written as two


def save(model: Node, path: str | os.PathLike[str], state: ModelState | None = None) -> None:
    """Write a model, and its state if there is one, to a file that appears whole or not at all.

    The file is plain safetensors with a checksum for every tensor; the model is `dumps` in its metadata.

    Args:
        model: any node.
        path: the file, replaced if it is there. Its folder must exist.
        state: of this very model, frozen parameters and buffers included.

    Raises:
        ValueError: the state is not that of the model (all that is missing, left over or of another shape is
            listed), an argument of the model has no plain form, or its arrays are too large for metadata.
        TypeError: ``model`` is no node, or ``state`` no state.

    >>> import pathlib, tempfile
    >>> import jax
    >>> from axonax import graph as nn
    >>> file = pathlib.Path(tempfile.mkdtemp()) / "model.safetensors"
    >>> model = nn.input("x", (None, 3)) | nn.dense(2)
    >>> nn.save(model, file, nn.build(model).init(jax.random.key(0)))
    >>> model, state = nn.load(file)
    >>> nn.predict(model, state, jax.numpy.ones((1, 3))).shape
    (1, 2)
    """
    if not isinstance(model, Node):
        raise TypeError(
            f"save: takes a model, a path and a state, in this order, got {type(model).__name__} first"
        )
    text = dumps(model)
    if len(text) > _HEADER:
        raise ValueError(
            f"save: the model's own arrays make {len(text)} characters of text, and {_HEADER} are the most: "
            "make large constants parameters of a layer (nn.param), and freeze them"
        )
    if state is not None:
        if not isinstance(state, ModelState):
            raise TypeError(f"save: state must be a ModelState, got {type(state).__name__}")
        if problems := _misfits(model, state):
            raise ValueError(f"save: the state is not that of the model: {problems}")
    files.save(path, {} if state is None else state, {_MODEL: text})


def load(
    path: str | os.PathLike[str], builders: Iterable[Builder] = (), *, limits: Limits | None = None
) -> tuple[Node, ModelState | None]:
    """Read what `save` wrote.

    Args:
        path: the file.
        builders: as for `loads`.
        limits: as for `loads`.

    Returns:
        ``(model, state)``, equal to the bit; the state is ``None`` if none was saved.

    Raises:
        ModelFileError: the file holds no model, or one that `loads` refuses, or a state that is not that of
            the model.
        ValueError: the file is damaged or no safetensors.
        FileNotFoundError: there is no such file.
    """
    metadata = files.read_metadata(path)
    name = os.fspath(path)
    if _MODEL not in metadata:
        raise ModelFileError("holds tensors without a model: see axonax.tensor.files.load", str(name))
    try:
        model = loads(metadata[_MODEL], builders, limits=limits)
    except ModelFileError as error:
        raise ModelFileError(str(error), str(name)) from error.__cause__
    state = files.load(path)
    if not isinstance(state, ModelState):
        return model, None
    if problems := _misfits(model, state):
        raise ModelFileError(f"its state is not that of its model: {problems}", str(name))
    return model, state


def _misfits(model: Node, state: ModelState) -> str:
    """What of a state is not as the model has it, by path and shape; empty if nothing."""
    leaves = model._facts.leaves
    held = trees.flatten(state.variables) | trees.flatten(state.buffers)
    lines = [f'no "{path}"' for path in leaves if path not in held]
    lines += [f'"{path}" is not in the model' for path in held if path not in leaves]
    for path, leaf in leaves.items():
        if path in held and leaf.shape is not None:
            got = jnp.shape(held[path])
            same = len(got) == len(leaf.shape) and all(
                size in (None, one) for size, one in zip(leaf.shape, got, strict=True)
            )
            lines += [] if same else [f'"{path}" {got} does not fit {leaf.step}, which needs {leaf.shape}']
    return "; ".join(lines[:20]) + (f"; and {len(lines) - 20} more" if len(lines) > 20 else "")
