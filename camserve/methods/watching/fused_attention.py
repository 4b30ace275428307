"""torch's fused attention computed step by step, so that its weights can be observed and differentiated twice.

`keep` takes the weights (..., queries, keys), whose rows add up to 1, and returns the weights to continue with.
"""

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F

from camserve.errors import OptionError

Keep = Callable[[Tensor], Tensor]


def scaled_dot_product(
    keep: Keep,
    query: Tensor,
    key: Tensor,
    value: Tensor,
    attn_mask: Tensor | None = None,
    dropout_p: float = 0.0,
    is_causal: bool = False,
    scale: float | None = None,
    enable_gqa: bool = False,
) -> Tensor:
    """Compute torch's scaled_dot_product_attention: (..., heads, tokens, channels)."""
    if dropout_p:
        raise OptionError(
            "this network drops attention at random also in evaluation mode, so that a map could not be repeated; "
            "pass dropout_p=0 to scaled_dot_product_attention in evaluation mode, or try 'gradcam'"
        )
    if enable_gqa:
        key, value = (part.repeat_interleave(query.shape[-3] // part.shape[-3], -3) for part in (key, value))
    scores = query @ key.mT * (query.shape[-1] ** -0.5 if scale is None else scale)
    if is_causal:
        attn_mask = torch.ones_like(scores[(0,) * (scores.ndim - 2)], dtype=torch.bool).tril()
    return keep(_softmax(scores, attn_mask)) @ value


def _softmax(scores: Tensor, mask: Tensor | None) -> Tensor:
    """mask: numbers that are added, or bools: whether a query may attend to a key. A query without keys gets 0."""
    if mask is None:
        return scores.softmax(-1)
    if mask.dtype != torch.bool:
        return (scores + mask).softmax(-1)
    mask = mask.expand(scores.shape)
    weights = scores.masked_fill(~mask, -torch.inf).softmax(-1)
    return weights.masked_fill(~mask.any(-1, keepdim=True), 0)


def multi_head(
    keep: Keep,
    query: Tensor,
    key: Tensor,
    value: Tensor,
    embed_dim_to_check: int,
    num_heads: int,
    in_proj_weight: Tensor | None,
    in_proj_bias: Tensor | None,
    bias_k: Tensor | None,
    bias_v: Tensor | None,
    add_zero_attn: bool,
    dropout_p: float,
    out_proj_weight: Tensor,
    out_proj_bias: Tensor | None,
    training: bool = True,
    key_padding_mask: Tensor | None = None,
    need_weights: bool = True,
    attn_mask: Tensor | None = None,
    use_separate_proj_weight: bool = False,
    average_attn_weights: bool = True,
    is_causal: bool = False,
    **others: Any,
) -> tuple[Tensor, Tensor | None]:
    """Compute torch's multi_head_attention_forward: (tokens, N, channels); is_causal is only a hint about the mask."""
    own = bias_k is not None or add_zero_attn or others.get("static_k") is not None
    if own or others.get("static_v") is not None or query.ndim != 3:
        raise OptionError("this network's attention adds tokens of its own to the image's; try 'gradcam'")
    if use_separate_proj_weight:
        shares = [others[name] for name in ("q_proj_weight", "k_proj_weight", "v_proj_weight")]
    else:
        assert in_proj_weight is not None
        shares = list(in_proj_weight.chunk(3))
    biases = (None, None, None) if in_proj_bias is None else in_proj_bias.chunk(3)
    parts = zip((query, key, value), shares, biases, strict=True)
    q, k, v = (_by_head(F.linear(tokens, *by), num_heads) for tokens, *by in parts)
    kept: list[Tensor] = []

    def keep_these(weights: Tensor) -> Tensor:
        kept.append(keep(weights))
        return kept[-1]

    mask = _one_mask(attn_mask, key_padding_mask, query.shape[1], num_heads, q.dtype)
    mixed = scaled_dot_product(keep_these, q, k, v, mask, dropout_p if training else 0.0)
    joined = F.linear(mixed.permute(2, 0, 1, 3).flatten(2), out_proj_weight, out_proj_bias)
    if not need_weights:
        return joined, None
    return joined, kept[0].mean(1) if average_attn_weights else kept[0]


def _by_head(tokens: Tensor, heads: int) -> Tensor:
    """(T, N, K) -> (N, heads, T, K / heads)."""
    return tokens.reshape(*tokens.shape[:2], heads, -1).permute(1, 2, 0, 3)


def _one_mask(mask: Tensor | None, padding: Tensor | None, batch: int, heads: int, dtype: torch.dtype) -> Tensor | None:
    """Join both masks, where True forbids, to numbers that are added to the scores (N, heads, queries, keys)."""
    if mask is not None and mask.ndim == 3:
        mask = mask.reshape(batch, heads, *mask.shape[1:])
    if padding is not None:
        padding = padding[:, None, None]
    added = [_added(one, dtype) for one in (mask, padding) if one is not None]
    return sum(added[1:], added[0]) if added else None


def _added(mask: Tensor, dtype: torch.dtype) -> Tensor:
    if mask.dtype != torch.bool:
        return mask.to(dtype)
    return torch.zeros(mask.shape, dtype=dtype, device=mask.device).masked_fill(mask, -torch.inf)
