"""Losses, metrics and optimizers by name, from whatever distributions are installed.

A distribution offers a name by an entry point in the group of its kind:

    [project.entry-points."axonax.losses"]
    my_loss = "my_package.losses:my_loss"
"""

from __future__ import annotations

import functools
from importlib import metadata
from typing import Any

from axonax.tensor import names

_GROUPS = {"loss": "axonax.losses", "metric": "axonax.metrics", "optimizer": "axonax.optimizers"}
_OWNERS = {"loss": "axonax-functional", "metric": "axonax-functional", "optimizer": "axonax-optim"}


def available(kind: str) -> dict[str, str]:
    """The names that installed distributions offer.

    Args:
        kind: ``"loss"``, ``"metric"`` or ``"optimizer"``.

    Returns:
        name to distribution, sorted by name (``"a, b"`` where two distributions offer one name).

    Raises:
        ValueError: an unknown kind.

    >>> available("los")
    Traceback (most recent call last):
    ...
    ValueError: unknown plugin kind "los": did you mean "loss"?
    """
    group = names.lookup(_GROUPS, kind, "plugin kind")
    return {name: ", ".join(sorted(points)) for name, points in sorted(_points(group).items())}


def resolve(kind: str, name: str) -> Any:
    """What an installed distribution offers under a name.

    Args:
        kind: ``"loss"`` (a loss function), ``"metric"`` (a factory ``(**options) -> Metric``) or
            ``"optimizer"`` (a factory whose learning rate has a default).
        name: such as ``"categorical_cross_entropy"``, ``"accuracy"``, ``"adamw"``.

    Returns:
        the object behind the entry point, imported now.

    Raises:
        ValueError: nothing installed offers the name; the text lists near matches, and the distribution
            to install where Axonax's own is missing. Or several distributions offer it.
        ImportError: the distribution that offers the name fails to import.

    >>> resolve("optimiser", "adam")
    Traceback (most recent call last):
    ...
    ValueError: unknown plugin kind "optimiser": did you mean "optimizer"?
    """
    group = names.lookup(_GROUPS, kind, "plugin kind")
    points = _points(group).get(name)
    if points is None:
        # What was installed since the first look-up is found by a second one.
        _points.cache_clear()
        points = _points(group).get(name)
    if points is None:
        raise ValueError(_unknown(kind, name, list(_points(group))))
    if len(points) > 1:
        owners = " and ".join(sorted(points))
        raise ValueError(f'{kind} "{name}" is offered by {owners}: import it from one of them instead')
    ((owner, point),) = points.items()
    try:
        return point.load()
    except (ImportError, AttributeError) as error:
        raise ImportError(
            f'{kind} "{name}" of {owner} cannot be imported from {point.value}: {error}'
        ) from error


@functools.cache
def _points(group: str) -> dict[str, dict[str, metadata.EntryPoint]]:
    """By name and distribution: one distribution can be found twice on the path, two are a conflict."""
    found: dict[str, dict[str, metadata.EntryPoint]] = {}
    for point in metadata.entry_points(group=group):
        owner = point.dist.name if point.dist else "an unknown distribution"
        found.setdefault(point.name, {}).setdefault(owner, point)
    return found


def _unknown(kind: str, name: str, known: list[str]) -> str:
    owner = _OWNERS[kind]
    if _installed(owner):
        return f'unknown {kind} "{name}": {names.suggestion(name, known)}'
    hint = f"which is not installed: pip install {owner}"
    near = names.suggestion(name, known)
    if near.startswith("did you mean"):
        return f'unknown {kind} "{name}": {near} (or does it come with {owner}, {hint})'
    return f'{kind} "{name}" comes with {owner}, {hint}'


def _installed(distribution: str) -> bool:
    try:
        metadata.distribution(distribution)
    except metadata.PackageNotFoundError:
        return False
    return True
