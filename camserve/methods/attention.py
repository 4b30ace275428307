"""Methods for transformers: which patches the tokens that are read out have attended to.

A is one layer's attention (N, heads, tokens, tokens): row i says how much of every token j goes into token i. Before
the patches' tokens come p others, the first of them the class token; p is known from the patches' grid (h, w).
"""

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from camserve.errors import OptionError
from camserve.graph.differentiation import steady
from camserve.graph.layout import MOST_PREFIX_TOKENS
from camserve.methods.evidence import Evidence
from camserve.methods.watching.attention_weights import Attending, Weights
from camserve.methods.watching.modules_run import Course
from camserve.methods.watching.transformer_blocks import OTHERS, Passed, passages, survey, tokens_joined


def attentionrollout(evidence: Evidence) -> Tensor:
    """Attention rollout: how much of each patch reaches the class token when attention is followed through all layers.

    map = row of the class token in R_L ... R_1, R_l = mean over heads of A_l, half of it and half the identity, which
    stands for the residual path. Without a class token, the mean of the patches' rows; where a query that is no token
    pools them (attention pooling), the rows in the shares that it gives them, a mean over its heads. The class asked
    for plays no part, and what the values carry does neither. Abnar & Zuidema, ACL 2020, arXiv:2005.00928.
    Raises OptionError where the network has no such attention, or also has other attention.
    """
    images = evidence.around.images
    layers, pooling = _layers_and_pooling(evidence.around.network, images)
    maps = [_between_all(one, layers[-1:], len(images)) for one in layers]
    prefix = _prefix(evidence, maps[-1].shape[-1] if maps else None)
    rolled = torch.eye(maps[0].shape[-1]).to(maps[0])
    for attention in maps:
        rolled = (attention.mean(1) @ rolled + rolled) / 2
    by_token = rolled[:, 0] if prefix else rolled.mean(1)
    row = by_token if pooling is None else (pooling.mean(1) @ rolled)[:, 0]
    return row[:, prefix:].reshape(evidence.activations[:, 0].shape)


def legrad(evidence: Evidence) -> Tensor:
    """LeGrad: where more attention would raise the score, read out behind every block.

    map = mean over blocks, heads and rows of ReLU(dT_l/dA_l), columns of the patches; T_l is the target of what the
    network's own last norm and classifier say to the tokens behind block l. With a class token that alone is read
    out, so only its row is not 0. Where a query that is no token pools the tokens (attention pooling), A_l is what it
    attends to behind block l, as in the paper. Blocks are those whose tokens are as many and as wide as the last
    one's: of a network in stages the last stage's. The paper scales the map to 0..1 at the end; here it stays as it
    is. Bousselham et al., ICCV 2025, arXiv:2404.03214. Raises OptionError where the network has no such attention.
    """
    images, cells = evidence.around.images.detach(), evidence.activations[0, 0].numel()
    course = Course(evidence.around.network)
    found = survey(course, images, range(cells, cells + MOST_PREFIX_TOKENS + 1))
    _check_found(found.attention)
    size = tokens_joined(found.joins[-1], len(images)) if found.joins else _any_size(found.attention, len(images))
    prefix = _prefix(evidence, size)
    relevance = []
    with torch.enable_grad():
        for passed in passages(course, images, found):
            score = _followed(evidence.target(passed.logits).sum())
            weights = _read_by(passed, score, len(images))
            for one, by in zip(weights, _gradients(score, weights), strict=True):
                heads = one.heads(len(images), by)
                assert heads is not None
                relevance.append(heads.clamp(min=0).mean((1, 2)))
    return torch.stack(relevance).mean(0)[:, prefix:].reshape(evidence.activations[:, 0].shape)


def _gradients(score: Tensor, weights: list[Weights]) -> tuple[Tensor, ...]:
    return torch.autograd.grad(steady(score), [one.tensor for one in weights], materialize_grads=True)


def _followed(score: Tensor) -> Tensor:
    if not score.requires_grad:
        raise OptionError(
            "this network's answer cannot be differentiated by its attention: its forward uses no_grad, detach or "
            "numpy; take that out, or try 'attentionrollout'"
        )
    return score


