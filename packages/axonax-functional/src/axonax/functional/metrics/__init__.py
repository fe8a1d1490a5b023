"""Streaming metrics: factories of `axonax.tensor.contracts.Metric`, exact over the whole pass.

Whatever the batches, their order and the parts that are merged, the value is that of all examples at once.
"""

from axonax.functional.metrics._accuracy import accuracy as accuracy
from axonax.functional.metrics._aggregators import from_function as from_function
from axonax.functional.metrics._aggregators import maximum as maximum
from axonax.functional.metrics._aggregators import mean as mean
from axonax.functional.metrics._aggregators import minimum as minimum
from axonax.functional.metrics._aggregators import standard_deviation as standard_deviation
from axonax.functional.metrics._aggregators import sum as sum
from axonax.functional.metrics._agreement import cohen_kappa as cohen_kappa
from axonax.functional.metrics._agreement import confusion_matrix as confusion_matrix
from axonax.functional.metrics._agreement import matthews_correlation as matthews_correlation
from axonax.functional.metrics._calibration import calibration_error as calibration_error
from axonax.functional.metrics._cells import false_negatives as false_negatives
from axonax.functional.metrics._cells import false_positives as false_positives
from axonax.functional.metrics._cells import true_negatives as true_negatives
from axonax.functional.metrics._cells import true_positives as true_positives
from axonax.functional.metrics._combinators import collection as collection
from axonax.functional.metrics._combinators import per_class as per_class
from axonax.functional.metrics._errors import cosine_similarity as cosine_similarity
from axonax.functional.metrics._errors import entropy as entropy
from axonax.functional.metrics._errors import mean_absolute_error as mean_absolute_error
from axonax.functional.metrics._errors import mean_absolute_percentage_error as mean_absolute_percentage_error
from axonax.functional.metrics._errors import mean_squared_error as mean_squared_error
from axonax.functional.metrics._errors import perplexity as perplexity
from axonax.functional.metrics._errors import root_mean_squared_error as root_mean_squared_error
from axonax.functional.metrics._precision_recall import dice as dice
from axonax.functional.metrics._precision_recall import f1_score as f1_score
from axonax.functional.metrics._precision_recall import f_beta as f_beta
from axonax.functional.metrics._precision_recall import iou as iou
from axonax.functional.metrics._precision_recall import precision as precision
from axonax.functional.metrics._precision_recall import recall as recall
from axonax.functional.metrics._precision_recall import sensitivity as sensitivity
from axonax.functional.metrics._precision_recall import specificity as specificity
from axonax.functional.metrics._ranking import average_precision as average_precision
from axonax.functional.metrics._ranking import precision_at_recall as precision_at_recall
from axonax.functional.metrics._ranking import recall_at_precision as recall_at_precision
from axonax.functional.metrics._ranking import roc_auc as roc_auc
from axonax.functional.metrics._running import exponential_mean as exponential_mean
from axonax.functional.metrics._running import running_mean as running_mean
from axonax.functional.metrics._shares import exact_match as exact_match
from axonax.functional.metrics._shares import hamming as hamming
from axonax.functional.metrics._shares import top_k_accuracy as top_k_accuracy
from axonax.functional.metrics._spearman import spearman as spearman
from axonax.functional.metrics._variation import explained_variance as explained_variance
from axonax.functional.metrics._variation import pearson as pearson
from axonax.functional.metrics._variation import r2_score as r2_score
