"""The immutable description of a loop."""

from __future__ import annotations

import functools
import itertools
import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from axonax.loop._basics import Basics
from axonax.loop._events import EVENTS
from axonax.loop._filters import Count, Seconds, make_filter
from axonax.loop._lr_finder import RateSweep, Sweep, suggested
from axonax.loop._policies import Policies
from axonax.loop._reports import Reports
from axonax.loop._state import Result, State
from axonax.loop._transforms import Build, Transforming
from axonax.loop.data._remainder import MODES as REMAINDERS
from axonax.loop.engine._engine import Engine
from axonax.loop.engine._job import Attachment, Job, Run, Saving
from axonax.loop.handlers._checkpoint import Checkpoint
from axonax.loop.handlers._patience import check_watch
from axonax.loop.show._sheet import Sheet
from axonax.loop.steps._metrics import FIELDS, RESERVED, Measure, resolve_metric
from axonax.loop.steps._population import population_evaluation, population_recipe, resolve_members
from axonax.loop.steps._recipe import Recipe
from axonax.loop.steps._transforms import Transforms
from axonax.tensor import names

PyTree = Any


@dataclass(frozen=True, kw_only=True, eq=False, repr=False)
class Loop(Basics, Policies, Reports, Transforming):
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
    saving: Saving | None = None
    facts: tuple[tuple[str, object], ...] = ()
    programs: dict[Any, Any] = field(default_factory=dict)
    transforms: Transforms = field(default_factory=Transforms)
    build: Build | None = None

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
            saving=self.saving,
            programs=self.programs,
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
        return replace(self, metrics=(*self.metrics, measure), programs={})

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

    def checkpoint(
        self,
        path: str | os.PathLike[str],
        *,
        keep: int = 3,
        best: str | None = None,
        mode: str = "min",
        event: str = "epoch_completed",
        every: Count | Seconds | None = None,
        asynchronous: bool = True,
    ) -> Loop:
        """Save all that the run is, so that ``run(..., resume=True)`` goes on as if it had never stopped.

        A checkpoint holds the step state, the metrics of the epoch in progress, what every attachment
        remembers, the place in the data and the history, as they are after the last handler of the event. It
        is written in the background and appears whole or not at all; at the run's end, on Ctrl-C and on
        SIGTERM (exit code 143) one more is written. A state that is not finite is never saved.

        Args:
            path: the folder; one run at a time may use it.
            keep: how many of the newest are kept, and the best one beside them.
            best: a metric, as ``"validation_loss"``, whose best value makes a checkpoint the best one.
            mode: ``"min"`` or ``"max"``, what is better.
            event: when to save.
            every: as in `on`.
            asynchronous: write while the steps go on; ``False`` waits for the files.

        Raises:
            ValueError: a second one, an unknown event or mode, or ``keep`` below 1.
        """
        if self.saving is not None:
            raise ValueError(f"checkpoint: there is one already, to {self.saving.path}")
        if not isinstance(keep, int) or keep < 1:
            raise ValueError(f"checkpoint: keep must be an integer of at least 1, got {keep!r}")
        check_watch("checkpoint", mode=mode)
        names.lookup(dict.fromkeys(EVENTS), event, "event")
        when = make_filter(every=every)
        saving = Saving(path=Path(path), keep=keep, asynchronous=asynchronous)
        with_it = self.attach(Checkpoint(best=best, mode=mode, event=event, when=when, path=str(path)))
        return replace(with_it, saving=saving)

    def run(
        self,
        data: Any,
        state: PyTree = None,
        *,
        epochs: int = 1,
        key: Any = None,
        steps_per_epoch: int | None = None,
        resume: str | os.PathLike[str] | bool = False,
        fuse: bool = True,
        strict: bool = False,
        remainder: str = "keep",
    ) -> Result:
        """Run over the data; Ctrl-C returns the state of the last finished step.

        An error of the data, a handler or a step carries the `Result` up to the last finished step as its
        attribute ``result``.

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
            resume: go on from the newest whole checkpoint in a folder, or with ``True`` in that of
                `checkpoint`; where there is none, the run starts from the beginning and says so. The data
                must be the same; ``epochs`` is that of this call.
            fuse: take the steps up to the next handler in one compiled loop where that is faster, on the
                CPU where steps are short and have no convolutions; ``False`` takes them one by one.
            strict: look for what is wrong, one step at a time and slowly: fail on a step that compiles again
                after the first epoch, name the leaf that changed; on the first loss that is not finite, name
                the operation, its node and its batch; name handlers that make the device wait.
            remainder: what training does with a smaller last batch: ``"keep"`` steps on it at its own shape,
                which is compiled too; ``"drop"`` leaves it out; ``"mask"`` fills it up with rows that weigh
                0, and hands ``where=``, the rows that count, to a model whose ``apply`` takes it.
                Evaluation always fills up, and its metrics are exact.

        Returns:
            the last state, metrics and history.

        Raises:
            ValueError: no batches, batches that differ or do not fit the model, loss or metrics, ``epochs``
                below 1, a checkpoint that does not fit (the text lists what differs), a folder with
                checkpoints without ``resume``, or ``"mask"`` where rows cannot be left out.
            TypeError: an argument of a type that it cannot have.
        """
        run = self._run(data, state, epochs, key, steps_per_epoch, resume)
        run = replace(run, fuse=fuse, strict=strict, remainder=self._remainder(remainder))
        return Engine(self._job, run, donate=True).result()

    def iterate(
        self,
        data: Any,
        state: PyTree = None,
        *,
        epochs: int = 1,
        key: Any = None,
        steps_per_epoch: int | None = None,
        resume: str | os.PathLike[str] | bool = False,
        remainder: str = "keep",
    ) -> Iterator[State]:
        """The states after each step, as a plain iterator; they stay readable, as nothing is donated.

        Args:
            data: as in `run`, as are the others.
            state: what to start from.
            epochs: how often to go through the data.
            key: what randomness is drawn from.
            steps_per_epoch: end each epoch after so many batches.
            resume: as in `run`.
            remainder: as in `run`.
        """
        run = self._run(data, state, epochs, key, steps_per_epoch, resume)
        run = replace(run, remainder=self._remainder(remainder))
        return Engine(self._job, run, donate=False, watch=True).drive()

    def vmap(self, keys: Any, **hyperparams: Any) -> Loop:
        """Train many members as one program: other seeds, other rates, the same batches.

        Values in ``metrics``, history and states get the members on a leading axis; `member` takes one of
        them out. `early_stop` looks at each, and ``restore_best`` keeps the best of each.

        Args:
            keys: how many members (their keys are those of the seeds 0, 1, ...), a list of seeds, or keys.
            **hyperparams: a value for each member, as ``learning_rate=[0.1, 0.01]``, of an optimizer whose
                hyperparameters can be set.

        Raises:
            ValueError: no trainer, no members, a list of another length. When the run starts: the optimizer
                has no such hyperparameter.
            TypeError: ``keys`` is of another type.
        """
        if self.evaluation is None or self.recipe.members is not None:
            raise ValueError(f"vmap: needs a trainer, this is a {self.kind}")
        if not self.compile:
            raise ValueError("vmap: needs compile=True")
        members = resolve_members(keys, hyperparams)
        differ = (f", {name} {each.min():g} to {each.max():g}" for name, each in members.hyperparams.items())
        return replace(
            self,
            kind="population",
            recipe=population_recipe(self.recipe, members),
            evaluation=population_evaluation(self.evaluation, members.count),
            facts=(*self.facts, ("members", f"{members.count}{''.join(differ)}")),
            programs={},
        )

    def lr_finder(
        self,
        data: Any,
        state: PyTree = None,
        *,
        min_lr: float = 1e-6,
        max_lr: float = 1.0,
        steps: int = 100,
        key: Any = None,
    ) -> RateSweep:
        """Train for some steps with rising learning rates; this loop and its files are left alone.

        Args:
            data: batches, as for `run`; gone through again where there are too few.
            state: what to start from, as for `run`.
            min_lr: the first rate; the rates rise by a constant factor.
            max_lr: the last; a loss of 4 times the best one ends the sweep before.
            steps: how many.
            key: as for `run`.

        Returns:
            the rates, the losses and the rate where the loss falls fastest.

        Raises:
            ValueError: rates or steps out of range, or an optimizer without a learning rate to set.
        """
        if not (0 < min_lr < max_lr and steps >= 3):
            raise ValueError(
                "lr_finder: needs 0 < min_lr < max_lr and at least 3 steps, got "
                f"min_lr={min_lr!r}, max_lr={max_lr!r}, steps={steps!r}"
            )
        sweep = Sweep(rates=np.geomspace(min_lr, max_lr, steps), losses=[])
        bare = replace(self, metrics=(), attached=(), saving=None, programs={})
        bare.attach(sweep).run(data, state, epochs=1 if isinstance(data, Iterator) else steps, key=key)
        losses = np.asarray(sweep.losses)
        rates = sweep.rates[: len(losses)]
        return RateSweep(rates=rates, losses=losses, suggestion=suggested(rates, losses))

    def _run(
        self, data: Any, state: PyTree, epochs: int, key: Any, steps_per_epoch: int | None, resume: Any
    ) -> Run:
        for name, value in (("epochs", epochs), ("steps_per_epoch", steps_per_epoch)):
            if value is None and name == "steps_per_epoch":
                continue
            if not isinstance(value, int) or isinstance(value, bool):
                raise TypeError(f"run: {name} must be an integer, got {value!r}")
            if value < 1:
                raise ValueError(f"run: {name} must be at least 1, got {value}")
        if state is None and self.recipe.needs_state:
            raise ValueError(f"{self.kind}: run(data, model_state) needs the state of the model, got None")
        return Run(
            data=data,
            state=state,
            key=_key(key),
            epochs=epochs,
            steps_per_epoch=steps_per_epoch,
            resume=resume if isinstance(resume, bool) else Path(resume),
        )

    @property
    def _sheet(self) -> Sheet:
        metrics = (("metric", each.name) for each in self.metrics)
        attached = (_described(name, str(each)) for name, each in self.attached)
        facts = ((name, str(fact)) for name, fact in self.facts)
        return Sheet(title=self.kind, rows=(*facts, *metrics, *attached))

    def _remainder(self, remainder: str) -> str:
        names.lookup(dict.fromkeys(REMAINDERS), remainder, "remainder")
        if remainder != "keep" and self.recipe.needs_state:
            raise ValueError(
                f'run: remainder="{remainder}" is for training, and a loop that is no trainer counts every '
                f"row: this is of kind {self.kind}"
            )
        if remainder == "mask" and not self.recipe.has_parts:
            raise ValueError(
                f'run: remainder="mask" needs a trainer of a model and a loss, whose batches have weights: '
                f'this {self.kind} takes batches of any form, use "keep" or "drop"'
            )
        return remainder

    def __repr__(self) -> str:
        return repr(self._sheet)

    def _repr_html_(self) -> str:
        """What a notebook shows."""
        return self._sheet._repr_html_()


def _described(name: str, text: str) -> tuple[str, str]:
    """What an attachment is, and the rest of what it says of itself, which begins with that."""
    kind, _, rest = text.partition(" ")
    return (kind, rest.strip()) if kind.isidentifier() else (name, text)


def _key(key: Any) -> jax.Array | None:
    if key is None:
        return None
    if isinstance(key, jax.Array) and key.shape == () and jnp.issubdtype(key.dtype, jax.dtypes.prng_key):
        return key
    if isinstance(key, jax.Array) and key.dtype == jnp.uint32 and key.ndim == 1:
        typed: jax.Array = jax.random.wrap_key_data(key)
        return typed
    raise TypeError(f"run: key must be a key such as jax.random.key(0), got {key!r}")
