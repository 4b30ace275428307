"""How simple is a map? Heat (H, W), its positive part, NaN as none. More is not better in itself."""

import numpy as np

from camserve.metrics.heat import Float, positive


def sparseness(heat: Float) -> float:
    """The Gini index of the heat: 0 all equal or none, 1 - 1/n one pixel of n. Chalasani et al., ICML 2020."""
    rising = np.sort(positive(heat), axis=None)
    count = rising.size
    if not rising[-1] > 0:
        return 0.0
    return float((2 * np.arange(1, count + 1) - count - 1) @ rising / (count * rising.sum()))


def entropy(heat: Float) -> float:
    """The entropy of the heat as a distribution over n pixels, nats, 0..ln n; ln n without heat. Bhatt et al. 2020."""
    part = positive(heat)
    if not part.any():
        return float(np.log(part.size))
    share = part[part > 0] / part.sum()
    return float(-(share * np.log(share)).sum() + 0.0)
