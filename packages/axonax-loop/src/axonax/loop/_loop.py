"""The immutable description of a loop."""

from __future__ import annotations

import functools
import itertools
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import jax
import jax.numpy as jnp

from axonax.loop._events import EVENTS
from axonax.loop._filters import Count, Predicate, Seconds, make_filter
from axonax.loop._state import Result, State
from axonax.loop.engine._engine import Engine
from axonax.loop.engine._job import Attachment, Job, Run
from axonax.loop.handlers._log import Log
from axonax.loop.handlers._on import On
from axonax.loop.handlers._progress import Progress
from axonax.loop.handlers._validate import Validate
from axonax.loop.steps._metrics import FIELDS, RESERVED, Measure, resolve_metric
from axonax.loop.steps._recipe import Recipe
from axonax.tensor import names

PyTree = Any


@dataclass(frozen=True, kw_only=True, eq=False, repr=False)
class Loop:
    """What to do with batches, and at which events: an immutable value that runs as often as wanted.

    Made by `loop`, `trainer` and `evaluator`; `metric`, `on`, `validate`, `log` and `progress` return a new
    loop with one thing more.
    """

    kind: str
    recipe: Recipe
    evaluation: Recipe | None = None
    metrics: tuple[Measure, ...] = ()
    attached: tuple[tuple[str, Attachment], ...] = ()
    output: Callable[[State], Any] | None = None
    compile: bool = True
    facts: tuple[tuple[str, str], ...] = ()

    @functools.cached_property
    def _job(self) -> Job:
        """What the engine gets; kept with the loop for the functions compiled."""
        return Job(
            recipe=self.recipe,
            evaluation=self.evaluation,
            metrics=self.metrics,
            attached=self.attached,
            output=self.output,
            compile=self.compile,
        )

    def metric(
        self,
        metric: Any,
        name: str | None = None,
        *,
        fields: Sequence[str] = FIELDS,
        transform: Callable[[Mapping[str, Any]], Sequence[Any]] | None = None,
        **options: Any,
    ) -> Loop:
        """Accumulate a metric inside the compiled step; exact over the epoch, reset at its start.

        Args:
            metric: a name, a `Metric`, or a function ``(y_true, y_pred)`` that returns one value an example
                or a scalar: its weighted mean over all rows of the epoch is reported.
            name: what it is stored under; by default its own name.
            fields: the outputs of the step that it is called with. A trainer or evaluator has ``y_true``,
                ``y_pred`` and ``loss``; a loop over a step whose state is a dict has its keys.
            transform: a function of the dict of outputs that returns the arguments instead.
            **options: of a metric by name: ``.metric("accuracy", threshold=0.3)``.

        Raises:
            ValueError: an unknown name or option (the text lists near matches); a taken name, or none.
            TypeError: ``metric`` is none of the three.
        """
        measure = resolve_metric(metric, name, fields, transform, options)
        if measure.name in RESERVED or any(measure.name == other.name for other in self.metrics):
            raise ValueError(f'metric: the name "{measure.name}" is taken: pass another as name=')
        return replace(self, metrics=(*self.metrics, measure))

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
    ) -> Loop:
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
    ) -> Loop:
        """Evaluate on other data with the same loss and metrics, as ``validation_<name>``.

        Where the optimizer keeps averaged parameters (EMA, SWA and the like), it is these that are evaluated.

        Args:
            data: re-iterable batches, as for `run`.
            prefix: what the names begin with; several sets need prefixes of their own.
            event: when; after each epoch by default.
            every: as in `on`.

        Raises:
            ValueError: this loop has nothing to evaluate, an unknown event, or a prefix that is taken.
        """
        if self.evaluation is None:
            raise ValueError(f"validate: needs a trainer, this is a {self.kind}")
        names.lookup(dict.fromkeys(EVENTS), event, "event")
        if any(isinstance(each, Validate) and each.prefix == prefix for _, each in self.attached):
            raise ValueError(f'validate: the prefix "{prefix}" is taken: pass another as prefix=')
        return self.attach(Validate(data=data, prefix=prefix, event=event, when=make_filter(every=every)))

    def log(
        self,
        message: Callable[[State], str] | None = None,
        *,
        every: Count | Seconds = ("epoch", 50),
        to: Callable[[str], Any] = print,
    ) -> Loop:
        """Write a line every 50 iterations of an epoch and after each epoch's last one.

        Args:
            message: a function of the state; by default ``Epoch: 1, Batch: 50, loss: 0.4321000, ...``.
            every: as in `on`.
            to: where the line goes.

        Raises:
            TypeError: ``message`` or ``to`` is not callable.
        """
        for option, value in (("message", message), ("to", to)):
            if value is not None and not callable(value):
                raise TypeError(f"log: {option} must be a function, got {type(value).__name__}")
        return self.attach(Log(message=message, when=make_filter(every=every), to=to))

    def progress(self, console: Any = None) -> Loop:
        """Show a bar an epoch with loss, metrics and steps/s; silent where the output is no terminal.

        Args:
            console: a ``rich.console.Console``; by default one for standard error.
        """
        return self.attach(Progress(console=console))

    def attach(self, attachment: Attachment) -> Loop:
        """A loop with one more attachment: a value with handlers at events and a memory between them.

        Args:
            attachment: it has ``name``, ``memory()``, what it remembers at the start of a run, and
                ``open(job, run)``, a context manager that yields its handlers ``(state, memory)``. They
                return the memory, alone or with a `State` or a `control`: ``(memory, answer)``.

        Raises:
            TypeError: it lacks one of these.
        """
        for part in ("name", "memory", "open"):
            if not hasattr(attachment, part):
                kind = type(attachment).__name__
                raise TypeError(f"attach: needs a value with name, memory() and open(job, run), got {kind}")
        taken = {name for name, _ in self.attached}
        numbered = (f"{attachment.name}_{number}" for number in itertools.count(1))
        name = next(each for each in itertools.chain([attachment.name], numbered) if each not in taken)
        return replace(self, attached=(*self.attached, (name, attachment)))

    def run(
        self,
        data: Any,
        state: PyTree = None,
        *,
        epochs: int = 1,
        key: Any = None,
        steps_per_epoch: int | None = None,
    ) -> Result:
        """Run over the data; Ctrl-C returns the state of the last finished step.

        Args:
            data: `arrays`, any re-iterable of batches, or a function of the number of the epoch (from 1)
                that returns one.
            state: what to start from: for a trainer a model's state or a `TrainState`; for an evaluator a
                model's state, or a `TrainState`, of which it takes averaged parameters where the optimizer
                keeps them; else a step state. Its arrays stay yours.
            epochs: how often to go through the data.
            key: ``jax.random.key(0)`` by default. Initial values are drawn from its fold 0, dropout and the
                like from fold 1, folded with the iteration, shuffling from fold 2.
            steps_per_epoch: end each epoch after so many batches; data that is an endless iterator needs it.

        Returns:
            the last state, metrics and history.

        Raises:
            ValueError: no batches, batches that differ or do not fit the model, loss or metrics, or
                ``epochs`` below 1.
            TypeError: an argument of a type that it cannot have.
        """
        return self._engine(data, state, epochs, key, steps_per_epoch, donate=True).result()

    def iterate(
        self,
        data: Any,
        state: PyTree = None,
        *,
        epochs: int = 1,
        key: Any = None,
        steps_per_epoch: int | None = None,
    ) -> Iterator[State]:
        """The states after each step, as a plain iterator; they stay readable, as nothing is donated.

        Args:
            data: as in `run`, as are the others.
            state: what to start from.
            epochs: how often to go through the data.
            key: what randomness is drawn from.
            steps_per_epoch: end each epoch after so many batches.
        """
        return self._engine(data, state, epochs, key, steps_per_epoch, donate=False, watch=True).drive()

    def _engine(
        self, data: Any, state: PyTree, epochs: int, key: Any, steps_per_epoch: int | None, **options: bool
    ) -> Engine:
        for name, value in (("epochs", epochs), ("steps_per_epoch", steps_per_epoch)):
            if value is None and name == "steps_per_epoch":
                continue
            if not isinstance(value, int) or isinstance(value, bool):
                raise TypeError(f"run: {name} must be an integer, got {value!r}")
            if value < 1:
                raise ValueError(f"run: {name} must be at least 1, got {value}")
        if state is None and self.recipe.needs_state:
            raise ValueError(f"{self.kind}: run(data, model_state) needs the state of the model, got None")
        run = Run(data=data, state=state, key=_key(key), epochs=epochs, steps_per_epoch=steps_per_epoch)
        return Engine(self._job, run, **options)

    def __repr__(self) -> str:
        lines = [self.kind]
        lines += [f"  {label:<11}{text}" for label, text in self.facts]
        lines += [f"  {'metric':<11}{each.name}" for each in self.metrics]
        lines += [f"  {each}" for _, each in self.attached]
        return "\n".join(lines)


def _key(key: Any) -> jax.Array:
    if key is None:
        return jax.random.key(0)
    if isinstance(key, jax.Array) and key.shape == () and jnp.issubdtype(key.dtype, jax.dtypes.prng_key):
        return key
    if isinstance(key, jax.Array) and key.dtype == jnp.uint32 and key.ndim == 1:
        typed: jax.Array = jax.random.wrap_key_data(key)
        return typed
    raise TypeError(f"run: key must be a key such as jax.random.key(0), got {key!r}")
