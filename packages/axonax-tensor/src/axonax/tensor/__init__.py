"""The shared ground of Axonax: contracts, trees, plugins, precision, files and stateless layer functions."""

from axonax.tensor._version import __version__ as __version__
from axonax.tensor.contracts import Buildable as Buildable
from axonax.tensor.contracts import Logger as Logger
from axonax.tensor.contracts import Loss as Loss
from axonax.tensor.contracts import Metric as Metric
from axonax.tensor.contracts import Model as Model
from axonax.tensor.contracts import ModelState as ModelState
from axonax.tensor.contracts import Optimizer as Optimizer
