"""How simple is a map? Heat (H, W), its positive part, NaN as 0. A higher value alone is not better."""

import numpy as np

from camserve.metrics.heat import Float, positive


def sparseness(heat: Float) -> float:
    """Return the Gini index: 0 for equal or no heat, 1 - 1/n for one hot pixel of n. Chalasani et al., ICML 2020."""
    rising = np.sort(positive(heat), axis=None)
    count = rising.size
    if not rising[-1] > 0:
        return 0.0
    return float((2 * np.arange(1, count + 1) - count - 1) @ rising / (count * rising.sum()))


def entropy(heat: Float) -> float:
    """Return the entropy of the heat over n pixels, in nats, 0..ln n; ln n without heat. Bhatt et al. 2020."""
    part = positive(heat)
    if not part.any():
        return float(np.log(part.size))
    share = part[part > 0] / part.sum()
    return float(-(share * np.log(share)).sum() + 0.0)
