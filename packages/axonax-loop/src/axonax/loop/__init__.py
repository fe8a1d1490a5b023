"""Training loops as immutable values: any step, any model, any Optax optimizer, over any batches.

Begin with `trainer`, `evaluator` or `loop`; add metrics and handlers; `Loop.run` it over data.
"""

from axonax.loop import loss_scale as loss_scale
from axonax.loop._cache import cache as cache
from axonax.loop._events import EVENTS as EVENTS
from axonax.loop._events import HALT_EPOCH as HALT_EPOCH
from axonax.loop._events import HALT_LOOP as HALT_LOOP
from axonax.loop._events import SAVE as SAVE
from axonax.loop._events import Handler as Handler
from axonax.loop._events import control as control
from axonax.loop._factories import evaluator as evaluator
from axonax.loop._factories import loop as loop
from axonax.loop._factories import trainer as trainer
from axonax.loop._filters import Filter as Filter
from axonax.loop._filters import Seconds as Seconds
from axonax.loop._loop import Loop as Loop
from axonax.loop._lr_finder import RateSweep as RateSweep
from axonax.loop._predictor import predictor as predictor
from axonax.loop._state import EvalState as EvalState
from axonax.loop._state import History as History
from axonax.loop._state import PopulationState as PopulationState
from axonax.loop._state import Result as Result
from axonax.loop._state import State as State
from axonax.loop._state import TrainState as TrainState
from axonax.loop.data._arrays import Arrays as Arrays
from axonax.loop.data._arrays import arrays as arrays
from axonax.loop.data._columns import columns as columns
from axonax.loop.data._prefetch import prefetch as prefetch
from axonax.loop.engine._doctor import NonFiniteError as NonFiniteError
from axonax.loop.engine._doctor import RecompileError as RecompileError
from axonax.loop.loss_scale import LossScale as LossScale
from axonax.loop.steps._population import member as member
from axonax.loop.steps._steps import TrainStep as TrainStep
from axonax.loop.steps._steps import eval_step as eval_step
from axonax.loop.steps._steps import train_step as train_step
