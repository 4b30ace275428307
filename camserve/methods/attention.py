"""Methods for transformers: which patches does the classifier's token attend to.

A is one layer's attention (N, heads, tokens, tokens): row i says how much of every token j goes into token i. p other
tokens stand before the patches' tokens; the first of them is the class token. p follows from the patches' grid (h, w).
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
    """Attention rollout: how much of each patch reaches the class token through the attention of all layers.

    map = row of the class token in R_L ... R_1, R_l = (mean over heads of A_l + identity) / 2; the identity stands for
    the residual path. Without a class token, the mean of the patches' rows; with attention pooling, where a query that
    is not a token pools the tokens, the rows weighted by the query's attention, a mean over its heads. The map depends
    neither on the class nor on the values. Abnar & Zuidema, ACL 2020, arXiv:2005.00928.
    Raises OptionError if the network has no such attention, or also has other attention.
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
    """LeGrad: where more attention would raise the score, with the classifier applied after every block.

    map = mean over blocks, heads and rows of ReLU(dT_l/dA_l), columns of the patches. T_l is the target if the
    network's own last norm and classifier read the tokens after block l. A classifier that reads only the class token
    makes every other row 0. With attention pooling, where a query that is not a token pools the tokens, A_l is the
    query's attention after block l, as in the paper. Only blocks with as many and as wide tokens as the last block
    count; in a network with stages these are the blocks of the last stage. The paper scales the map to 0..1 at the end;
    here it is not scaled. Bousselham et al., ICCV 2025, arXiv:2404.03214. Raises OptionError if the network has no such
    attention.
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
            "numpy; remove that, or try 'attentionrollout'"
        )
    return score


def _that_matter(score: Tensor, found: Sequence[Weights]) -> list[Weights]:
    """Return the attention that the score depends on: some networks also pool tokens for an unused answer."""
    if not found:
        return []
    tensors = [one.tensor for one in found]
    gradients = torch.autograd.grad(score, tensors, retain_graph=True, allow_unused=True)
    return [one for one, gradient in zip(found, gradients, strict=True) if gradient is not None]


def _read_by(passed: Passed, score: Tensor, batch: int) -> list[Weights]:
    """Return the attention to differentiate by: the block's own, or that of the query that pools its tokens."""
    after = _that_matter(score, passed.after)
    _check_unchanged([*passed.attention, *after])
    if not after:
        return list(passed.attention)
    tokens = tokens_joined(passed.attention[-1], batch)
    heads = after[0].heads(batch)
    if len(after) > 1 or heads is None or heads.shape[-2:] != (1, tokens):
        raise OptionError(
            "LeGrad needs blocks whose attention joins all tokens, and after them at most one query that pools the "
            f"tokens; here the attention of '{after[0].path}' comes after them, and it is of another kind or joins "
            "other tokens; try 'gradcam'"
        )
    return after


def _layers_and_pooling(network: nn.Module, images: Tensor) -> tuple[list[Weights], Tensor | None]:
    """Return the attention between tokens, and that of the query that pools them at the end, (N, heads, 1, tokens)."""
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
    """Return attention (N, heads, tokens, tokens). It must join as many tokens as the last attention."""
    size, heads = tokens_joined(one, batch), one.heads(batch)
    if size is None or heads is None or size != tokens_joined(last[0], batch):
        raise OptionError(
            "rollout needs attention between all tokens in every block, and some attention here is "
            f"{OTHERS}; try 'legrad' or 'gradcam'"
        )
    return heads


def _any_size(found: Sequence[Weights], batch: int) -> int | None:
    """Return the number of tokens of the last attention that joins all its tokens with all."""
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
            "this method needs attention as the softmax gives it, and this network changes its attention after the "
            "softmax (mixed heads, sinks, scaling); try 'gradcam'"
        )


def _prefix(evidence: Evidence, tokens: int | None) -> int:
    """Return how many tokens stand before the patches'. tokens: how many attention joins; None if not all with all."""
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
            "this method needs attention between all tokens, with one token for each cell of the layer; here attention "
            f"joins {tokens} tokens and the layer has {width} x {height} cells. Name the layer that makes patches, or "
            "try 'gradcam'"
        )
    return prefix


def _have_one_stride(pixels: Sequence[int], cells: Sequence[int]) -> bool:
    """Whether one stride cuts both sides into this many cells. The last cell may reach over the edge."""
    sides = list(zip(pixels, cells, strict=True))
    least = max(size / (count + 1) for size, count in sides)
    return least < min(size / (count - 1) if count > 1 else float("inf") for size, count in sides)
