"""Which map of a sentence finds the object: its own map, or the map of what sets it apart from other sentences?

    python benchmarks/sentences.py DATA [--count 100] [--scale 100] [--common 0.7]

A zero-shot model answers with cosines between the image's features and those of sentences. Its weights are too large to
ship, so this measures a twin with real features: EfficientNet-Lite0's pooled features, and its classifier's rows in
place of the sentences, all scaled to length 1, times --scale as in CLIP. DATA/val-boxes as for benchmarks/fit_size.py.
Only photographs count whose boxes cover less than a quarter and whose class the twin predicts.

Sentences are more alike than rows of a classifier: in CLIP the cosine of any two is about 0.7. So the ten sentences are
also measured with one random direction added to all of them, until their mean cosine is --common.

Printed per map, for all 1000 classes as sentences and for ten (the true class and nine random classes): pixel AP,
pointing, energy in the boxes; see benchmarks/map_quality.py.
"""

import argparse
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import torch
from fit_size import boxed
from map_quality import centre, scores, uniform
from torch import nn
from torch.nn import functional

import camserve
from camserve.config import load_settings


class Twin(nn.Module):
    """images -> scale * cosines (N, C) with some rows of a classifier."""

    def __init__(self, classifier: nn.Module, scale: float, rows: list[int], common: float) -> None:
        super().__init__()
        self.body, self.scale = nn.Sequential(classifier.stem, classifier.blocks, classifier.head), scale
        own = functional.normalize(classifier.classifier.weight[rows])
        if common:
            alike = (own @ own.T).fill_diagonal_(0).sum() / (len(own) * (len(own) - 1))
            shared = torch.randn(own.shape[1], generator=torch.Generator().manual_seed(0))
            own = own + ((common - alike) / (1 - common)) ** 0.5 * functional.normalize(shared, dim=0)
        self.register_buffer("rows", functional.normalize(own))

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        """(N, 3, H, W) -> (N, C)."""
        pooled = self.body(images).mean((2, 3))
        return self.scale * functional.normalize(pooled) @ self.rows.T


MAPS = {
    "its own": {"quantity": "logit"},
    "less the mean of the others": {"quantity": "contrast"},
    "log-softmax": {"quantity": "log-softmax"},
    "finercam": {"method": "finercam"},
}


def rows_of(
    data: Path, how_many: int | None, count: int | None, scale: float, common: float
) -> Iterator[list[tuple[float, ...]]]:
    """Yield the numbers of each map of each photograph. how_many: sentences; None for all classes."""
    given = camserve.load()
    # one pass, to compare the maps themselves
    settings = load_settings(overrides={"explain": {"own_answer": False, "sharp": False}})

    def twin(rows: list[int]) -> camserve.Model:
        labels, spec = [given.labels[row] for row in rows], given.card.input.model_dump(exclude_none=True)
        return camserve.load(Twin(given.module, scale, rows, common), labels=labels, settings=settings, **spec)

    everything = twin(list(range(1000))) if how_many is None else given
    for photo, index, inside, share in boxed(data):
        if share >= 0.25:
            continue
        if how_many is None:
            model, target = everything, index
        else:
            others = np.random.default_rng(index).permutation(1000)
            rows = [index, *(int(row) for row in others if row != index)][:how_many]
            model, target = twin(rows), 0
        first = model.explain(photo, target=target)
        if first.logits.argmax() != target:
            continue
        heats = [uniform(photo, index), centre(photo, index)]
        heats += [np.nan_to_num(model.explain(photo, target=target, **asked).heatmap) for asked in MAPS.values()]
        yield [scores(heat, inside) for heat in heats]
        count = None if count is None else count - 1
        if count == 0:
            return


def main() -> None:
    """Print one row per map."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", type=Path)
    parser.add_argument("--count", type=int, help="so many photographs; default: all")
    parser.add_argument("--scale", type=float, default=100)
    parser.add_argument("--common", type=float, default=0.7)
    options = parser.parse_args()
    torch.set_num_threads(1)
    for how_many, common in ((None, 0.0), (10, 0.0), (10, options.common)):
        figures = np.array(list(rows_of(options.data, how_many, options.count, options.scale, common)))
        print(f"{how_many or 1000} sentences, cosine {common} added, {len(figures)} photographs")
        for name, row, spread in zip(
            ("uniform", "centre Gaussian", *MAPS), figures.mean(0), figures.std(0) / len(figures) ** 0.5, strict=True
        ):
            print(f"  {name:28}" + "".join(f"{row[i]:8.3f} +- {spread[i]:.3f}" for i in (0, 1, 3)), flush=True)


if __name__ == "__main__":
    main()
