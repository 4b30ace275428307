"""The registry of explanation methods. Each method is one paper and one function `Evidence -> map (N, h, w)`.

To add a method, write the function in a module of methods/, and its entry in FAMILIES; `Method` says what each field
means. The command line's choices, the HTTP list, the page's menu, the documentation and the tests all read this
registry. It loads no torch. CONTRIBUTING.md says how a method is tested.
"""

from collections.abc import Iterable

from camserve.catalogue.head_kinds import HeadKind
from camserve.catalogue.method import Cost, Each, Method, Needs, Note, Runs
from camserve.errors import OptionError, UnknownName, shown

AUTO = "auto"
# In a list of methods, it stands for all methods.
EVERY = "all"
# The seconds that each method may take when the user asks for all methods. Only a few methods take longer.
PATIENCE = 60.0

# The quantity of a class that is explained: its logit; the logarithm of its probability, which also counts evidence for
# other classes; or its logit minus the mean logit of all other classes.
QUANTITIES = ("logit", "log-softmax", "contrast")

EDGES = (
    "this method fails the sanity checks of Adebayo et al. (2018): it draws nearly the same edges for every network, "
    "trained or not"
)

FAMILIES: dict[str, tuple[Method, ...]] = {
    "Weighted feature maps": (
        Method(
            "cam", "CAM", "what each place adds to the logit; exact", "Zhou et al., CVPR 2016, arXiv:1512.04150",
            "weighted.cam", needs=Needs.LINEAR_HEAD, unit="logits",
            note=Note(
                "sum_k W_ck A_k",
                "whenever the head allows it: the mean of the map plus the bias is exactly the logit",
                "needs global average pooling and one linear layer, or a class map, right after the layer",
            ),
        ),
        Method(
            "affinitycam", "Affinity CAM", "CAM, averaged over places with similar features; still exact",
            "Wang et al., CVPR 2020, arXiv:2004.04581", "affinity.affinitycam", needs=Needs.LINEAR_HEAD, unit="logits",
            note=Note(
                "P P CAM, P_uv = sum_k a_k(u) a_k(v) / sum_w a_k(w), a_k = ReLU(A_k) / sum_j ReLU(A_j)",
                "when the map should cover the whole object, not only its most decisive part: it fits boxes around "
                "objects better than cam, at the same cost; the mean of the map plus the bias is also the logit",
                "two things that look alike share the evidence of one of them; a layer of few channels, or the class "
                "map itself, cannot tell places apart; needs the same head as cam",
            ),
        ),
        Method(
            "gradcam", "Grad-CAM", "feature maps weighted by their mean gradient",
            "Selvaraju et al., ICCV 2017, arXiv:1610.02391", "weighted.gradcam",
            note=Note(
                "sum_k mean(g_k) A_k",
                "any head that is not linear, or an earlier layer; under a linear head the map is cam divided by the "
                "number of cells",
                "each channel has one weight: where gradients differ from place to place, the map also marks places "
                "that the model did not use",
            ),
        ),
        Method(
            "gradcam++", "Grad-CAM++", "as Grad-CAM, with weights that count every place where a feature is active",
            "Chattopadhyay et al., WACV 2018, arXiv:1710.11063", "weighted.gradcam_plus_plus",
            note=Note(
                "sum_k w_k A_k, w_k = sum_xy ReLU(g_k) / (2 + g_k sum_xy A_k)",
                "several objects of the class in one image: large and small objects get more similar weights",
                "it uses positive gradients only, so evidence against the class never lowers the map",
            ),
        ),
        Method(
            "smoothgradcam++", "Smooth Grad-CAM++",
            "as Grad-CAM++, with gradients averaged over noisy copies of the image",
            "Omeiza et al. 2019, arXiv:1908.01224", "weighted.smoothgradcam_plus_plus",
            cost=Cost(8, "{n} forward and backward passes of the head", free_under=HeadKind.LINEAR, of=Runs.HEAD),
            note=Note(
                "sum_k w_k A_k, w_k = sum_xy E[g_k^2] ReLU(E[g_k]) / (2 E[g_k^2] + E[g_k^3] sum_xy A_k), E over 8 "
                "noisy images",
                "noisy gradients, for example where the head is far from linear",
                "under a linear head it is the same map as gradcam++; otherwise it fails where gradcam++ does",
            ),
        ),
        Method(
            "xgradcam", "XGrad-CAM", "as Grad-CAM, with gradients weighted by the activations",
            "Fu et al., BMVC 2020, arXiv:2008.02312", "weighted.xgradcam",
            note=Note(
                "sum_k w_k A_k, w_k = sum_xy g_k A_k / sum_xy A_k",
                "heads of piecewise linear layers: the sum of the map is the logit minus what the biases add",
                "where gradcam does; the weight of a channel whose activations sum to nearly zero is arbitrary",
            ),
        ),
        Method(
            "hirescam", "HiResCAM", "gradient times activation at every place",
            "Draelos & Carin 2020, arXiv:2011.08891", "local.hirescam",
            note=Note(
                "sum_k g_k A_k, place by place",
                "when you must know that the model used the place, for example where the head flattens the layer",
                "coarse at late layers, as all maps are, and noisy at early layers",
            ),
        ),
        Method(
            "layercam", "LayerCAM", "positive gradient times activation at every place; for early layers",
            "Jiang et al., IEEE TIP 2021, doi:10.1109/TIP.2021.3089943", "local.layercam",
            note=Note(
                "sum_k ReLU(g_k) A_k, place by place",
                "early layers, whose gradients differ from place to place; several layers combined",
                "shows no evidence against the class; an early layer marks every edge of the image",
            ),
        ),
        Method(
            "elementwise", "Element-wise Grad-CAM",
            "gradient times activation, only the positive products of each channel",
            "Gildenblat 2021, pytorch-grad-cam", "local.elementwise",
            note=Note(
                "sum_k ReLU(g_k A_k), place by place",
                "layers with negative activations: a negative gradient times a negative activation also counts",
                "nothing cancels, so evidence against the class is invisible",
            ),
        ),
        Method(
            "shapleycam", "Shapley-CAM", "as Grad-CAM, minus half of what channels add only in combination",
            "Cai 2025, arXiv:2501.06261", "weighted.shapleycam",
            cost=Cost(2, "two backward passes of the head", of=Runs.HEAD),
            note=Note(
                "sum_k w_k A_k, w_k = mean(g_k - (H A)_k / 2), H the Hessian of S_c + log softmax(S)_c",
                "heads that are far from linear: it is Grad-CAM with a correction of second order",
                "under a linear head it is a CAM with other weights; it ignores effects of third order",
            ),
        ),
        Method(
            "finercam", "Finer-CAM", "what distinguishes the class from the three most similar classes",
            "Zhang et al., CVPR 2025, arXiv:2501.11309", "weighted.finercam",
            note=Note(
                "Grad-CAM of S_c - sum_i p_i S_i, p the softmax over the 3 classes nearest in logit",
                "classes that look alike: it shows what distinguishes this class from the three nearest",
                "the target must be a class, not a difference; where the classes hardly differ, the map shows little",
            ),
        ),
        Method(
            "refinecam", "Refine-CAM", "product of the Grad-CAM++ maps of every stage: fine edges where the class is",
            "Domeniconi et al. 2026, arXiv:2605.14641", "stages.refinecam",
            cost=Cost(1, "a forward and a backward pass for each stage", Each.STAGE, of=Runs.GRADIENT), lattice="input",
            note=Note(
                "product over stages of ReLU(Grad-CAM++), each laid over the input and divided by its maximum",
                "sharper edges than one layer can give",
                "if one stage misses the object, the object is missing in the product",
            ),
        ),
    ),
    "Changing the layer": (
        Method(
            "ablationcam", "Ablation-CAM", "feature maps weighted by how far the score falls when each is removed",
            "Desai & Ramaswamy, WACV 2020, doi:10.1109/WACV45572.2020.9093360", "ablation.ablationcam",
            cost=Cost(1, "{n} forward passes of the head, one per channel", Each.CHANNEL, HeadKind.LINEAR, Runs.HEAD),
            note=Note(
                "sum_k w_k A_k, w_k = (T(A) - T(A with A_k = 0)) / |T(A)|; linear head: W_ck mean(A_k) / |S_c|",
                "to see what the network does without a feature; a gradient describes only an infinitely small change",
                "misses features that several channels share: without one of these channels the score hardly falls",
            ),
        ),
        Method(
            "reciprocam", "Recipro-CAM", "the score that each cell reaches alone",
            "Byun & Lee 2022, arXiv:2209.14074", "ablation.reciprocam",
            cost=Cost(1, "{n} forward passes of the head, one per cell", Each.CELL, HeadKind.LINEAR, Runs.HEAD),
            note=Note(
                "T(A with one cell kept) - T(0), cell by cell; linear head: CAM / (h w)",
                "transformers, when you want no gradients",
                "where attention or a convolution follows the layer, a single cell is an input that the network never "
                "saw in training",
            ),
        ),
    ),
    "Changing the image": (
        Method(
            "groupcam", "Group-CAM",
            "32 groups of feature maps, weighted by the probability of the image masked with each",
            "Zhang et al. 2021, arXiv:2103.13859", "masking.groupcam",
            cost=Cost(33, "{n} forward passes and the head's gradient", of=Runs.FORWARD), scored="probability",
            note=Note(
                "sum_l (P(x H_l + B (1 - H_l)) - P(B)) H_l over 32 groups l of channels weighted as in Grad-CAM, B "
                "a blurred x",
                "the first choice among methods that change the image: 33 forward passes for any number of channels",
                "cannot show what no group of feature maps shows; a masked image is unlike any photograph",
            ),
        ),
        Method(
            "scorecam", "Score-CAM", "feature maps weighted by the score of the image masked with each",
            "Wang et al., CVPR workshops 2020, arXiv:1910.01279", "masking.scorecam",
            cost=Cost(1, "{n} forward passes, one per channel", Each.CHANNEL, of=Runs.FORWARD),
            note=Note(
                "sum_k w_k A_k, w = softmax_k T(x H_k)",
                "when you do not trust gradients, and the layer has few channels or you have much time",
                "every weight is positive, so channels of other objects stay in the map; the more channels, the "
                "stronger this effect",
            ),
        ),
        Method(
            "iscam", "IS-CAM", "as Score-CAM, averaged while the masked image fades in",
            "Naidu et al. 2020, arXiv:2010.03023", "masking.iscam",
            cost=Cost(10, "{n} forward passes", Each.CHANNEL, of=Runs.FORWARD),
            note=Note(
                "sum_k w_k A_k, w = softmax_k mean_i T(x H_k i / 10), i = 1 .. 10",
                "instead of scorecam, where the score jumps while the masked image fades in",
                "where scorecam does, and it costs ten times as much",
            ),
        ),
        Method(
            "sscam", "SS-CAM", "as Score-CAM, averaged over masks with added noise",
            "Wang et al. 2020, arXiv:2006.14255", "masking.sscam",
            cost=Cost(35, "{n} forward passes", Each.CHANNEL, of=Runs.FORWARD),
            note=Note(
                "sum_k w_k A_k, w = softmax_k mean_i T(x (H_k + e_i)), e_i normal of deviation 2, i = 1 .. 35",
                "instead of scorecam, where the edges of single masks decide the score",
                "where scorecam does, and it costs 35 times as much",
            ),
        ),
        Method(
            "opticam", "Opti-CAM", "the mixture of feature maps that, as a mask, gives the image the highest score",
            "Zhang et al., CVIU 2024, arXiv:2301.07002", "masking.opticam",
            cost=Cost(100, "{n} forward and backward passes of the network", of=Runs.GRADIENT),
            note=Note(
                "sum_k softmax(u)_k A_k, u by gradient ascent on T(x H) of that map, 100 steps",
                "when you want the one mixture of feature maps that raises the score most",
                "what raises the score may differ from what the photograph's score came from: the map may mark the "
                "background",
            ),
        ),
        Method(
            "polycam", "Poly-CAM",
            "the layer's map, sharpened with maps of earlier layers that are weighted as in Score-CAM",
            "Englebert et al., ICPR 2022, arXiv:2204.13359", "masking.polycam",
            cost=Cost(2, "{n} forward passes for each channel of every stage", Each.CHANNEL_OF_STAGE, of=Runs.FORWARD),
            lattice="input", scored="probability",
            note=Note(
                "m_L prod_l m_l / U(D(m_l)) over stages l; m_l = ReLU(sum_k w_k A_k), "
                "w_k = ReLU(P(x H_k) + P(x) - P(x (1 - H_k))), U(D(m_l)) m_l made as coarse as stage l + 1",
                "fine edges without gradients, when you have time",
                "every stage costs twice as much as Score-CAM; where one stage shows nothing, the map shows nothing",
            ),
        ),
        Method(
            "occlusion", "Occlusion", "how far the probability falls when a window around the place is hidden",
            "Zeiler & Fergus, ECCV 2014, arXiv:1311.2901", "occluding.occlusion",
            cost=Cost(170, "at most {n} forward passes", of=Runs.FORWARD),
            lattice="input", scored="probability", at_layer=False,
            note=Note(
                "mean of P(x) - P(x with a window hidden) over the windows that cover a pixel",
                "any network, without knowledge of its layers: it shows what the answer needs",
                "where two objects of the class are in the image, hiding one changes little; the windows are coarse, "
                "a seventh of each side",
            ),
        ),
        Method(
            "rise", "RISE", "pixels that are visible when the class is probable, over 1000 random masks",
            "Petsiuk et al., BMVC 2018, arXiv:1806.07421", "occluding.rise",
            cost=Cost(1000, "{n} forward passes", of=Runs.FORWARD),
            lattice="input", scored="probability", at_layer=False,
            note=Note(
                "sum_i (P(x M_i) - mean P) M_i / (1000 * 0.5), M_i random masks of 7 x 7 cells, half of them shown",
                "any network, without knowledge of its layers: it shows what helps the class, alone or with other "
                "places",
                "noisy with 1000 masks; the cells of a mask are coarse, a seventh of each side",
            ),
        ),
    ),
    "Gradients of the pixels": (
        Method(
            "integratedgradients", "Integrated gradients",
            "what each pixel adds to the score, compared with an image of the mean colour",
            "Sundararajan et al., ICML 2017, arXiv:1703.01365", "pixel_gradients.integratedgradients",
            cost=Cost(32, "{n} forward and backward passes of the network", of=Runs.GRADIENT),
            lattice="input", at_layer=False,
            note=Note(
                "sum_colours x sum_i w_i dT/dx(s_i x), the 32 points and weights of Gauss-Legendre on 0 .. 1",
                "when pixels must add up: their sum is the logit minus the logit of the baseline, an image of the mean "
                "colour",
                "pixels of the mean colour get zero, even where they matter; single pixels are noisy",
            ),
        ),
        Method(
            "fullgrad", "FullGrad", "the score, divided among the pixels and the biases of every layer",
            "Srinivas & Fleuret, NeurIPS 2019, arXiv:1905.00780", "pixel_gradients.fullgrad",
            cost=Cost(
                1, "one forward and backward pass of the network, and a forward pass for each stage", of=Runs.GRADIENT
            ),
            lattice="input",
            at_layer=False,
            note=Note(
                "sum_colours |x dT/dx| + sum over layers of sum_k |b_k dT/dz_k| laid over the input",
                "one map of the whole network, without the choice of a layer",
                "it has no sign, so it cannot separate evidence for the class from evidence against it",
            ),
        ),
        Method(
            "guidedbackprop", "Guided backpropagation", "edges that activate the network; says little about the class",
            "Springenberg et al. 2015, arXiv:1412.6806", "pixel_gradients.guidedbackprop", needs=Needs.RELUS,
            cost=Cost(1, "one forward and backward pass of the network", of=Runs.GRADIENT),
            lattice="input", check=EDGES, at_layer=False,
            note=Note(
                "sum_colours dT/dx, only positive gradients passing each ReLU",
                "to compare with papers that use it",
                "draws edges that hardly depend on what the network learned; needs ReLU or ReLU6 layers",
            ),
        ),
        Method(
            "guidedgradcam", "Guided Grad-CAM", "edges of guided backpropagation where Grad-CAM is positive",
            "Selvaraju et al., ICCV 2017, arXiv:1610.02391", "pixel_gradients.guidedgradcam", needs=Needs.RELUS,
            cost=Cost(1, "one forward and backward pass of the network", of=Runs.GRADIENT),
            lattice="input", check=EDGES,
            note=Note(
                "guidedbackprop times ReLU(Grad-CAM) laid over the input",
                "to compare with papers that use it",
                "where guidedbackprop does; Grad-CAM only limits the area",
            ),
        ),
    ),
    "Attention": (
        Method(
            "legrad", "LeGrad", "where more attention would raise the score; for transformers",
            "Bousselham et al., ICCV 2025, arXiv:2404.03214", "attention.legrad", needs=Needs.ATTENTION,
            cost=Cost(
                2,
                "two forward passes, and a backward pass for every block; also a forward pass for every block where "
                "torch.fx sees no graph",
                of=Runs.GRADIENT,
            ),
            at_layer=False,
            note=Note(
                "mean over blocks, heads and rows of ReLU(dT_l/da_l), a_l attention, T_l read out behind block l",
                "transformers whose tokens all attend to each other, such as ViT and DeiT",
                "needs attention between all tokens: of a network in stages (Swin, PVT) the map shows the last stage, "
                "or the network is refused",
            ),
        ),
        Method(
            "attentionrollout", "Attention rollout",
            "what the class token attends to; for transformers; the same for every class",
            "Abnar & Zuidema, ACL 2020, arXiv:2005.00928", "attention.attentionrollout", needs=Needs.ATTENTION,
            cost=Cost(1, "one forward pass", of=Runs.FORWARD), at_layer=False,
            of_class=False,
            note=Note(
                "the class token's row of the product over blocks of (mean over heads of a_l + I) / 2, a_l attention",
                "transformers: it shows from which tokens the class token can have information",
                "it follows attention only, not the values of the tokens, so it is the same for every class; "
                "needs attention between all tokens in every block",
            ),
        ),
    ),
    "Features alone": (
        Method(
            "eigencam", "Eigen-CAM", "the main pattern of the feature maps, the same for every class",
            "Muhammad & Yeasin, IJCNN 2020, arXiv:2008.00299", "decomposition.eigencam",
            cost=Cost(1, "one singular value decomposition"),
            of_class=False,
            note=Note(
                "Z v_1, Z = A less its mean over places, v_1 its first right singular vector",
                "to see what the layer reacts to",
                "the same for every class, so it is no evidence for a class; its sign is a convention: positive where "
                "the sum of the channels is larger",
            ),
        ),
        Method(
            "eigengradcam", "EigenGrad-CAM", "the main pattern of gradient times activation",
            "Gildenblat 2021, pytorch-grad-cam", "decomposition.eigengradcam",
            cost=Cost(1, "one singular value decomposition"),
            note=Note(
                "Z v_1, Z = g A less its mean over places, v_1 its first right singular vector",
                "the main pattern of the evidence for or against the class",
                "its sign is a convention, so it cannot separate evidence for the class from evidence against it",
            ),
        ),
        Method(
            "kpcacam", "KPCA-CAM", "the main pattern of the feature maps, linear or not, the same for every class",
            "Karmani et al. 2024, arXiv:2410.00267", "decomposition.kpcacam",
            cost=Cost(None, "eigenvectors of a cells x cells matrix"),
            of_class=False,
            note=Note(
                "sqrt(l_1) u_1, l_1 and u_1 the first eigenvalue and -vector of the centred kernel "
                "tanh(Z Z^T / K + 1), Z = A less its mean over places",
                "instead of eigencam, where the pattern is not linear in the space of the channels",
                "the same for every class; takes at most 48 x 48 cells",
            ),
        ),
        Method(
            "fem", "FEM", "where features are far above their mean, the same for every class",
            "Fuad et al., IPTA 2020, doi:10.1109/IPTA50016.2020.9286629", "decomposition.fem",
            of_class=False,
            note=Note(
                "sum_k mean(A_k) [A_k > mean(A_k) + 2 std(A_k)]",
                "to see where features are unusually strong",
                "the same for every class; shows nothing on grids of fewer than six cells",
            ),
        ),
    ),
    "Baseline": (
        Method(
            "random", "Random", "noise, as a baseline: every other method must be better", "none", "occluding.random",
            check="this map is random on purpose: it explains nothing and serves as a baseline for other methods",
            at_layer=False,
            of_class=False,
            note=Note(
                "independent uniform noise from a seed made of the image",
                "beside the method that you trust: a metric on which random noise is as good says nothing",
                "always: it explains nothing",
            ),
        ),
    ),
}  # fmt: skip
METHODS: dict[str, Method] = {method.name: method for family in FAMILIES.values() for method in family}