def _that_matter(score: Tensor, found: Sequence[Weights]) -> list[Weights]:
    """Those that the score rests on: some networks pool tokens for an answer that nobody asked for."""
    if not found:
        return []
    tensors = [one.tensor for one in found]
    gradients = torch.autograd.grad(score, tensors, retain_graph=True, allow_unused=True)
    return [one for one, gradient in zip(found, gradients, strict=True) if gradient is not None]


def _read_by(passed: Passed, score: Tensor, batch: int) -> list[Weights]:
    """The attention to differentiate by: the block's, or of the query that pools its tokens."""
    after = _that_matter(score, passed.after)
    _check_unchanged([*passed.attention, *after])
    if not after:
        return list(passed.attention)
    tokens = tokens_joined(passed.attention[-1], batch)
    heads = after[0].heads(batch)
    if len(after) > 1 or heads is None or heads.shape[-2:] != (1, tokens):
        raise OptionError(
            "LeGrad needs blocks whose attention joins all tokens, and behind them at most one query that pools these; "
            f"here that of '{after[0].path}' comes behind them, which is of another kind or joins other tokens; "
            "try 'gradcam'"
        )
    return after


def _layers_and_pooling(network: nn.Module, images: Tensor) -> tuple[list[Weights], Tensor | None]:
    """Attention between tokens, and (N, heads, 1, tokens) that of one query which pools them at the end, if any."""
    with torch.no_grad(), Attending() as attending:
        network(images)
    found = attending.found
    _check_found(found)
    last = found[-1].heads(len(images))
    if len(found) == 1 or last is None or last.shape[-2] != 1:
        _check_unchanged(found)
        return found, None
    with torch.enable_grad(), Attending() as attending:
        logits = network(images)
    pools = logits.requires_grad and bool(_that_matter(logits.sum(), attending.found[-1:]))
    _check_unchanged(found if pools else found[:-1])
    return found[:-1], last if pools else None


def _between_all(one: Weights, last: list[Weights], batch: int) -> Tensor:
    """(N, heads, tokens, tokens), of as many tokens as the last attention's."""
    size, heads = tokens_joined(one, batch), one.heads(batch)
    if size is None or heads is None or size != tokens_joined(last[0], batch):
        raise OptionError(
            "rollout follows attention between all tokens from the first block to the last, and some here is "
            f"{OTHERS}; try 'legrad' or 'gradcam'"
        )
    return heads


def _any_size(found: Sequence[Weights], batch: int) -> int | None:
    """How many tokens the last attention joins that joins any, all with all."""
    return next((size for one in reversed(found) if (size := tokens_joined(one, batch)) is not None), None)


def _check_found(found: Sequence[Weights]) -> None:
    if not found:
        raise OptionError(
            "this network has no attention layers, which this method needs; try 'gradcam', or 'layercam' at an earlier "
            "layer. Attention layers join all tokens by nn.MultiheadAttention, scaled_dot_product_attention or a "
            "softmax that multiplies values"
        )


def _check_unchanged(found: Sequence[Weights]) -> None:
    if any(one.changed for one in found):
        raise OptionError(
            "this method needs attention as its softmax gives it, and this network changes it before it is used "
            "(heads that mix, sinks, scaling); try 'gradcam'"
        )


def _prefix(evidence: Evidence, tokens: int | None) -> int:
    """How many tokens come before the patches'. tokens: how many attention joins, None where not all with all."""
    height, width = evidence.activations.shape[-2:]
    if tokens is None:
        raise OptionError(
            f"this method needs attention between all tokens, and this network's is {OTHERS}; try 'gradcam', or "
            "'layercam' at an earlier layer"
        )
    prefix = tokens - height * width
    if not 0 <= prefix <= MOST_PREFIX_TOKENS or not _have_one_stride(
        evidence.around.images.shape[-2:], (height, width)
    ):
        raise OptionError(
            f"this method needs attention between all tokens, one a cell of the layer; here attention joins {tokens} "
            f"tokens and the layer has {width} x {height} cells. Name the layer that makes patches, or try 'gradcam'"
        )
    return prefix


def _have_one_stride(pixels: Sequence[int], cells: Sequence[int]) -> bool:
    """Whether one stride cuts both sides into so many cells, the last of them reaching over the edge or not."""
    sides = list(zip(pixels, cells, strict=True))
    least = max(size / (count + 1) for size, count in sides)
    return least < min(size / (count - 1) if count > 1 else float("inf") for size, count in sides)
