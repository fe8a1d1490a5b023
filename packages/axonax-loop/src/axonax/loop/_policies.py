"""What decides about a run: when it ends, how fast it learns, what is trained."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any, Self

from axonax.loop._filters import make_filter
from axonax.loop._state import State
from axonax.loop.engine._job import Attachment
from axonax.loop.handlers._early_stop import EarlyStop
from axonax.loop.handlers._limits import MaxSteps, TimeLimit
from axonax.loop.handlers._monitor import Monitor
from axonax.loop.handlers._nonfinite import POLICIES, TerminateOnNaN
from axonax.loop.handlers._patience import check_watch
from axonax.loop.handlers._plateau import Plateau
from axonax.loop.handlers._timer import Timer
from axonax.loop.handlers._unfreeze import UnfreezeAt
from axonax.tensor import trees


class Policies:
    """Methods of `Loop` that attach a policy."""

    def attach(self, attachment: Attachment) -> Self:
        """A loop with one more attachment."""
        raise NotImplementedError

    def early_stop(
        self,
        metric: str,
        *,
        patience: int = 3,
        mode: str = "min",
        min_delta: float = 0.0,
        restore_best: bool = False,
    ) -> Self:
        """End the run when a metric was not better for so many epochs.

        Args:
            metric: its name, as ``"validation_loss"``; what makes it is added before.
            patience: how many epochs without a better value end the run.
            mode: ``"min"`` or ``"max"``, what is better.
            min_delta: by how much a value must be better to count.
            restore_best: at the end put the state of the model of the best epoch back.

        Raises:
            ValueError: an option out of range. When the run starts: nothing makes the metric.
        """
        check_watch("early_stop", mode=mode, patience=patience, min_delta=min_delta)
        return self.attach(
            EarlyStop(
                metric=metric, patience=patience, mode=mode, min_delta=min_delta, restore_best=restore_best
            )
        )

    def reduce_lr_on_plateau(
        self,
        metric: str,
        *,
        factor: float = 0.5,
        patience: int = 3,
        mode: str = "min",
        min_delta: float = 0.0,
        min_lr: float = 0.0,
        cooldown: int = 0,
    ) -> Self:
        """Multiply the learning rate by ``factor`` when a metric was not better for so many epochs.

        A schedule is overridden from then on. The rates of groups go down together.

        Args:
            metric: as in `early_stop`.
            factor: in (0, 1).
            patience: how many epochs without a better value.
            mode: ``"min"`` or ``"max"``, what is better.
            min_delta: by how much a value must be better to count.
            min_lr: no rate goes below it.
            cooldown: how many epochs after a reduction do not count.

        Raises:
            ValueError: an option out of range. When the run starts: nothing makes the metric, or the
                optimizer has no learning rate that can be set.
        """
        who = "reduce_lr_on_plateau"
        check_watch(who, mode=mode, patience=patience, min_delta=min_delta)
        if not 0 < factor < 1:
            raise ValueError(f"{who}: factor must be in (0, 1), got {factor!r}")
        if not 0 <= min_lr < math.inf:
            raise ValueError(f"{who}: min_lr must be at least 0, got {min_lr!r}")
        if cooldown < 0:
            raise ValueError(f"{who}: cooldown must be at least 0, got {cooldown!r}")
        return self.attach(
            Plateau(
                metric=metric,
                factor=factor,
                patience=patience,
                mode=mode,
                min_delta=min_delta,
                min_lr=min_lr,
                cooldown=cooldown,
            )
        )

    def monitor(
        self,
        metric: str,
        action: Callable[[State], Any],
        *,
        patience: int = 1,
        mode: str = "min",
        min_delta: float = 0.0,
    ) -> Self:
        """Call ``action(state)`` each time that a metric was not better for so many epochs.

        Args:
            metric: as in `early_stop`.
            action: a handler; it may return a new state or a control, as in `on`.
            patience: how many epochs without a better value.
            mode: ``"min"`` or ``"max"``, what is better.
            min_delta: by how much a value must be better to count.

        Raises:
            ValueError: an option out of range.
            TypeError: ``action`` is not callable.
        """
        check_watch("monitor", mode=mode, patience=patience, min_delta=min_delta)
        if not callable(action):
            raise TypeError(f"monitor: action must be a function of the state, got {type(action).__name__}")
        return self.attach(
            Monitor(metric=metric, action=action, patience=patience, mode=mode, min_delta=min_delta)
        )

    def terminate_on_nan(self, policy: str = "raise", *, every: int = 50) -> Self:
        """Look now and then whether a loss was not finite; the step that was first is known exactly.

        Args:
            policy: ``"raise"`` a `NonFiniteError`, ``"halt"`` the loop, or ``"rollback"``: go back to the
                state of the last look that was finite and on with the batches that follow, at most three
                times in a row. To leave out the steps themselves, use `skip_nonfinite`.
            every: how many iterations between two looks; the end of an epoch is one too.

        Raises:
            ValueError: an unknown policy, or ``every`` below 1.
        """
        if policy not in POLICIES:
            skip = "; .skip_nonfinite() leaves out the steps themselves" if policy == "skip" else ""
            raise ValueError(
                f"terminate_on_nan: policy must be one of {', '.join(POLICIES)}, got {policy!r}{skip}"
            )
        make_filter(every=every)  # refuses what is no count
        return self.attach(TerminateOnNaN(policy=policy, every=every))

    def max_steps(self, steps: int) -> Self:
        """End the run after so many steps, in mid-epoch too; a resumed run counts the earlier ones.

        Args:
            steps: at least 1.

        Raises:
            ValueError: ``steps`` is below 1.
        """
        if not isinstance(steps, int) or steps < 1:
            raise ValueError(f"max_steps: must be an integer of at least 1, got {steps!r}")
        return self.attach(MaxSteps(steps=steps))

    def time_limit(self, seconds: float) -> Self:
        """End the run after so many seconds, in mid-epoch too; a resumed run counts the earlier ones.

        Args:
            seconds: above 0.

        Raises:
            ValueError: ``seconds`` is not above 0.
        """
        if not seconds > 0:
            raise ValueError(f"time_limit: must be above 0 seconds, got {seconds!r}")
        return self.attach(TimeLimit(seconds=float(seconds)))

    def unfreeze_at(self, epoch: int, *patterns: trees.Pattern) -> Self:
        """Train what the patterns select from the start of an epoch on.

        The optimizer's state of what was trained before is kept, that of the rest starts fresh.

        Args:
            epoch: at least 1.
            *patterns: of paths, as in `ModelState.unfreeze`.

        Raises:
            ValueError: ``epoch`` is below 1, or no patterns.
        """
        if not isinstance(epoch, int) or epoch < 1:
            raise ValueError(f"unfreeze_at: epoch must be an integer of at least 1, got {epoch!r}")
        if not patterns:
            raise ValueError('unfreeze_at: needs patterns of paths, as "encoder/**"')
        return self.attach(UnfreezeAt(epoch=epoch, patterns=patterns))

    def timer(self) -> Self:
        """Add steps/s, examples/s and, where the device tells, its peak memory to the metrics of an epoch."""
        return self.attach(Timer())
