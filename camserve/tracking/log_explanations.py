"""Log pictures and scores of explanations to the caller's writer or run: one function for each tracker.

Each image has the same name in every step, so that a tracker shows how its explanation changes: NAME/cat.jpg, and
NAME/score/cat.jpg for the score of the explained class, if it has a score.
"""

import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import replace
from typing import Any, NamedTuple

import numpy as np
from PIL import Image

from camserve.catalogue.numbers import whole_within
from camserve.errors import OptionError
from camserve.explanation.explanation import Explanation

NAME = "explanations"
SIDE = 512  # pixels: the longest side of logged pictures


class Logged(NamedTuple):
    """What is logged for one explanation.

    key: unique in a step. picture: RGB, with a legend. words: such as "tabby 0.60".
    """

    key: str
    picture: Image.Image
    words: str
    score: float | None


def to_tensorboard(
    writer: Any, explanations: Iterable[Explanation], step: int, *, name: str = NAME, side: int = SIDE
) -> None:
    """Add an image, a text and a scalar for each explanation.

    writer: a SummaryWriter of torch.utils.tensorboard or of tensorboardX. step: the step of the writer's other values.
    name: the first part of every tag. side: the longest side of a picture, in pixels.
    """
    for one in logged(explanations, side):
        writer.add_image(f"{name}/{one.key}", np.asarray(one.picture), step, dataformats="HWC")
        writer.add_text(f"{name}/{one.key}", one.words, step)
        if one.score is not None:
            writer.add_scalar(f"{name}/score/{one.key}", one.score, step)


def to_wandb(
    run: Any,
    explanations: Iterable[Explanation],
    step: int | None = None,
    *,
    name: str = NAME,
    side: int = SIDE,
    also: Mapping[str, float] | None = None,
) -> None:
    """Log all explanations at once, each as a picture with a caption and a number.

    run: of `wandb.init`. step: None is the run's next step; W&B accepts no earlier step. name, side: as for
    `to_tensorboard`. also: other numbers of the step. Raises OptionError if wandb is not installed.
    """
    try:
        import wandb
    except ImportError:
        raise OptionError('Weights & Biases is not installed: pip install "camserve[wandb]"') from None
    values: dict[str, Any] = dict(also or {})
    for one in logged(explanations, side):
        values[f"{name}/{one.key}"] = wandb.Image(one.picture, caption=one.words)
        if one.score is not None:
            values[f"{name}/score/{one.key}"] = one.score
    run.log(values, step=step)


def to_mlflow(
    run_id: str,
    explanations: Iterable[Explanation],
    step: int,
    *,
    name: str = NAME,
    side: int = SIDE,
    client: Any = None,
) -> None:
    """Log a picture and a metric for each explanation.

    run_id: such as `mlflow.active_run().info.run_id`. name, side: as for `to_tensorboard`. client: an MlflowClient;
    default a client of the configured tracking server. Raises OptionError if mlflow is not installed.
    """
    if client is None:
        try:
            from mlflow import MlflowClient
        except ImportError:
            raise OptionError('MLflow is not installed: pip install "camserve[mlflow]"') from None
        client = MlflowClient()
    for one in logged(explanations, side):
        client.log_image(run_id, one.picture, key=f"{name}/{one.key}", step=step)
        if one.score is not None:
            client.log_metric(run_id, f"{name}/score/{one.key}", one.score, step=step)


def logged(explanations: Iterable[Explanation], side: int = SIDE) -> Iterator[Logged]:
    """Yield what is logged for each explanation; a repeated key gets a number. Raises OptionError for a wrong side."""
    side, seen = whole_within("side", side, 1), dict[str, int]()
    for one in explanations:
        plain = re.sub(r"[^\w .-]+", "_", one.photo.name, flags=re.ASCII) or "image"
        seen[plain] = seen.get(plain, 0) + 1
        key = plain if seen[plain] == 1 else f"{plain}-{seen[plain]}"
        small = replace(one, style=one.style.model_copy(update={"max_side": side}))
        yield Logged(key, small.overlay(legend=True), one.in_short, one.score)
