"""Optimizers for anything: Optax transformations whose hyperparameters can be read and set."""

from axonax.optim._adam import adabelief as adabelief
from axonax.optim._adam import adam as adam
from axonax.optim._adam import adamw as adamw
from axonax.optim._adam import radam as radam
from axonax.optim._adam import yogi as yogi
from axonax.optim._adaptive import adagrad as adagrad
from axonax.optim._adaptive import rmsprop as rmsprop
from axonax.optim._minimize import minimize as minimize
from axonax.optim._result import Result as Result
from axonax.optim._result import Tolerance as Tolerance
from axonax.optim._schedules import constant as constant
from axonax.optim._schedules import cosine_decay as cosine_decay
from axonax.optim._schedules import exponential_decay as exponential_decay
from axonax.optim._schedules import linear_decay as linear_decay
from axonax.optim._schedules import warmup as warmup
from axonax.optim._sgd import noisy_sgd as noisy_sgd
from axonax.optim._sgd import sgd as sgd
from axonax.optim._trust import fromage as fromage
from axonax.optim._trust import lamb as lamb
from axonax.optim._version import __version__ as __version__
from axonax.tensor.updates import apply_updates as apply_updates
from axonax.tensor.updates import hyperparams as hyperparams
from axonax.tensor.updates import with_hyperparams as with_hyperparams
