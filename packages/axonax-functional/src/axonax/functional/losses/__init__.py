"""Losses: ``loss(y_true, y_pred, *, reduction="none", weights=None, where=None, ...)``.

One value an example with ``reduction="none"``, reduced over the class or feature dimension alone. Shapes
agree exactly, nothing is broadcast. "mean" divides by the sum of the weights and is 0 with gradient 0 where
nothing is left. Computed in float32 at least; "none" comes back in the promoted dtype of the arguments.
"""

from axonax.functional.losses._binary_cross_entropy import binary_cross_entropy as binary_cross_entropy
from axonax.functional.losses._categorical_cross_entropy import (
    categorical_cross_entropy as categorical_cross_entropy,
)
from axonax.functional.losses._combined import label_smoothing as label_smoothing
from axonax.functional.losses._combined import weighted as weighted
from axonax.functional.losses._ctc import (
    connectionist_temporal_classification as connectionist_temporal_classification,
)
from axonax.functional.losses._divergence import js_divergence as js_divergence
from axonax.functional.losses._divergence import kl_divergence as kl_divergence
from axonax.functional.losses._focal import focal as focal
from axonax.functional.losses._focal import poly as poly
from axonax.functional.losses._likelihood import gaussian_kl as gaussian_kl
from axonax.functional.losses._likelihood import gaussian_nll as gaussian_nll
from axonax.functional.losses._likelihood import poisson as poisson
from axonax.functional.losses._linear_cross_entropy import linear_cross_entropy as linear_cross_entropy
from axonax.functional.losses._margin import categorical_hinge as categorical_hinge
from axonax.functional.losses._margin import hinge as hinge
from axonax.functional.losses._margin import hinge_embedding as hinge_embedding
from axonax.functional.losses._margin import margin_ranking as margin_ranking
from axonax.functional.losses._margin import multilabel_soft_margin as multilabel_soft_margin
from axonax.functional.losses._margin import soft_margin as soft_margin
from axonax.functional.losses._margin import squared_hinge as squared_hinge
from axonax.functional.losses._overlap import dice as dice
from axonax.functional.losses._overlap import iou as iou
from axonax.functional.losses._overlap import tversky as tversky
from axonax.functional.losses._regression import mean_absolute_error as mean_absolute_error
from axonax.functional.losses._regression import (
    mean_absolute_percentage_error as mean_absolute_percentage_error,
)
from axonax.functional.losses._regression import mean_squared_error as mean_squared_error
from axonax.functional.losses._regression import (
    mean_squared_logarithmic_error as mean_squared_logarithmic_error,
)
from axonax.functional.losses._robust import huber as huber
from axonax.functional.losses._robust import log_cosh as log_cosh
from axonax.functional.losses._robust import quantile as quantile
from axonax.functional.losses._similarity import contrastive as contrastive
from axonax.functional.losses._similarity import cosine_similarity as cosine_similarity
from axonax.functional.losses._similarity import info_nce as info_nce
from axonax.functional.losses._similarity import triplet_margin as triplet_margin
from axonax.functional.losses._z_loss import z_loss as z_loss
