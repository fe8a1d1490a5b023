"""The shared ground of Axonax: contracts, trees, plugins, precision, files and stateless layer functions."""

from axonax.tensor import activations as activations
from axonax.tensor import contracts as contracts
from axonax.tensor import files as files
from axonax.tensor import initializers as initializers
from axonax.tensor import layers as layers
from axonax.tensor import names as names
from axonax.tensor import plugins as plugins
from axonax.tensor import precision as precision
from axonax.tensor import trees as trees
from axonax.tensor import updates as updates
from axonax.tensor import weights as weights
from axonax.tensor._version import __version__ as __version__
from axonax.tensor.contracts import Buildable as Buildable
from axonax.tensor.contracts import Closed as Closed
from axonax.tensor.contracts import Closing as Closing
from axonax.tensor.contracts import Logger as Logger
from axonax.tensor.contracts import Loss as Loss
from axonax.tensor.contracts import Metric as Metric
from axonax.tensor.contracts import Model as Model
from axonax.tensor.contracts import ModelState as ModelState
from axonax.tensor.contracts import Optimizer as Optimizer
from axonax.tensor.contracts import Unclosed as Unclosed
