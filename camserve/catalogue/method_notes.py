"""What people read about each method before they choose it: its formula, when to use it, and what it fails.

Symbols, the same for all: A_k activations of channel k, S_c logits, W the linear layer's weights, T the target, g_k =
dT/dA_k, x the network's input, P the target of class probabilities, H_k the map A_k laid over the input and scaled to
0..1. T(A) and T(x) are the target of a changed layer or image.
"""

from dataclasses import dataclass


@dataclass(frozen=True)
class Note:
    """formula: of the raw map. use: when to take it. fails: what it cannot show, or gets wrong."""

    formula: str
    use: str
    fails: str


NOTES: dict[str, Note] = {
    "cam": Note(
        "sum_k W_ck A_k",
        "whenever the head allows it: the mean of the map plus the bias is the logit, with nothing left over",
        "needs global average pooling and one linear layer, or a class map, right after the layer",
    ),
    "gradcam": Note(
        "sum_k mean(g_k) A_k",
        "any other head, or a layer further up; under a linear head it is cam divided by the number of cells",
        "one weight a channel: where gradients differ from place to place it also marks what the model did not use",
    ),
    "gradcam++": Note(
        "sum_k w_k A_k, w_k = sum_xy ReLU(g_k) / (2 + g_k sum_xy A_k)",
        "several instances of the class in one image: it weights large and small ones more alike",
        "sees positive evidence only, so what speaks against the class cannot take anything away",
    ),
    "smoothgradcam++": Note(
        "sum_k w_k A_k, w_k = sum_xy E[g_k^2] ReLU(E[g_k]) / (2 E[g_k^2] + E[g_k^3] sum_xy A_k), E over 8 noisy images",
        "gradients that are noisy, as where the layer behaves far from linearly between here and the logits",
        "under a linear head it is gradcam++ itself; otherwise as gradcam++",
    ),
    "xgradcam": Note(
        "sum_k w_k A_k, w_k = sum_xy g_k A_k / sum_xy A_k",
        "heads of piecewise linear layers: the map's sum is the logit less what biases add",
        "as gradcam; a channel whose activations sum to nearly nothing is left to chance",
    ),
    "hirescam": Note(
        "sum_k g_k A_k, place by place",
        "when you must know that the model used the place, such as behind a flattened layer",
        "coarse like all maps of late layers, and noisy at early ones",
    ),
    "layercam": Note(
        "sum_k ReLU(g_k) A_k, place by place",
        "early layers, whose gradients differ from place to place; several layers fused",
        "no evidence against the class; an early layer marks edges wherever they are",
    ),
    "elementwise": Note(
        "sum_k ReLU(g_k A_k), place by place",
        "layers with negative activations: it also counts a negative gradient on them",
        "cancels nothing, so evidence against the class is invisible",
    ),
    "shapleycam": Note(
        "sum_k w_k A_k, w_k = mean(g_k - (H A)_k / 2), H the Hessian of S_c + log softmax(S)_c",
        "the layer behaves far from linearly between here and the logits: Grad-CAM corrected to second order",
        "under a linear head it is a CAM of other weights; a third order it does not see",
    ),
    "finercam": Note(
        "Grad-CAM of S_c - sum_i p_i S_i, p the softmax over the 3 classes nearest in logit",
        "classes that look alike: what sets this one apart from the three nearest",
        "needs a class as its target, not a difference; with little to tell them apart it shows little",
    ),
    "refinecam": Note(
        "product over stages of ReLU(Grad-CAM++), each laid over the input and divided by its maximum",
        "sharper edges than one layer can give",
        "one stage that misses the object erases it",
    ),
    "ablationcam": Note(
        "sum_k w_k A_k, w_k = (T(A) - T(A with A_k = 0)) / |T(A)|; linear head: W_ck mean(A_k) / |S_c|",
        "what the network does when a feature is gone, not what it would do for an infinitely small change",
        "misses what several channels say alike, since any one of them can go unnoticed",
    ),
    "reciprocam": Note(
        "T(A with one cell kept) - T(0), cell by cell; linear head: CAM / (h w)",
        "the choice without gradients for a transformer",
        "behind attention or a convolution a lone cell is nothing the network has ever seen",
    ),
    "groupcam": Note(
        "sum_l (P(x H_l + B (1 - H_l)) - P(B)) H_l over 32 groups l of channels weighted as in Grad-CAM, B a blurred x",
        "the first to try of those that change the image: 33 forwards, however many channels there are",
        "what no group of feature maps shows; a masked image is unlike any photograph",
    ),
    "scorecam": Note(
        "sum_k w_k A_k, w = softmax_k T(x H_k)",
        "no gradient to be trusted, and few channels or much time",
        "every weight is positive, so channels of other objects stay in the map, the more so the more there are",
    ),
    "iscam": Note(
        "sum_k w_k A_k, w = softmax_k mean_i T(x H_k i / 10), i = 1 .. 10",
        "as scorecam, where the score jumps as the masked image fades in",
        "as scorecam, at ten times its price",
    ),
    "sscam": Note(
        "sum_k w_k A_k, w = softmax_k mean_i T(x (H_k + e_i)), e_i normal of deviation 2, i = 1 .. 35",
        "as scorecam, where single masks' edges decide",
        "as scorecam, at 35 times its price",
    ),
    "opticam": Note(
        "sum_k softmax(u)_k A_k, u by gradient ascent on T(x H) of that map, 100 steps",
        "the one mixture of feature maps that the network likes best",
        "what raises the score need not be what the photograph's score came from: it may light the background",
    ),
    "polycam": Note(
        "m_L prod_l m_l / U(D(m_l)) over stages l; m_l = ReLU(sum_k w_k A_k), "
        "w_k = ReLU(P(x H_k) + P(x) - P(x (1 - H_k))), U(D(m_l)) m_l made as coarse as stage l + 1",
        "fine edges without gradients, given time",
        "twice Score-CAM's price for every stage; where one stage shows nothing, nothing is left",
    ),
    "occlusion": Note(
        "mean of P(x) - P(x with a window hidden) over the windows that cover a pixel",
        "any network, layers unknown: what the answer depends on when it is taken away",
        "two objects of the class hide each other; its windows are a seventh of each side",
    ),
    "rise": Note(
        "sum_i (P(x M_i) - mean P) M_i / (1000 * 0.5), M_i random masks of 7 x 7 cells, half of them shown",
        "any network, layers unknown: what matters together with whatever else is shown",
        "noisy with 1000 masks, and no finer than a seventh of the image",
    ),
    "integratedgradients": Note(
        "sum_colours x mean_s dT/dx(s x), 32 midpoints s of 0 .. 1",
        "pixels that must add up: they sum to the logit less that of the mean colour",
        "what has that colour gets nothing, however much it matters; single pixels are noisy",
    ),
    "fullgrad": Note(
        "sum_colours |x dT/dx| + sum over layers of sum_k |b_k dT/dz_k| laid over the input",
        "one map of the whole network, whatever the layer",
        "unsigned: it cannot tell for from against",
    ),
    "guidedbackprop": Note(
        "sum_colours dT/dx, only positive gradients passing each ReLU",
        "only because people ask for it",
        "draws edges that hardly depend on what the network learned; needs ReLUs, ReLU6 among them",
    ),
    "guidedgradcam": Note(
        "guidedbackprop times ReLU(Grad-CAM) laid over the input",
        "only because people ask for it",
        "as guidedbackprop, where Grad-CAM is positive",
    ),
    "legrad": Note(
        "mean over blocks, heads and rows of ReLU(dT_l/da_l), a_l attention, T_l read out behind block l",
        "transformers whose tokens all attend to each other (ViT, DeiT): where more attention would raise the score",
        "needs attention between all tokens, so a network in stages (Swin, PVT) shows its last stage or is refused",
    ),
    "attentionrollout": Note(
        "the class token's row of the product over blocks of (mean over heads of a_l + I) / 2, a_l attention",
        "transformers: what the class token can have heard of",
        "follows attention alone: the same for every class, and blind to what is carried along; "
        "needs attention between all tokens in every block",
    ),
    "eigencam": Note(
        "Z v_1, Z = A less its mean over places, v_1 its first right singular vector",
        "to see what the layer reacts to at all",
        "the same for every class, so never evidence for one; its sign is a convention: more where channels' sums are",
    ),
    "eigengradcam": Note(
        "Z v_1, Z = g A less its mean over places, v_1 its first right singular vector",
        "the main pattern of what speaks for or against the class",
        "its sign is a convention, so for and against cannot be told apart",
    ),
    "kpcacam": Note(
        "sqrt(l_1) u_1, l_1 and u_1 the first eigenvalue and -vector of the centred kernel tanh(Z Z^T / K + 1), "
        "Z = A less its mean over places",
        "as eigencam, where the pattern is no straight line in the space of the channels",
        "the same for every class; takes at most 48 x 48 cells",
    ),
    "fem": Note(
        "sum_k mean(A_k) [A_k > mean(A_k) + 2 std(A_k)]",
        "where features fire far above their mean",
        "the same for every class; shows nothing on grids of fewer than six cells",
    ),
    "random": Note(
        "independent uniform noise from a seed made of the image",
        "beside the method you trust: a figure that it reaches too says nothing",
        "everything",
    ),
}  # fmt: skip
