"""Methods that change the layer and ask the head what is left of the score; the body runs only once.

A_k(x, y) is the activation of channel k, T(A) the target's score with A in the layer's place, h w the number of cells.
What the head gets besides the layer stays as it is, such as the other branch of a residual block or a class token.
"""

import torch
from torch import Tensor

from camserve.graph.heads import LinearHead
from camserve.methods.evidence import Evidence, image_by_image


def ablationcam(evidence: Evidence) -> Tensor:
    """Ablation-CAM: a channel matters as much as the score falls without it.

    map = sum_k w_k A_k, w_k = (T(A) - T(A with A_k = 0)) / |T(A)|. The paper divides by T itself, which for a negative
    score turns what speaks for the class into what speaks against it. Of a score of 0 there are no shares: then w_k is
    the fall itself. Under a GAP + linear head W no forward is needed: the logits lose W_ck mean(A_k).
    Desai & Ramaswamy, WACV 2020.
    """
    head, score = evidence.head, evidence.target(evidence.logits)
    falls = _linear_falls(evidence, head) if isinstance(head, LinearHead) else _falls(evidence)
    weights = falls / torch.where(score != 0, score.abs(), 1)[:, None]
    return torch.einsum("nk,nkhw->nhw", weights, evidence.activations)


@image_by_image
def _falls(evidence: Evidence) -> Tensor:
    """T(A) - T(A with A_k = 0) for every channel, by running the head: (1, K)."""
    activations = evidence.activations
    channels = torch.arange(activations.shape[1], device=activations.device)

    def left(part: Tensor) -> Tensor:
        kept = channels[None] != part[:, None]
        return evidence.score_layer(activations * kept[:, :, None, None])

    return (evidence.target(evidence.logits) - torch.cat(list(evidence.of_parts(len(channels), left))))[None]


def _linear_falls(evidence: Evidence, head: LinearHead) -> Tensor:
    """The same in closed form, (N, K)."""
    means, logits = evidence.activations.mean((2, 3)), evidence.logits
    left = logits[:, None] - means[:, :, None] * head.weight.T
    return evidence.target(logits)[:, None] - evidence.target(left.flatten(0, 1)).view_as(means)


def reciprocam(evidence: Evidence) -> Tensor:
    """Recipro-CAM: the score that each cell reaches alone.

    map(u) = T(A with every cell but u set to 0) - T(0). T(0), the score of no cell at all, is taken off so that 0 means
    that a cell adds nothing; the paper scales the map to 0..1 instead, which any constant leaves alone. In logits,
    where the authors' code takes the softmax of each cell. Under a GAP + linear head this is CAM / (h w), for free.
    Byun & Lee, arXiv:2209.14074; for transformers, whose class token stays, arXiv:2310.02588.
    """
    head = evidence.head
    alone = _linear_cells(evidence, head) if isinstance(head, LinearHead) else _cells(evidence)
    nothing = evidence.target(head.logits(torch.zeros_like(evidence.activations), evidence.carried))
    return alone - nothing[:, None, None]


@image_by_image
def _cells(evidence: Evidence) -> Tensor:
    """T of each cell alone, by running the head: (1, h, w)."""
    activations = evidence.activations
    height, width = activations.shape[-2:]
    cells = torch.arange(height * width, device=activations.device).view(height, width)

    def alone(part: Tensor) -> Tensor:
        kept = cells[None] == part[:, None, None]
        return evidence.score_layer(activations * kept[:, None])

    return torch.cat(list(evidence.of_parts(height * width, alone))).view(1, height, width)


def _linear_cells(evidence: Evidence, head: LinearHead) -> Tensor:
    """The same in closed form: each cell's logits are its class maps / (h w) + bias. (N, h, w)."""
    maps = head.class_maps(evidence.activations)
    logits = (maps / maps[0, 0].numel()).movedim(1, 3) + head.bias
    return evidence.target(logits.flatten(0, 2)).view(logits.shape[:3])
