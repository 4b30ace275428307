"""Methods that change the layer and run only the head again to see what is left of the score. The body runs once.

A_k(x, y) is the activation of channel k, T(A) the target's score if the layer gives A, h w the number of cells. The
head's other inputs stay unchanged, such as the other branch of a residual block or a class token.
"""

import torch
from torch import Tensor

from camserve.graph.heads import LinearHead
from camserve.methods.evidence import Evidence, image_by_image


def ablationcam(evidence: Evidence) -> Tensor:
    """Ablation-CAM: a channel matters as much as the score falls without it.

    map = sum_k w_k A_k, w_k = (T(A) - T(A with A_k = 0)) / |T(A)|. The paper divides by T itself: with a negative score
    this swaps evidence for and against the class. If the score is 0, w_k is the fall itself. With a GAP + linear head W
    no forward pass is needed: the logits lose W_ck mean(A_k).
    Desai & Ramaswamy, WACV 2020.
    """
    head, score = evidence.head, evidence.target(evidence.logits)
    falls = _linear_falls(evidence, head) if isinstance(head, LinearHead) else _falls(evidence)
    weights = falls / torch.where(score != 0, score.abs(), 1)[:, None]
    return torch.einsum("nk,nkhw->nhw", weights, evidence.activations)


@image_by_image
def _falls(evidence: Evidence) -> Tensor:
    """Run the head for T(A) - T(A with A_k = 0) of every channel: (1, K)."""
    activations = evidence.activations
    channels = torch.arange(activations.shape[1], device=activations.device)

    def left(part: Tensor) -> Tensor:
        kept = channels[None] != part[:, None]
        return evidence.score_layer(activations * kept[:, :, None, None])

    return (evidence.target(evidence.logits) - torch.cat(list(evidence.of_parts(len(channels), left))))[None]


def _linear_falls(evidence: Evidence, head: LinearHead) -> Tensor:
    """Return the same as `_falls` in closed form, (N, K)."""
    means, logits = evidence.activations.mean((2, 3)), evidence.logits
    left = logits[:, None] - means[:, :, None] * head.weight.T
    return evidence.target(logits)[:, None] - evidence.target(left.flatten(0, 1)).view_as(means)


def reciprocam(evidence: Evidence) -> Tensor:
    """Recipro-CAM: the score that each cell reaches alone.

    map(u) = T(A with every cell except u set to 0) - T(0). T(0), the score without any cell, is subtracted so that 0
    means that a cell adds nothing; the paper scales the map to 0..1 instead, and a constant does not change that. The
    map is in logits; the authors' code takes the softmax for each cell. With a GAP + linear head the map is
    CAM / (h w) and needs no forward pass.
    Byun & Lee, arXiv:2209.14074; for transformers, whose class token stays, arXiv:2310.02588.
    """
    head = evidence.head
    alone = _linear_cells(evidence, head) if isinstance(head, LinearHead) else _cells(evidence)
    nothing = evidence.target(head.logits(torch.zeros_like(evidence.activations), evidence.carried))
    return alone - nothing[:, None, None]


@image_by_image
def _cells(evidence: Evidence) -> Tensor:
    """Run the head for T of each cell alone: (1, h, w)."""
    activations = evidence.activations
    height, width = activations.shape[-2:]
    cells = torch.arange(height * width, device=activations.device).view(height, width)

    def alone(part: Tensor) -> Tensor:
        kept = cells[None] == part[:, None, None]
        return evidence.score_layer(activations * kept[:, None])

    return torch.cat(list(evidence.of_parts(height * width, alone))).view(1, height, width)


def _linear_cells(evidence: Evidence, head: LinearHead) -> Tensor:
    """Return the same as `_cells` in closed form, (N, h, w): a cell's logits are its class maps / (h w) + bias."""
    maps = head.class_maps(evidence.activations)
    logits = (maps / maps[0, 0].numel()).movedim(1, 3) + head.bias
    return evidence.target(logits.flatten(0, 2)).view(logits.shape[:3])
