"""Explanation methods: one paper, one function `Evidence -> map (N, h, w)`, one registry.

To add a method, write the function in a module of this folder, one line in FAMILIES and its note in method_notes.py.
The command line's choices, the HTTP list, the page's menu, the documentation and the tests all read this registry,
which itself loads no torch.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from enum import StrEnum
from typing import Literal

from camserve.catalogue.head_kinds import HeadKind
from camserve.catalogue.method_costs import NOTHING, Cost, Each
from camserve.catalogue.method_notes import NOTES, Note
from camserve.errors import UnknownName

AUTO = "auto"
# In a list of methods: every one.
EVERY = "all"

# What of a class is explained: its logit, or the logarithm of its probability, which counts what speaks for others.
QUANTITIES = ("logit", "log-softmax")

EDGES = (
    "this method fails the sanity checks of Adebayo et al. (2018): it draws much the same edges whatever the network "
    "has learned"
)


class Needs(StrEnum):
    """What a network must have for a method to go with it. A linear head: global average pooling, then linear."""

    ANY_HEAD = "any head"
    LINEAR_HEAD = "linear head"
    RELUS = "ReLUs"
    ATTENTION = "attention"


@dataclass(frozen=True)
class Method:
    """One entry of the registry.

    name: as users write it. title: as the paper calls it. summary: what the map shows, in one line.
    source: the paper. function: "module.function" in this package. unit: "logits" where the map's mean plus the
    bias is the logit. cost: what it runs besides the one forward pass that the prediction needs. lattice: whether the
    map has one value a cell of the layer, or one a pixel of the network's input. check: a warning that stands beside
    every map of it. scored: whether it asks for the target of logits, or of class probabilities. at_layer: whether the
    layer that was chosen makes a difference; of_class: whether the class does.
    """

    name: str
    title: str
    summary: str
    source: str
    function: str
    needs: Needs = Needs.ANY_HEAD
    unit: Literal["logits", "arbitrary"] = "arbitrary"
    cost: Cost = NOTHING
    lattice: Literal["layer", "input"] = "layer"
    check: str = ""
    scored: Literal["logit", "probability"] = "logit"
    at_layer: bool = True
    of_class: bool = True

    @property
    def note(self) -> Note:
        """Formula, use and failings, in words."""
        return NOTES[self.name]

    def described(self) -> dict[str, object]:
        """All that people may want to know, for JSON."""
        facts = {**vars(self), "cost": str(self.cost), **vars(self.note)}
        return {key: value for key, value in facts.items() if key != "function"}


FAMILIES: dict[str, tuple[Method, ...]] = {
    "Weighted feature maps": (
        Method(
            "cam", "CAM", "what each place adds to the logit; exact", "Zhou et al., CVPR 2016, arXiv:1512.04150",
            "weighted.cam", needs=Needs.LINEAR_HEAD, unit="logits",
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
            "smoothgradcam++", "Smooth Grad-CAM++", "as Grad-CAM++, gradients averaged over noisy copies of the image",
            "Omeiza et al. 2019, arXiv:1908.01224", "weighted.smoothgradcam_plus_plus",
            cost=Cost(8, "{n} forwards and backwards of the head", free_under=HeadKind.LINEAR),
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
        Method(
            "elementwise", "Element-wise Grad-CAM", "gradient times activation, positive channel by channel",
            "Gildenblat 2021, pytorch-grad-cam", "local.elementwise",
        ),
        Method(
            "shapleycam", "Shapley-CAM", "as Grad-CAM, less half of what channels add only together",
            "Cai 2025, arXiv:2501.06261", "weighted.shapleycam", cost=Cost(2, "two backwards through the head"),
        ),
        Method(
            "finercam", "Finer-CAM", "what sets the class apart from the three most like it",
            "Zhang et al., CVPR 2025, arXiv:2501.11309", "weighted.finercam",
        ),
        Method(
            "refinecam", "Refine-CAM", "Grad-CAM++ of every stage, multiplied: fine edges where the class is",
            "Domeniconi et al. 2026, arXiv:2605.14641", "stages.refinecam",
            cost=Cost(1, "a forward and a backward for each stage"), lattice="input",
        ),
    ),
    "Changing the layer": (
        Method(
            "ablationcam", "Ablation-CAM", "feature maps weighted by how far the score falls without each",
            "Desai & Ramaswamy, WACV 2020, doi:10.1109/WACV45572.2020.9093360", "ablation.ablationcam",
            cost=Cost(1, "{n} forwards of the head, one a channel", Each.CHANNEL, free_under=HeadKind.LINEAR),
        ),
        Method(
            "reciprocam", "Recipro-CAM", "the score that each cell would reach alone",
            "Byun & Lee 2022, arXiv:2209.14074", "ablation.reciprocam",
            cost=Cost(1, "{n} forwards of the head, one a cell", Each.CELL, free_under=HeadKind.LINEAR),
        ),
    ),
    "Changing the image": (
        Method(
            "groupcam", "Group-CAM", "32 groups of feature maps, weighted by the probability seen through each",
            "Zhang et al. 2021, arXiv:2103.13859", "masking.groupcam",
            cost=Cost(33, "{n} forwards and the head's gradient"), scored="probability",
        ),
        Method(
            "scorecam", "Score-CAM", "feature maps weighted by the score of the image seen through each",
            "Wang et al., CVPR workshops 2020, arXiv:1910.01279", "masking.scorecam",
            cost=Cost(1, "{n} forwards, one a channel", Each.CHANNEL),
        ),
        Method(
            "iscam", "IS-CAM", "as Score-CAM, averaged while the masked image fades in",
            "Naidu et al. 2020, arXiv:2010.03023", "masking.iscam", cost=Cost(10, "{n} forwards", Each.CHANNEL),
        ),
        Method(
            "sscam", "SS-CAM", "as Score-CAM, averaged over noise on the masks",
            "Wang et al. 2020, arXiv:2006.14255", "masking.sscam", cost=Cost(35, "{n} forwards", Each.CHANNEL),
        ),
        Method(
            "opticam", "Opti-CAM", "the mixture of feature maps through which the image scores highest",
            "Zhang et al., CVIU 2024, arXiv:2301.07002", "masking.opticam",
            cost=Cost(100, "{n} forwards with gradients of the whole network"),
        ),
        Method(
            "polycam", "Poly-CAM", "the layer's map sharpened by the maps of finer layers, seen through their features",
            "Englebert et al., ICPR 2022, arXiv:2204.13359", "masking.polycam",
            cost=Cost(2, "{n} forwards for each channel of every stage"), lattice="input", scored="probability",
        ),
        Method(
            "occlusion", "Occlusion", "how far the probability falls when a window over the place is hidden",
            "Zeiler & Fergus, ECCV 2014, arXiv:1311.2901", "occluding.occlusion",
            cost=Cost(170, "at most {n} forwards"), lattice="input", scored="probability", at_layer=False,
        ),
        Method(
            "rise", "RISE", "pixels shown whenever the class is probable, under 1000 random masks",
            "Petsiuk et al., BMVC 2018, arXiv:1806.07421", "occluding.rise", cost=Cost(1000, "{n} forwards"),
            lattice="input", scored="probability", at_layer=False,
        ),
    ),
    "Gradients of the pixels": (
        Method(
            "integratedgradients", "Integrated gradients", "what each pixel adds to the score, from mean grey on",
            "Sundararajan et al., ICML 2017, arXiv:1703.01365", "pixel_gradients.integratedgradients",
            cost=Cost(32, "{n} forwards and backwards of the network"), lattice="input", at_layer=False,
        ),
        Method(
            "fullgrad", "FullGrad", "the score shared out between the pixels and every layer's biases",
            "Srinivas & Fleuret, NeurIPS 2019, arXiv:1905.00780", "pixel_gradients.fullgrad",
            cost=Cost(1, "one forward and backward of the network, and a forward for each stage"), lattice="input",
            at_layer=False,
        ),
        Method(
            "guidedbackprop", "Guided backpropagation", "edges that excite the network; says little about the class",
            "Springenberg et al. 2015, arXiv:1412.6806", "pixel_gradients.guidedbackprop", needs=Needs.RELUS,
            cost=Cost(1, "one forward and backward of the network"), lattice="input", check=EDGES, at_layer=False,
        ),
        Method(
            "guidedgradcam", "Guided Grad-CAM", "edges of guided backpropagation where Grad-CAM is positive",
            "Selvaraju et al., ICCV 2017, arXiv:1610.02391", "pixel_gradients.guidedgradcam", needs=Needs.RELUS,
            cost=Cost(1, "one forward and backward of the network"), lattice="input", check=EDGES,
        ),
    ),
    "Attention": (
        Method(
            "legrad", "LeGrad", "where more attention would raise the score; for transformers",
            "Bousselham et al., ICCV 2025, arXiv:2404.03214", "attention.legrad", needs=Needs.ATTENTION,
            cost=Cost(
                2,
                "two forwards, and a backward for every block; a forward for every block where torch.fx sees no graph",
            ),
            at_layer=False,
        ),
        Method(
            "attentionrollout", "Attention rollout", "what the class token attends to; for transformers, any class",
            "Abnar & Zuidema, ACL 2020, arXiv:2005.00928", "attention.attentionrollout", needs=Needs.ATTENTION,
            cost=Cost(1, "one forward"), at_layer=False,
            of_class=False,
        ),
    ),
    "Features alone": (
        Method(
            "eigencam", "Eigen-CAM", "the main pattern of the feature maps, whatever the class",
            "Muhammad & Yeasin, IJCNN 2020, arXiv:2008.00299", "decomposition.eigencam",
            cost=Cost(1, "one singular value decomposition"),
            of_class=False,
        ),
        Method(
            "eigengradcam", "EigenGrad-CAM", "the main pattern of gradient times activation",
            "Gildenblat 2021, pytorch-grad-cam", "decomposition.eigengradcam",
            cost=Cost(1, "one singular value decomposition"),
        ),
        Method(
            "kpcacam", "KPCA-CAM", "the main pattern of the feature maps, curved ones too, whatever the class",
            "Karmani et al. 2024, arXiv:2410.00267", "decomposition.kpcacam",
            cost=Cost(None, "eigenvectors of a cells x cells matrix"),
            of_class=False,
        ),
        Method(
            "fem", "FEM", "where features fire far above their mean, whatever the class",
            "Fuad et al., IPTA 2020, doi:10.1109/IPTA50016.2020.9286629", "decomposition.fem",
            of_class=False,
        ),
    ),
    "Baseline": (
        Method(
            "random", "Random", "noise: what every other method has to beat", "none", "occluding.random",
            check="this map is random on purpose: it explains nothing, and is here to measure others against",
            at_layer=False,
            of_class=False,
        ),
    ),
}  # fmt: skip
METHODS: dict[str, Method] = {method.name: method for family in FAMILIES.values() for method in family}


def find_method(name: str) -> Method:
    """The method of that name. Raises UnknownName with close matches."""
    if name not in METHODS:
        raise UnknownName("method", name, [AUTO, *METHODS])
    return METHODS[name]


def parse_methods(texts: Iterable[str]) -> tuple[str, ...]:
    """The methods that "cam,rise", "all" and so on mean, families together. Raises UnknownName with close matches."""
    names = [name.strip() for text in texts for name in text.split(",")]
    for name in names:
        if name not in (AUTO, EVERY):
            find_method(name)
    if EVERY in names:
        return tuple(METHODS)
    return tuple(sorted(dict.fromkeys(names), key=[AUTO, *METHODS].index))


def family_of(name: str) -> str:
    """The family of a method; of "auto" the word itself."""
    return next((family for family, methods in FAMILIES.items() if name in {m.name for m in methods}), "Automatic")
