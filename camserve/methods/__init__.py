"""Explanation methods: one paper, one function `Evidence -> map (N, h, w)`, one registry.

To add a method, write the function in a module of this folder and one line in METHODS. The command line's
choices, the HTTP list, the page's menu, the documentation's table and the tests all read this registry, which
itself loads no torch.
"""

from dataclasses import dataclass
from importlib import import_module
from typing import TYPE_CHECKING

from camserve.errors import UnknownName

if TYPE_CHECKING:
    from collections.abc import Callable

    import torch

    from camserve.methods.evidence import Evidence

AUTO = "auto"


@dataclass(frozen=True)
class Method:
    """One entry of the registry.

    name: as users write it. title: as the paper calls it. summary: what the map shows, in one line.
    source: the paper. function: "module.function" in this package. needs: "linear" where only a GAP + linear
    head will do. unit: "logits" where the map's mean plus the bias is the logit. cost: what it runs besides the one
    forward pass that the prediction needs, in words. lattice: "layer" where the map has one value a cell of the layer,
    "input" where it has one a pixel of the network's input. check: a warning that stands beside every map of it.
    """

    name: str
    title: str
    summary: str
    source: str
    function: str
    needs: str = "any head"
    unit: str = "arbitrary"
    cost: str = "no more forwards"
    lattice: str = "layer"
    check: str = ""

    def __call__(self, evidence: "Evidence") -> "torch.Tensor":
        """The raw, signed map, (N, h, w)."""
        module, name = self.function.split(".")
        function: Callable[[Evidence], torch.Tensor] = getattr(import_module(f"camserve.methods.{module}"), name)
        return function(evidence)


METHODS: dict[str, Method] = {
    method.name: method
    for method in (
        Method(
            "cam", "CAM", "what each place adds to the logit; exact", "Zhou et al., CVPR 2016, arXiv:1512.04150",
            "weighted.cam", needs="linear head", unit="logits",
        ),
        Method(
            "gradcam", "Grad-CAM", "feature maps weighted by their mean gradient",
            "Selvaraju et al., ICCV 2017, arXiv:1610.02391", "weighted.gradcam",
        ),
        Method(
            "gradcam++", "Grad-CAM++", "as Grad-CAM, with weights that count each place where a feature fires",
            "Chattopadhyay et al., WACV 2018, arXiv:1710.11063", "weighted.gradcam_plus_plus",
        ),
        Method(
            "xgradcam", "XGrad-CAM", "as Grad-CAM, gradients weighted by the activations",
            "Fu et al., BMVC 2020, arXiv:2008.02312", "weighted.xgradcam",
        ),
        Method(
            "hirescam", "HiResCAM", "gradient times activation at every place",
            "Draelos & Carin 2020, arXiv:2011.08891", "local.hirescam",
        ),
        Method(
            "layercam", "LayerCAM", "positive gradient times activation at every place; for early layers",
            "Jiang et al., IEEE TIP 2021, doi:10.1109/TIP.2021.3089943", "local.layercam",
        ),
    )
}  # fmt: skip


def find_method(name: str) -> Method:
    """The method of that name. Raises UnknownName with close matches."""
    if name not in METHODS:
        raise UnknownName("method", name, [AUTO, *METHODS])
    return METHODS[name]