def find_method(name: str) -> Method:
    """Return the method with that name. Raises UnknownName with close matches."""
    if name not in METHODS:
        raise UnknownName("method", name, [AUTO, *METHODS])
    return METHODS[name]


def methods_in_order(given: object) -> tuple[str, ...]:
    """Return the names of several methods in the given order. given: a list of names, "cam,rise", or "all".

    Raises OptionError, UnknownName.
    """
    names = [name.strip() for name in given.split(",")] if isinstance(given, str) else given
    if not isinstance(names, Iterable) or not (several := list(names)):
        raise OptionError(
            f"methods {shown(given)} is not a list of methods; give names, as in ['cam', 'layercam'], or 'all'"
        )
    for name in several:
        if not isinstance(name, str):
            raise OptionError(f"method {shown(name)} is not one name; give it as text")
        if name not in (AUTO, EVERY):
            find_method(name)
    return tuple(METHODS) if EVERY in several else tuple(several)


def parse_methods(texts: Iterable[str]) -> tuple[str, ...]:
    """Return the methods of texts such as "cam,rise" or "all", each once, in the registry's order.

    Raises UnknownName with close matches.
    """
    names = [name.strip() for text in texts for name in text.split(",")]
    for name in names:
        if name not in (AUTO, EVERY):
            find_method(name)
    if EVERY in names:
        return tuple(METHODS)
    return tuple(sorted(dict.fromkeys(names), key=[AUTO, *METHODS].index))


def family_of(name: str) -> str:
    """Return the family of a method; "Automatic" for "auto"."""
    return next((family for family, methods in FAMILIES.items() if name in {m.name for m in methods}), "Automatic")
