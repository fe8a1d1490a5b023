"""Rank correlation from bins: near the exact one by the bound that it documents, and nearer with more."""

import jax.numpy as jnp
import numpy as np
import pytest
from scipy.stats import spearmanr

from axonax.functional import metrics

RANDOM = np.random.default_rng(29)


def spread(kind, strength):
    """Pairs of distinct numbers in [0, 1] that go together to some degree."""
    true = RANDOM.random(4000)
    pred = strength * true + (1 - abs(strength)) * RANDOM.random(4000)
    pred = (pred - pred.min()) / np.ptp(pred)
    return (true, pred) if kind == "even" else (true**3, pred**2)


@pytest.mark.parametrize("kind", ["even", "crowded"])
@pytest.mark.parametrize("strength", [-0.9, 0.1, 0.6, 1.0])
@pytest.mark.parametrize("bins", [8, 64, 512])
def test_bins_are_off_by_the_bound_at_most(kind, strength, bins):
    true, pred = (each.astype(np.float32) for each in spread(kind, strength))
    places = [np.minimum((each * bins).astype(int), bins - 1) for each in (true, pred)]
    share = max(np.bincount(each).max() for each in places) / len(true)
    found = float(metrics.spearman(bins=bins)(true, pred))
    assert abs(found - spearmanr(true, pred)[0]) <= min(2 * share / (1 - share), 2) + 1e-6
    assert found == pytest.approx(spearmanr(*places)[0], abs=2e-6)


def test_bins_count_without_end_and_know_no_nan():
    metric = metrics.spearman(bins=4)
    true, pred = np.float32([0.1, 0.4, 0.9]), np.float32([0.9, 0.6, 0.2])
    assert float(metric(true, pred)) == pytest.approx(-1)
    assert float(metric(true + 10, pred)) == 0
    assert np.isnan(metric(jnp.array([0.1, jnp.nan]), jnp.array([0.1, 0.2])))
