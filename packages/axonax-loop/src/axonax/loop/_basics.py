"""What every loop can have attached: handlers at events, validation."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any, Self

from axonax.loop._events import EVENTS
from axonax.loop._filters import Count, Predicate, Seconds, make_filter
from axonax.loop._state import State
from axonax.loop.engine._job import Attachment
from axonax.loop.handlers._on import On
from axonax.loop.handlers._validate import Validate
from axonax.loop.steps._recipe import Recipe
from axonax.tensor import names


class Basics:
    """Methods of `Loop` that attach one thing."""

    kind: str
    evaluation: Recipe | None
    attached: tuple[tuple[str, Attachment], ...]

    def attach(self, attachment: Attachment) -> Self:
        """A loop with one more attachment."""
        raise NotImplementedError

    def on(
        self,
        event: str,
        handler: Callable[[State], Any],
        *,
        every: Count | Seconds | None = None,
        before: Count | None = None,
        after: Count | None = None,
        once: Count | None = None,
        first: Count | None = None,
        filter: Predicate | None = None,
    ) -> Self:
        """Call ``handler(state)`` at an event.

        A handler returns ``None``, a new `State` to go on with, or ``control(HALT_EPOCH, state)`` or
        ``control(HALT_LOOP, state)``. Handlers run in the order they were added. All conditions must
        hold; a count is an integer over the run or ``("epoch", n)`` within the epoch.

        Args:
            event: one of `EVENTS`.
            handler: the function.
            every: each n-th event, the n-th being the first; or ``Seconds(n)``.
            before: only counts below.
            after: only counts above.
            once: only the event of that count.
            first: only the first n events (``True``: the very first).
            filter: ``filter(state, event) -> bool``, asked last.

        Raises:
            ValueError: an unknown event (the text lists near matches) or a count out of range.
            TypeError: ``handler`` or ``filter`` is not callable, or a count is no count.
        """
        names.lookup(dict.fromkeys(EVENTS), event, "event")
        if not callable(handler):
            raise TypeError(f"on: the handler must be a function of the state, got {type(handler).__name__}")
        when = make_filter(every=every, before=before, after=after, once=once, first=first, filter=filter)
        return self.attach(On(event=event, function=handler, when=when))

    def validate(
        self,
        data: Any,
        *,
        prefix: str = "validation",
        event: str = "epoch_completed",
        every: Count | Seconds | None = None,
    ) -> Self:
        """Evaluate on other data with the same loss and metrics, as ``validation_<name>``.

        Where the optimizer keeps averaged parameters (EMA, SWA and the like), it is these that are evaluated.

        Args:
            data: re-iterable batches, as for `run`.
            prefix: what the names begin with; several sets need prefixes of their own.
            event: when; after each epoch by default.
            every: as in `on`.

        Raises:
            ValueError: this loop has nothing to evaluate, an unknown event, a prefix that is taken, or data
                that can be read only once.
        """
        if self.evaluation is None:
            raise ValueError(f"validate: needs a trainer, this is a {self.kind}")
        names.lookup(dict.fromkeys(EVENTS), event, "event")
        if isinstance(data, Iterator):
            raise ValueError(
                f"validate: a {type(data).__name__} can be read only once, but validation reads it again and "
                "again: pass a list, loop.arrays(...) or a function that returns an iterator"
            )
        if any(isinstance(each, Validate) and each.prefix == prefix for _, each in self.attached):
            raise ValueError(f'validate: the prefix "{prefix}" is taken: pass another as prefix=')
        return self.attach(Validate(data=data, prefix=prefix, event=event, when=make_filter(every=every)))
