"""Networks of our own. Cards name a factory here as `camserve.nets:efficientnet_lite0`.

efficientnet_lite.py  EfficientNet-Lite
"""

from camserve.nets.efficientnet_lite import (
    EfficientNetLite,
    efficientnet_lite0,
    efficientnet_lite1,
    efficientnet_lite2,
)

__all__ = ["EfficientNetLite", "efficientnet_lite0", "efficientnet_lite1", "efficientnet_lite2"]
