"""Methods for transformers: which patches the tokens that are read out have attended to.

A is one layer's attention (N, heads, tokens, tokens): row i says how much of every token j goes into token i. Before
the patches' tokens come p others, the first of them the class token; p is known from the patches' grid (h, w).
"""

import torch
from torch import Tensor, fx

from camserve.cut import cut, layer_names
from camserve.errors import OptionError
from camserve.methods.attending import Attending, attention_paths
from camserve.methods.evidence import Evidence

MOST_PREFIX_TOKENS = 8


def attentionrollout(evidence: Evidence) -> Tensor:
    """Attention rollout: how much of each patch reaches the class token when attention is followed through all layers.

    map = row of the class token in R_L ... R_1, R_l = mean over heads of A_l, half of it and half the identity, which
    stands for the residual path. Without a class token, the mean of the patches' rows. The class asked for plays no
    part, and what the values carry does neither. Abnar & Zuidema, ACL 2020, arXiv:2005.00928.
    Raises OptionError where the network has no such attention.
    """
    attending = Attending(_graph_of(evidence))
    with torch.no_grad():
        attending.run(evidence.around.images)
    prefix = _prefix(evidence, attending.maps)
    rolled = torch.eye(attending.maps[0].shape[-1]).to(attending.maps[0])
    for attention in attending.maps:
        rolled = (attention.mean(1) @ rolled + rolled) / 2
    row = rolled[:, 0] if prefix else rolled.mean(1)
    return row[:, prefix:].reshape(evidence.activations[:, 0].shape)


def legrad(evidence: Evidence) -> Tensor:
    """LeGrad: where more attention would raise the score, read out behind every block.

    map = mean over blocks, heads and rows of ReLU(dT_l/dA_l), columns of the patches; T_l is the target of what the
    network's own last norm and classifier say to the tokens behind block l. With a class token that alone is read
    out, so only its row is not 0. The paper scales the map to 0..1 at the end; here it stays as it is.
    Bousselham et al., ICCV 2025, arXiv:2404.03214. Raises OptionError where the network has no such attention.
    """
    graph = _graph_of(evidence)
    ends = _block_ends(graph)
    readout = cut(graph, ends[-1]).head
    if sum(node.op == "placeholder" for node in readout.graph.nodes) > 1:
        raise OptionError(
            "LeGrad reads every block out as the last one is, and this network's needs more; try 'gradcam'"
        )
    attending = Attending(graph, set(ends), lambda tokens: evidence.target(readout(tokens)).sum())
    with torch.enable_grad():
        attending.run(evidence.around.images.detach())
    prefix = _prefix(evidence, attending.maps)
    relevance = torch.stack([gradient.clamp(min=0).mean((1, 2)) for gradient in attending.gradients]).mean(0)
    return relevance[:, prefix:].reshape(evidence.activations[:, 0].shape)


def _graph_of(evidence: Evidence) -> fx.GraphModule:
    network = evidence.around.network
    if not isinstance(network, fx.GraphModule):
        raise OptionError(
            "this method reads attention off the network's graph, which torch.fx cannot trace; try 'gradcam'"
        )
    if not attention_paths(network):
        raise OptionError(
            "this method needs attention between all tokens (nn.MultiheadAttention or scaled_dot_product_attention), "
            "and this network has none; try 'gradcam', or 'layercam' at an earlier layer"
        )
    return network


def _prefix(evidence: Evidence, maps: list[Tensor]) -> int:
    """How many tokens come before the patches'."""
    activations = evidence.activations
    (batch, _, height, width), tokens = activations.shape, maps[0].shape[-1]
    same = all(attention.shape[::2] == (batch, tokens) and attention.shape[-1] == tokens for attention in maps)
    down, across = (
        pixels / cells for pixels, cells in zip(evidence.around.images.shape[-2:], (height, width), strict=True)
    )
    prefix = tokens - height * width
    if not same or not 0 <= prefix <= MOST_PREFIX_TOKENS or abs(down - across) >= 1:
        raise OptionError(
            f"this method needs attention between all tokens, one a cell of the layer; here attention joins {tokens} "
            f"tokens and the layer has {width} x {height} cells. Name the layer that makes patches, or try 'gradcam'"
        )
    return prefix


def _block_ends(graph: fx.GraphModule) -> list[fx.Node]:
    """The nodes that end the blocks around the attention layers: the modules whose paths first tell those apart."""
    paths = [path.split(".") for path in attention_paths(graph)]
    depth = next((i for i, parts in enumerate(zip(*paths, strict=False)) if len(set(parts)) > 1), len(paths[0]) - 2)
    names, blocks = layer_names(graph), [".".join(path[: depth + 1]) for path in paths]
    if missing := [block for block in blocks if block not in names]:
        raise OptionError(
            f"LeGrad needs attention in blocks, each a module of its own, not '{missing[0]}'; try 'gradcam'"
        )
    return [names[block] for block in dict.fromkeys(blocks)]
