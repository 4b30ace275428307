"""START HERE for models that say how well an image and a sentence fit, such as CLIP. Each class is a sentence.

Logits are scale * cosine(image, sentence) + bias. camserve explains an ordinary network, images -> logits (N, C), which
holds the features of the sentences as constants. The text encoder is kept beside it, to encode other sentences.
"""

import threading
from collections import OrderedDict
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from camserve.catalogue.class_sentences import ZERO_SHOT, checked_sentences, checked_templates
from camserve.errors import ModelError
from camserve.system.deadlines import check_deadline

PREFIX = ZERO_SHOT
# Features of sentences in the cache. With 1024 numbers each they take 16 MB.
_KEPT = 4096
# Prompts in one batch. Between batches, work stops if its deadline has passed.
_TOGETHER = 32


class Pair(NamedTuple):
    """An image tower and a text tower.

    image: images (N, 3, H, W) -> features (N, D). text: prompts -> features (len, D), of any length; raises OptionError
    for a prompt that is too long. scale, bias: logit = scale * cosine + bias. scores: as in a card. input: fields of
    `camserve.models.card.Input`.
    """

    image: nn.Module
    text: Callable[[Sequence[str]], Tensor]
    scale: float
    bias: float
    scores: str
    input: dict[str, Any]


class ZeroShot(nn.Module):
    """images (N, 3, H, W) -> scale * cosine + bias, (N, C).

    sentences: (C, D), normalised features times scale. bias: (C,).
    """

    sentences: Tensor
    bias: Tensor

    def __init__(self, image: nn.Module, sentences: Tensor, bias: float) -> None:
        super().__init__()
        self.image = image
        self.register_buffer("sentences", sentences)
        self.register_buffer("bias", torch.full((len(sentences),), bias))

    def forward(self, images: Tensor) -> Tensor:
        """(N, 3, H, W) -> (N, C)."""
        return F.linear(F.normalize(self.image(images)), self.sentences, self.bias)


class Words:
    """Turns sentences into the weights of a zero-shot network. Safe to share between threads.

    templates: prompts with {} in place of the sentence; the features of several are averaged, as in CLIP's paper.
    """

    def __init__(self, pair: Pair, templates: Sequence[str] = ()) -> None:
        self.templates = checked_templates(templates) or ("{}",)
        self.bias = pair.bias
        self._text, self._scale = pair.text, pair.scale
        self._kept: OrderedDict[str, Tensor] = OrderedDict()
        self._lock, self._encoding = threading.Lock(), threading.Lock()

    def features(self, sentences: Sequence[str]) -> Tensor:
        """Normalised features times scale, (C, D).

        Raises OptionError for a sentence that the model cannot read, DeadlinePassed.
        """
        sentences = checked_sentences(sentences)
        with self._lock:
            known = {one: self._kept[one] for one in sentences if one in self._kept}
        left = [one for one in dict.fromkeys(sentences) if one not in known]
        if left:
            with self._encoding:  # a tokeniser is not safe to share between threads
                known |= zip(left, self._encoded(left), strict=True)
            self._keep(known)
        return torch.stack([known[one] for one in sentences])

    def _encoded(self, sentences: Sequence[str]) -> Tensor:
        """Normalise the feature of each prompt, average over the templates, and normalise again: CLIP's ensemble."""
        prompts = [template.replace("{}", one) for one in sentences for template in self.templates]
        found = []
        for start in range(0, len(prompts), _TOGETHER):
            check_deadline()
            with torch.no_grad():
                found.append(F.normalize(self._text(prompts[start : start + _TOGETHER]).float()))
        every = torch.cat(found)
        by_sentence = every.reshape(len(sentences), len(self.templates), every.shape[1])
        features = F.normalize(by_sentence.mean(1))
        if not features.isfinite().all():
            raise ModelError("the text tower answers with values that are no numbers: its weights are broken")
        return self._scale * features

    def _keep(self, found: dict[str, Tensor]) -> None:
        with self._lock:
            for one, feature in found.items():
                self._kept[one] = feature
                self._kept.move_to_end(one)
            while len(self._kept) > _KEPT:
                self._kept.popitem(last=False)
