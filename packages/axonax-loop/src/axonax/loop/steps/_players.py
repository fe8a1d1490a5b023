"""Several players that train in turn within one step, each on an objective of its own: a GAN and the like."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import jax
import jax.numpy as jnp

from axonax.loop._state import TrainState
from axonax.loop.data._batch import rows
from axonax.loop.steps._descent import Descent, Point
from axonax.loop.steps._leaves import divide
from axonax.loop.steps._mean import Mean
from axonax.loop.steps._model import buffers_of, trained, with_buffers, with_trained
from axonax.loop.steps._steps import Objective, Outputs, TrainStep, loss_outputs
from axonax.tensor import names
from axonax.tensor.updates import evaluation_params

PyTree = Any


def check_players(objectives: Mapping[str, Any], optimizers: Any) -> None:
    """Raise unless each player has an objective and an optimizer.

    Raises:
        ValueError: there are none, or one has no optimizer, or an optimizer no player.
        TypeError: the optimizers are no dict, or an objective is no function.
    """
    if not objectives:
        raise ValueError("trainer: a dict of objectives needs at least one player")
    if not isinstance(optimizers, Mapping):
        raise TypeError(
            "trainer: a dict of objectives goes with a dict of optimizers by player, "
            f"got {type(optimizers).__name__}"
        )
    for player, each in objectives.items():
        if not callable(each):
            raise TypeError(f'trainer: objective of "{player}" must be a function, got {type(each).__name__}')
        names.lookup(optimizers, player, "player among the optimizers,")
    for player in optimizers:
        names.lookup(objectives, player, "player among the objectives,")


def players_step(
    objectives: Mapping[str, Objective],
    init: Callable[[Any, Any], PyTree],
    descents: Mapping[str, Descent],
) -> TrainStep:
    """The step in which the players move one after the other, each seeing where the others are by then."""

    def start(key: jax.Array, batch: Any, state: PyTree = None) -> TrainState:
        if isinstance(state, TrainState):
            known = state.extras or {}
            extras = {
                player: descent.extras(trained(state.model_state[player]), known.get(player, ()))
                for player, descent in descents.items()
            }
            return state.replace(extras=extras)
        init_key, dropout_key = jax.random.fold_in(key, 0), jax.random.fold_in(key, 1)
        states = dict(_checked(init(init_key, batch) if state is None else state, objectives))
        first = {player: descent.init(trained(states[player])) for player, descent in descents.items()}
        return TrainState(
            model_state=states,
            opt_state={player: opt_state for player, (opt_state, _) in first.items()},
            iteration=jnp.zeros((), jnp.int32),
            key=dropout_key,
            extras={player: extras for player, (_, extras) in first.items()},
        )

    def step(state: TrainState, batch: Any, last: Any = False) -> tuple[TrainState, Outputs]:
        if not isinstance(state, TrainState):
            raise TypeError(f"a training step takes (state, batch), got {type(state).__name__} as the state")
        key = jax.random.fold_in(state.key, state.iteration)
        found = dict[str, Outputs]()
        for number, (player, objective) in enumerate(objectives.items()):
            value = _value(objective, player, state.model_state, batch, jax.random.fold_in(key, number))
            own = state.model_state[player]
            point = Point(trained(own), buffers_of(own), state.opt_state[player], state.extras[player])
            point, found[player] = descents[player].step(value, point, last=last, iteration=state.iteration)
            own = with_buffers(with_trained(own, point.params), point.buffers)
            state = state.replace(
                model_state={**state.model_state, player: own},
                opt_state={**state.opt_state, player: point.opt_state},
                extras={**state.extras, player: point.extras},
            )
        return state.replace(iteration=state.iteration + 1), joined_outputs(found, rows(batch))

    return TrainStep(start, step)


def players_evaluation(objectives: Mapping[str, Objective]) -> Callable[[PyTree, Any], Outputs]:
    """The evaluation step: the losses of all players where they are."""

    def step(states: PyTree, batch: Any) -> Outputs:
        found = {}
        for player, objective in objectives.items():
            _, (found[player], _) = objective(states, batch, False, None)
        return joined_outputs(found, rows(batch))

    return step


def players_averaged(state: TrainState) -> PyTree:
    """The states of the players with the parameters to evaluate."""

    def one(player: str, own: PyTree) -> PyTree:
        if player not in state.opt_state:
            return own
        params = trained(own)
        division = divide(params)
        kept = (state.opt_state[player], state.extras[player])
        return with_trained(own, division.whole(evaluation_params(kept, division.free(params))))

    return {player: one(player, own) for player, own in state.model_state.items()}


def joined_outputs(found: Mapping[str, Outputs], count: int) -> Outputs:
    """The outputs of all players, of one name those of the last, and the sum of their losses."""
    outputs: Outputs = {}
    parts = {}
    for player, each in found.items():
        parts[f"loss_{player}"] = Mean(each["loss"], each["loss_total"], each["loss_weight"])
        outputs |= {
            name: value for name, value in each.items() if not name.startswith("loss") and name != "buffers"
        }
    total: Any = sum(each.value for each in parts.values())
    return {**outputs, **loss_outputs(Mean(total, total * count, count), parts)}


def _value(
    objective: Objective, player: str, states: PyTree, batch: Any, key: Any
) -> Callable[[PyTree], tuple[Any, tuple[Outputs, PyTree]]]:
    """The loss of one player as a function of its own parameters."""

    def value(params: PyTree) -> tuple[Any, tuple[Outputs, PyTree]]:
        mine = {**states, player: with_trained(states[player], params)}
        loss, (outputs, _) = objective(mine, batch, True, key)
        buffers = outputs.pop("buffers", buffers_of(states[player]))
        return loss, (outputs, buffers)

    return value


def _checked(states: PyTree, players: Mapping[str, Any]) -> Mapping[str, PyTree]:
    """The states of the players, a dict with the same names.

    Raises:
        ValueError: a player is missing, or one is too many.
        TypeError: no dict.
    """
    if not isinstance(states, Mapping):
        raise TypeError(
            f"trainer: with several objectives init must return a dict by player, got {type(states).__name__}"
        )
    for player in players:
        names.lookup(states, player, "player in what init returns,")
    return states
