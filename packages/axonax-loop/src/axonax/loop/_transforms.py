"""Methods of `Loop` that add a transform to the step of a trainer."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any, Self

from axonax.loop import loss_scale as scales
from axonax.loop.steps._averages import ema, swa
from axonax.loop.steps._gradients import make_clip
from axonax.loop.steps._recipe import Recipe
from axonax.loop.steps._transforms import Transforms, steps_of
from axonax.tensor.precision import Policy

Build = Callable[[Transforms], tuple[Recipe, Recipe | None]]


class Transforming:
    """Methods of `Loop` for trainers. Their order does not matter: the step has one of its own.

    Scale the loss, differentiate, unscale, look whether all is finite, accumulate, clip, update, average.
    """

    kind: str
    recipe: Recipe
    transforms: Transforms
    build: Build | None
    facts: tuple[tuple[str, object], ...]

    def clip(self, *, norm: float | None = None, value: float | None = None) -> Self:
        """Shrink gradients that are too long, or cut their numbers off.

        Args:
            norm: the greatest norm of all gradients together, in float32; a longer one is shrunk to it.
            value: the greatest absolute value of each number.

        Raises:
            ValueError: not one of the two, not a finite number above 0, or there is a clip already.
            TypeError: the loop is no trainer.
        """
        made = make_clip(norm, value)
        return self._with("clip", str(made), clip=made)

    def accumulate(self, steps: int) -> Self:
        """Take a step of the optimizer after several batches, with the gradient of all as one batch.

        Each batch counts by the weight that its loss is a mean over: the sum of its weights, else the number
        of its values. What is left at the end of an epoch is a step too; what a halted epoch has begun joins
        the next. The optimizer, clips and averages see the big batch alone; ``iteration`` counts batches. A
        ``value_fn`` is of the last batch.

        Args:
            steps: how many batches.

        Raises:
            ValueError: no whole number of at least 1, or batches are accumulated already.
            TypeError: the loop is no trainer.
        """
        return self._with("accumulate", f"{steps_of(steps)} batches a step", accumulate=steps)

    def ema(self, decay: float = 0.999, *, debias: bool = False) -> Self:
        """Keep a running mean of the parameters; validation and evaluators take it.

        ``average = decay * average + (1 - decay) * params`` after each step, in float32 at least.
        ``result.step_state.extras["ema"]`` holds it.

        Args:
            decay: the share of the mean that is kept, in [0, 1).
            debias: begin at 0 and divide by the weight so far; else begin at the first parameters.

        Raises:
            ValueError: ``decay`` lies outside its range, or there is an average already.
            TypeError: the loop is no trainer.
        """
        made = ema(decay, debias)
        return self._with("ema", made.text, average=made)

    def swa(self, *, start: int = 0, every: int = 1) -> Self:
        """Keep the plain mean of the parameters late in the run; validation and evaluators take it.

        Args:
            start: steps of the optimizer before the averaging begins.
            every: steps between two points of the mean; the first is ``start + every``.

        Raises:
            ValueError: a number is no whole one or too low, or there is an average already.
            TypeError: the loop is no trainer.
        """
        made = swa(start, every)
        return self._with("swa", made.text, average=made)

    def loss_scale(self, scale: Any = "dynamic") -> Self:
        """Multiply the loss by a scale and divide the gradients by it, so that float16 holds them.

        A step whose gradients are not finite, NaN included, changes neither parameters, buffers, optimizer
        nor averages; ``result.step_state.extras["skipped"]`` counts such steps.

        Args:
            scale: ``"dynamic"``, ``"static"``, ``"identity"``, a number, or a `LossScale`.

        Raises:
            ValueError: an unknown name, a number that is none above 0, or there is a scale already.
            TypeError: none of these, or the loop is no trainer.
        """
        made = scales.resolve(scale)
        return self._with("loss scale", made.name, loss_scale=made)

    def skip_nonfinite(self) -> Self:
        """Leave out steps whose loss or gradients are not finite: they change nothing but the count.

        ``result.step_state.extras["skipped"]`` holds how many there were and the first iteration; their
        losses are left out of the mean of the epoch.

        Raises:
            ValueError: they are skipped already.
            TypeError: the loop is no trainer.
        """
        return self._with("skip", "steps that are not finite", skip_nonfinite=True)

    def precision(self, policy: Policy) -> Self:
        """Keep the parameters of the model in one dtype, compute in another, answer in a third.

        Args:
            policy: ``axonax.tensor.precision.Policy(compute="bfloat16")``. Buffers keep their dtypes.

        Raises:
            ValueError: there is a policy already, or the trainer has an objective and no model.
            TypeError: no policy, or the loop is no trainer.
        """
        if not isinstance(policy, Policy):
            raise TypeError(
                f"precision: takes an axonax.tensor.precision.Policy, got {type(policy).__name__}"
            )
        return self._with("precision", str(policy), precision=policy)

    def _with(self, label: str, text: str, **one: Any) -> Self:
        """The loop with one more transform."""
        if self.build is None:
            ((name, _),) = one.items()
            raise TypeError(f"{name}: transforms the step of a trainer, and this is no trainer: {self.kind}")
        if self.recipe.members is not None:
            raise ValueError(f"{label}: goes before vmap, which makes a population of what there is")
        transforms = self.transforms.having(**one)
        recipe, evaluation = self.build(transforms)
        changed: Self = replace(  # type: ignore[type-var]
            self,
            transforms=transforms,
            recipe=recipe,
            evaluation=evaluation,
            facts=(*self.facts, (label, text)),
            programs={},
        )
        return changed
