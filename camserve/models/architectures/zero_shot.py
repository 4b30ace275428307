"""Words as classes: START HERE for models that say how well an image and a sentence go together, such as CLIP.

Logits are scale * cosine(image, sentence) + bias. What is explained is an ordinary network, images -> logits (N, C), in
which the features of the sentences are fixed; what makes those stays beside it, for other sentences.
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
# Features of sentences that are kept; of 1024 numbers each they take 16 MB.
_KEPT = 4096
# Prompts that are encoded at once: between two such parts, work that nobody waits for ends.
_TOGETHER = 32


class Pair(NamedTuple):
    """A tower for images and one for text.

    image: images (N, 3, H, W) -> features (N, D). text: prompts -> features (len, D), of any length; raises OptionError
    for one that is too long. scale, bias: logit = scale * cosine + bias. scores: as of a card. input: fields of
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

    sentences: (C, D), rows as long as the cosine is multiplied by. bias: (C,).
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
    """Turns sentences into what a network of one model is made with. Safe to share between threads.

    templates: prompts with {} in place of the sentence; the features of several are averaged, as CLIP's authors do.
    """

    def __init__(self, pair: Pair, templates: Sequence[str] = ()) -> None:
        self.templates = checked_templates(templates) or ("{}",)
        self.bias = pair.bias
        self._text, self._scale = pair.text, pair.scale
        self._kept: OrderedDict[str, Tensor] = OrderedDict()
        self._lock, self._encoding = threading.Lock(), threading.Lock()

    def features(self, sentences: Sequence[str]) -> Tensor:
        """(C, D), each row as long as the cosine is multiplied by.

        Raises OptionError for a sentence that the model cannot read, DeadlinePassed.
        """
        sentences = checked_sentences(sentences)
        with self._lock:
            known = {one: self._kept[one] for one in sentences if one in self._kept}
        left = [one for one in dict.fromkeys(sentences) if one not in known]
        if left:
            with self._encoding:  # tokenisers are no good to two threads at once
                known |= zip(left, self._encoded(left), strict=True)
            self._keep(known)
        return torch.stack([known[one] for one in sentences])

    def _encoded(self, sentences: Sequence[str]) -> Tensor:
        """Of each prompt a feature of length 1, of their mean the same: what CLIP's authors call an ensemble."""
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
