"""Explanation methods: one paper, one function `Evidence -> map (N, h, w)`, one registry.

To add a method, write the function in a module of methods/, and its entry in FAMILIES; `Method` says what each field
means. The command line's choices, the HTTP list, the page's menu, the documentation and the tests all read this
registry, which itself loads no torch. How a method is tested: see CONTRIBUTING.md.
"""

from collections.abc import Iterable

from camserve.catalogue.head_kinds import HeadKind
from camserve.catalogue.method import Cost, Each, Method, Needs, Note, Runs
from camserve.errors import OptionError, UnknownName, shown

AUTO = "auto"
# In a list of methods: every one.
EVERY = "all"
# Seconds that each method may take where all are asked for. All but a few take less.
PATIENCE = 60.0

# What of a class is explained: its logit; the logarithm of its probability, which counts what speaks for others; or
# its logit less the mean of all others'.
QUANTITIES = ("logit", "log-softmax", "contrast")

EDGES = (
    "this method fails the sanity checks of Adebayo et al. (2018): it draws much the same edges whatever the network "
    "has learned"
)

FAMILIES: dict[str, tuple[Method, ...]] = {
    "Weighted feature maps": (
        Method(
            "cam", "CAM", "what each place adds to the logit; exact", "Zhou et al., CVPR 2016, arXiv:1512.04150",
            "weighted.cam", needs=Needs.LINEAR_HEAD, unit="logits",
            note=Note(
                "sum_k W_ck A_k",
                "whenever the head allows it: the mean of the map plus the bias is the logit, with nothing left over",
                "needs global average pooling and one linear layer, or a class map, right after the layer",
            ),
        ),
        Method(
            "affinitycam", "Affinity CAM", "CAM shared among places that look alike to the layer; still exact",
            "Wang et al., CVPR 2020, arXiv:2004.04581", "affinity.affinitycam", needs=Needs.LINEAR_HEAD, unit="logits",
            note=Note(
                "P P CAM, P_uv = sum_k a_k(u) a_k(v) / sum_w a_k(w), a_k = ReLU(A_k) / sum_j ReLU(A_j)",
                "the whole object, not its most telling part alone: nearer to boxes around objects than cam, at the "
                "same price; its mean plus the bias is the logit, too",
                "things that look alike share what one of them gave; a layer of few channels, or one that is the "
                "class map itself, tells too little apart; needs a head as cam does",
            ),
        ),
        Method(
            "gradcam", "Grad-CAM", "feature maps weighted by their mean gradient",
            "Selvaraju et al., ICCV 2017, arXiv:1610.02391", "weighted.gradcam",
            note=Note(
                "sum_k mean(g_k) A_k",
                "any other head, or a layer further up; under a linear head it is cam divided by the number of cells",
                "one weight a channel: where gradients differ from place to place it also marks what the model did "
                "not use",
            ),
        ),
        Method(
            "gradcam++", "Grad-CAM++", "as Grad-CAM, with weights that count each place where a feature fires",
            "Chattopadhyay et al., WACV 2018, arXiv:1710.11063", "weighted.gradcam_plus_plus",
            note=Note(
                "sum_k w_k A_k, w_k = sum_xy ReLU(g_k) / (2 + g_k sum_xy A_k)",
                "several instances of the class in one image: it weights large and small ones more alike",
                "sees positive evidence only, so what speaks against the class cannot take anything away",
            ),
        ),
        Method(
            "smoothgradcam++", "Smooth Grad-CAM++", "as Grad-CAM++, gradients averaged over noisy copies of the image",
            "Omeiza et al. 2019, arXiv:1908.01224", "weighted.smoothgradcam_plus_plus",
            cost=Cost(8, "{n} forwards and backwards of the head", free_under=HeadKind.LINEAR, of=Runs.HEAD),
            note=Note(
                "sum_k w_k A_k, w_k = sum_xy E[g_k^2] ReLU(E[g_k]) / (2 E[g_k^2] + E[g_k^3] sum_xy A_k), E over 8 "
                "noisy images",
                "gradients that are noisy, as where the layer behaves far from linearly between here and the logits",
                "under a linear head it is gradcam++ itself; otherwise as gradcam++",
            ),
        ),
        Method(
            "xgradcam", "XGrad-CAM", "as Grad-CAM, gradients weighted by the activations",
            "Fu et al., BMVC 2020, arXiv:2008.02312", "weighted.xgradcam",
            note=Note(
                "sum_k w_k A_k, w_k = sum_xy g_k A_k / sum_xy A_k",
                "heads of piecewise linear layers: the map's sum is the logit less what biases add",
                "as gradcam; a channel whose activations sum to nearly nothing is left to chance",
            ),
        ),
        Method(
            "hirescam", "HiResCAM", "gradient times activation at every place",
            "Draelos & Carin 2020, arXiv:2011.08891", "local.hirescam",
            note=Note(
                "sum_k g_k A_k, place by place",
                "when you must know that the model used the place, such as behind a flattened layer",
                "coarse like all maps of late layers, and noisy at early ones",
            ),
        ),
        Method(
            "layercam", "LayerCAM", "positive gradient times activation at every place; for early layers",
            "Jiang et al., IEEE TIP 2021, doi:10.1109/TIP.2021.3089943", "local.layercam",
            note=Note(
                "sum_k ReLU(g_k) A_k, place by place",
                "early layers, whose gradients differ from place to place; several layers fused",
                "no evidence against the class; an early layer marks edges wherever they are",
            ),
        ),
        Method(
            "elementwise", "Element-wise Grad-CAM", "gradient times activation, positive channel by channel",
            "Gildenblat 2021, pytorch-grad-cam", "local.elementwise",
            note=Note(
                "sum_k ReLU(g_k A_k), place by place",
                "layers with negative activations: it also counts a negative gradient on them",
                "cancels nothing, so evidence against the class is invisible",
            ),
        ),
        Method(
            "shapleycam", "Shapley-CAM", "as Grad-CAM, less half of what channels add only together",
            "Cai 2025, arXiv:2501.06261", "weighted.shapleycam",
            cost=Cost(2, "two backwards through the head", of=Runs.HEAD),
            note=Note(
                "sum_k w_k A_k, w_k = mean(g_k - (H A)_k / 2), H the Hessian of S_c + log softmax(S)_c",
                "the layer behaves far from linearly between here and the logits: Grad-CAM corrected to second order",
                "under a linear head it is a CAM of other weights; a third order it does not see",
            ),
        ),
        Method(
            "finercam", "Finer-CAM", "what sets the class apart from the three most like it",
            "Zhang et al., CVPR 2025, arXiv:2501.11309", "weighted.finercam",
            note=Note(
                "Grad-CAM of S_c - sum_i p_i S_i, p the softmax over the 3 classes nearest in logit",
                "classes that look alike: what sets this one apart from the three nearest",
                "needs a class as its target, not a difference; with little to tell them apart it shows little",
            ),
        ),
        Method(
            "refinecam", "Refine-CAM", "Grad-CAM++ of every stage, multiplied: fine edges where the class is",
            "Domeniconi et al. 2026, arXiv:2605.14641", "stages.refinecam",
            cost=Cost(1, "a forward and a backward for each stage", Each.STAGE, of=Runs.GRADIENT), lattice="input",
            note=Note(
                "product over stages of ReLU(Grad-CAM++), each laid over the input and divided by its maximum",
                "sharper edges than one layer can give",
                "one stage that misses the object erases it",
            ),
        ),
    ),
    "Changing the layer": (
        Method(
            "ablationcam", "Ablation-CAM", "feature maps weighted by how far the score falls without each",
            "Desai & Ramaswamy, WACV 2020, doi:10.1109/WACV45572.2020.9093360", "ablation.ablationcam",
            cost=Cost(1, "{n} forwards of the head, one a channel", Each.CHANNEL, HeadKind.LINEAR, Runs.HEAD),
            note=Note(
                "sum_k w_k A_k, w_k = (T(A) - T(A with A_k = 0)) / |T(A)|; linear head: W_ck mean(A_k) / |S_c|",
                "what the network does when a feature is gone, not what it would do for an infinitely small change",
                "misses what several channels say alike, since any one of them can go unnoticed",
            ),
        ),
        Method(
            "reciprocam", "Recipro-CAM", "the score that each cell would reach alone",
            "Byun & Lee 2022, arXiv:2209.14074", "ablation.reciprocam",
            cost=Cost(1, "{n} forwards of the head, one a cell", Each.CELL, HeadKind.LINEAR, Runs.HEAD),
            note=Note(
                "T(A with one cell kept) - T(0), cell by cell; linear head: CAM / (h w)",
                "the choice without gradients for a transformer",
                "behind attention or a convolution a lone cell is nothing the network has ever seen",
            ),
        ),
    ),
    "Changing the image": (
        Method(
            "groupcam", "Group-CAM", "32 groups of feature maps, weighted by the probability seen through each",
            "Zhang et al. 2021, arXiv:2103.13859", "masking.groupcam",
            cost=Cost(33, "{n} forwards and the head's gradient", of=Runs.FORWARD), scored="probability",
            note=Note(
                "sum_l (P(x H_l + B (1 - H_l)) - P(B)) H_l over 32 groups l of channels weighted as in Grad-CAM, B "
                "a blurred x",
                "the first to try of those that change the image: 33 forwards, however many channels there are",
                "what no group of feature maps shows; a masked image is unlike any photograph",
            ),
        ),
        Method(
            "scorecam", "Score-CAM", "feature maps weighted by the score of the image seen through each",
            "Wang et al., CVPR workshops 2020, arXiv:1910.01279", "masking.scorecam",
            cost=Cost(1, "{n} forwards, one a channel", Each.CHANNEL, of=Runs.FORWARD),
            note=Note(
                "sum_k w_k A_k, w = softmax_k T(x H_k)",
                "no gradient to be trusted, and few channels or much time",
                "every weight is positive, so channels of other objects stay in the map, the more so the more there "
                "are",
            ),
        ),
        Method(
            "iscam", "IS-CAM", "as Score-CAM, averaged while the masked image fades in",
            "Naidu et al. 2020, arXiv:2010.03023", "masking.iscam",
            cost=Cost(10, "{n} forwards", Each.CHANNEL, of=Runs.FORWARD),
            note=Note(
                "sum_k w_k A_k, w = softmax_k mean_i T(x H_k i / 10), i = 1 .. 10",
                "as scorecam, where the score jumps as the masked image fades in",
                "as scorecam, at ten times its price",
            ),
        ),
        Method(
            "sscam", "SS-CAM", "as Score-CAM, averaged over noise on the masks",
            "Wang et al. 2020, arXiv:2006.14255", "masking.sscam",
            cost=Cost(35, "{n} forwards", Each.CHANNEL, of=Runs.FORWARD),
            note=Note(
                "sum_k w_k A_k, w = softmax_k mean_i T(x (H_k + e_i)), e_i normal of deviation 2, i = 1 .. 35",
                "as scorecam, where single masks' edges decide",
                "as scorecam, at 35 times its price",
            ),
        ),
        Method(
            "opticam", "Opti-CAM", "the mixture of feature maps through which the image scores highest",
            "Zhang et al., CVIU 2024, arXiv:2301.07002", "masking.opticam",
            cost=Cost(100, "{n} forwards with gradients of the whole network", of=Runs.GRADIENT),
            note=Note(
                "sum_k softmax(u)_k A_k, u by gradient ascent on T(x H) of that map, 100 steps",
                "the one mixture of feature maps that the network likes best",
                "what raises the score need not be what the photograph's score came from: it may light the background",
            ),
        ),
        Method(
            "polycam", "Poly-CAM", "the layer's map sharpened by the maps of finer layers, seen through their features",
            "Englebert et al., ICPR 2022, arXiv:2204.13359", "masking.polycam",
            cost=Cost(2, "{n} forwards for each channel of every stage", Each.CHANNEL_OF_STAGE, of=Runs.FORWARD),
            lattice="input", scored="probability",
            note=Note(
                "m_L prod_l m_l / U(D(m_l)) over stages l; m_l = ReLU(sum_k w_k A_k), "
                "w_k = ReLU(P(x H_k) + P(x) - P(x (1 - H_k))), U(D(m_l)) m_l made as coarse as stage l + 1",
                "fine edges without gradients, given time",
                "twice Score-CAM's price for every stage; where one stage shows nothing, nothing is left",
            ),
        ),
        Method(
            "occlusion", "Occlusion", "how far the probability falls when a window over the place is hidden",
            "Zeiler & Fergus, ECCV 2014, arXiv:1311.2901", "occluding.occlusion",
            cost=Cost(170, "at most {n} forwards", of=Runs.FORWARD),
            lattice="input", scored="probability", at_layer=False,
            note=Note(
                "mean of P(x) - P(x with a window hidden) over the windows that cover a pixel",
                "any network, layers unknown: what the answer depends on when it is taken away",
                "two objects of the class hide each other; its windows are a seventh of each side",
            ),
        ),
        Method(
            "rise", "RISE", "pixels shown whenever the class is probable, under 1000 random masks",
            "Petsiuk et al., BMVC 2018, arXiv:1806.07421", "occluding.rise",
            cost=Cost(1000, "{n} forwards", of=Runs.FORWARD),
            lattice="input", scored="probability", at_layer=False,
            note=Note(
                "sum_i (P(x M_i) - mean P) M_i / (1000 * 0.5), M_i random masks of 7 x 7 cells, half of them shown",
                "any network, layers unknown: what matters together with whatever else is shown",
                "noisy with 1000 masks, and no finer than a seventh of the image",
            ),
        ),
    ),
    "Gradients of the pixels": (
        Method(
            "integratedgradients", "Integrated gradients", "what each pixel adds to the score, from mean grey on",
            "Sundararajan et al., ICML 2017, arXiv:1703.01365", "pixel_gradients.integratedgradients",
            cost=Cost(32, "{n} forwards and backwards of the network", of=Runs.GRADIENT),
            lattice="input", at_layer=False,
            note=Note(
                "sum_colours x sum_i w_i dT/dx(s_i x), the 32 points and weights of Gauss-Legendre on 0 .. 1",
                "pixels that must add up: they sum to the logit less that of the mean colour",
                "what has that colour gets nothing, however much it matters; single pixels are noisy",
            ),
        ),
        Method(
            "fullgrad", "FullGrad", "the score shared out between the pixels and every layer's biases",
            "Srinivas & Fleuret, NeurIPS 2019, arXiv:1905.00780", "pixel_gradients.fullgrad",
            cost=Cost(1, "one forward and backward of the network, and a forward for each stage", of=Runs.GRADIENT),
            lattice="input",
            at_layer=False,
            note=Note(
                "sum_colours |x dT/dx| + sum over layers of sum_k |b_k dT/dz_k| laid over the input",
                "one map of the whole network, whatever the layer",
                "unsigned: it cannot tell for from against",
            ),
        ),
        Method(
            "guidedbackprop", "Guided backpropagation", "edges that excite the network; says little about the class",
            "Springenberg et al. 2015, arXiv:1412.6806", "pixel_gradients.guidedbackprop", needs=Needs.RELUS,
            cost=Cost(1, "one forward and backward of the network", of=Runs.GRADIENT),
            lattice="input", check=EDGES, at_layer=False,
            note=Note(
                "sum_colours dT/dx, only positive gradients passing each ReLU",
                "only because people ask for it",
                "draws edges that hardly depend on what the network learned; needs ReLUs, ReLU6 among them",
            ),
        ),
        Method(
            "guidedgradcam", "Guided Grad-CAM", "edges of guided backpropagation where Grad-CAM is positive",
            "Selvaraju et al., ICCV 2017, arXiv:1610.02391", "pixel_gradients.guidedgradcam", needs=Needs.RELUS,
            cost=Cost(1, "one forward and backward of the network", of=Runs.GRADIENT), lattice="input", check=EDGES,
            note=Note(
                "guidedbackprop times ReLU(Grad-CAM) laid over the input",
                "only because people ask for it",
                "as guidedbackprop, where Grad-CAM is positive",
            ),
        ),
    ),
    "Attention": (
        Method(
            "legrad", "LeGrad", "where more attention would raise the score; for transformers",
            "Bousselham et al., ICCV 2025, arXiv:2404.03214", "attention.legrad", needs=Needs.ATTENTION,
            cost=Cost(
                2,
                "two forwards, and a backward for every block; a forward for every block where torch.fx sees no graph",
                of=Runs.GRADIENT,
            ),
            at_layer=False,
            note=Note(
                "mean over blocks, heads and rows of ReLU(dT_l/da_l), a_l attention, T_l read out behind block l",
                "transformers whose tokens all attend to each other (ViT, DeiT): where more attention would raise "
                "the score",
                "needs attention between all tokens, so a network in stages (Swin, PVT) shows its last stage or is "
                "refused",
            ),
        ),
        Method(
            "attentionrollout", "Attention rollout", "what the class token attends to; for transformers, any class",
            "Abnar & Zuidema, ACL 2020, arXiv:2005.00928", "attention.attentionrollout", needs=Needs.ATTENTION,
            cost=Cost(1, "one forward", of=Runs.FORWARD), at_layer=False,
            of_class=False,
            note=Note(
                "the class token's row of the product over blocks of (mean over heads of a_l + I) / 2, a_l attention",
                "transformers: what the class token can have heard of",
                "follows attention alone: the same for every class, and blind to what is carried along; "
                "needs attention between all tokens in every block",
            ),
        ),
    ),
    "Features alone": (
        Method(
            "eigencam", "Eigen-CAM", "the main pattern of the feature maps, whatever the class",
            "Muhammad & Yeasin, IJCNN 2020, arXiv:2008.00299", "decomposition.eigencam",
            cost=Cost(1, "one singular value decomposition"),
            of_class=False,
            note=Note(
                "Z v_1, Z = A less its mean over places, v_1 its first right singular vector",
                "to see what the layer reacts to at all",
                "the same for every class, so never evidence for one; its sign is a convention: more where "
                "channels' sums are",
            ),
        ),
        Method(
            "eigengradcam", "EigenGrad-CAM", "the main pattern of gradient times activation",
            "Gildenblat 2021, pytorch-grad-cam", "decomposition.eigengradcam",
            cost=Cost(1, "one singular value decomposition"),
            note=Note(
                "Z v_1, Z = g A less its mean over places, v_1 its first right singular vector",
                "the main pattern of what speaks for or against the class",
                "its sign is a convention, so for and against cannot be told apart",
            ),
        ),
        Method(
            "kpcacam", "KPCA-CAM", "the main pattern of the feature maps, curved ones too, whatever the class",
            "Karmani et al. 2024, arXiv:2410.00267", "decomposition.kpcacam",
            cost=Cost(None, "eigenvectors of a cells x cells matrix"),
            of_class=False,
            note=Note(
                "sqrt(l_1) u_1, l_1 and u_1 the first eigenvalue and -vector of the centred kernel "
                "tanh(Z Z^T / K + 1), Z = A less its mean over places",
                "as eigencam, where the pattern is no straight line in the space of the channels",
                "the same for every class; takes at most 48 x 48 cells",
            ),
        ),
        Method(
            "fem", "FEM", "where features fire far above their mean, whatever the class",
            "Fuad et al., IPTA 2020, doi:10.1109/IPTA50016.2020.9286629", "decomposition.fem",
            of_class=False,
            note=Note(
                "sum_k mean(A_k) [A_k > mean(A_k) + 2 std(A_k)]",
                "where features fire far above their mean",
                "the same for every class; shows nothing on grids of fewer than six cells",
            ),
        ),
    ),
    "Baseline": (
        Method(
            "random", "Random", "noise: what every other method has to beat", "none", "occluding.random",
            check="this map is random on purpose: it explains nothing, and is here to measure others against",
            at_layer=False,
            of_class=False,
            note=Note(
                "independent uniform noise from a seed made of the image",
                "beside the method you trust: a figure that it reaches too says nothing",
                "everything",
            ),
        ),
    ),
}  # fmt: skip
METHODS: dict[str, Method] = {method.name: method for family in FAMILIES.values() for method in family}


def find_method(name: str) -> Method:
    """The method of that name. Raises UnknownName with close matches."""
    if name not in METHODS:
        raise UnknownName("method", name, [AUTO, *METHODS])
    return METHODS[name]


def methods_in_order(given: object) -> tuple[str, ...]:
    """Several methods as Python gives them: a list of names, "cam,rise", or "all"; in that order.

    Raises OptionError, UnknownName.
    """
    names = [name.strip() for name in given.split(",")] if isinstance(given, str) else given
    if not isinstance(names, Iterable) or not (several := list(names)):
        raise OptionError(
            f"methods {shown(given)} is no list of methods; give names, as in ['cam', 'layercam'], or 'all'"
        )
    for name in several:
        if not isinstance(name, str):
            raise OptionError(f"method {shown(name)} is not one name; give it as text")
        if name not in (AUTO, EVERY):
            find_method(name)
    return tuple(METHODS) if EVERY in several else tuple(several)


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
