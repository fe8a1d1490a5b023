"""Streaming metrics: factories of `axonax.tensor.contracts.Metric`, exact over the whole pass.

Whatever the batches, their order and the parts that are merged, the value is that of all examples at once.
"""

from axonax.functional.metrics._accuracy import accuracy as accuracy
from axonax.functional.metrics._agreement import cohen_kappa as cohen_kappa
from axonax.functional.metrics._agreement import confusion_matrix as confusion_matrix
from axonax.functional.metrics._agreement import matthews_correlation as matthews_correlation
from axonax.functional.metrics._cells import false_negatives as false_negatives
from axonax.functional.metrics._cells import false_positives as false_positives
from axonax.functional.metrics._cells import true_negatives as true_negatives
from axonax.functional.metrics._cells import true_positives as true_positives
from axonax.functional.metrics._precision_recall import dice as dice
from axonax.functional.metrics._precision_recall import f1_score as f1_score
from axonax.functional.metrics._precision_recall import f_beta as f_beta
from axonax.functional.metrics._precision_recall import iou as iou
from axonax.functional.metrics._precision_recall import precision as precision
from axonax.functional.metrics._precision_recall import recall as recall
from axonax.functional.metrics._precision_recall import sensitivity as sensitivity
from axonax.functional.metrics._precision_recall import specificity as specificity
from axonax.functional.metrics._shares import exact_match as exact_match
from axonax.functional.metrics._shares import hamming as hamming
from axonax.functional.metrics._shares import top_k_accuracy as top_k_accuracy
