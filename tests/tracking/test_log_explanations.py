"""Explanations in the logs of real trackers, offline: read back by the trackers' own readers where they have some.

The trackers are extras that "dev" leaves out, so that most of these tests are skipped: install tensorboard, wandb,
mlflow-skinny and lightning to run them.
"""

import io
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from conftest import picture
from PIL import Image
from torch import nn

import camserve
from camserve.errors import OptionError
from camserve.explanation import Explanation
from camserve.tracking import to_mlflow, to_tensorboard, to_wandb
from camserve.tracking.log_explanations import logged

pytestmark = pytest.mark.filterwarnings("ignore")  # of the trackers' own


class Net(nn.Module):
    """A convolution, global average pooling, a linear layer: two classes."""

    def __init__(self) -> None:
        super().__init__()
        self.body = nn.Sequential(nn.Conv2d(3, 4, 3, 2, 1), nn.ReLU())
        self.head = nn.Linear(4, 2)

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        """(N, 3, H, W) -> (N, 2)."""
        return self.head(self.body(images).mean((2, 3)))


LOADING: dict[str, Any] = {"labels": ["cat", "dog"], "size": 32, "mean": (128,) * 3, "std": (64,) * 3}


@pytest.fixture(scope="module")
def images(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    folder = tmp_path_factory.mktemp("images")
    paths = [folder / "one.png", folder / "tw#ö.png"]
    for number, path in enumerate(paths):
        picture(number, (80, 60)).save(path)
    return paths


@pytest.fixture(scope="module")
def explanations(images: list[Path]) -> list[Explanation]:
    torch.manual_seed(0)
    model = camserve.load(Net(), **LOADING)
    return [model.explain(image) for image in images]


def pixels(file: bytes | Path) -> np.ndarray:
    with Image.open(io.BytesIO(file) if isinstance(file, bytes) else file) as opened:
        return np.asarray(opened.convert("RGB"))


def drawn(explanations: list[Explanation]) -> list[np.ndarray]:
    return [np.asarray(one.picture) for one in logged(explanations)]


def test_each_image_keeps_its_key_and_large_ones_are_made_smaller(explanations: list[Explanation]) -> None:
    several = list(logged([*explanations, explanations[0]], side=40))
    assert [one.key for one in several] == ["one.png", "tw_.png", "one.png-2"]
    assert [one.words for one in several[:2]] == [one.in_short for one in explanations]
    assert several[0].score == explanations[0].score
    large = camserve.load(Net(), **LOADING).explain(picture(0, (900, 600)))
    (one,) = logged([large], side=300)
    assert one.picture.size == (300, 200)
    with pytest.raises(OptionError, match="side must be a whole number of 1 or more, not 0"):
        list(logged([large], side=0))


def test_tensorboard_reads_pictures_words_and_scores(explanations: list[Explanation], tmp_path: Path) -> None:
    tensorboard = pytest.importorskip("torch.utils.tensorboard", reason="no tensorboard to write for")
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    with tensorboard.SummaryWriter(tmp_path) as writer:
        for step in (3, 7):
            to_tensorboard(writer, explanations, step)
    found = EventAccumulator(str(tmp_path)).Reload()
    assert sorted(found.Tags()["images"]) == ["explanations/one.png", "explanations/tw_.png"]
    for tag, expected in zip(("one.png", "tw_.png"), drawn(explanations), strict=True):
        seen = found.Images(f"explanations/{tag}")
        assert [event.step for event in seen] == [3, 7]
        assert (pixels(seen[0].encoded_image_string) == expected).all()
    (score, _) = found.Scalars("explanations/score/one.png")
    assert score.value == pytest.approx(explanations[0].score)
    assert found.Tags()["tensors"] == [f"explanations/{tag}/text_summary" for tag in ("one.png", "tw_.png")]


def test_mlflow_keeps_pictures_and_metrics_by_step(
    explanations: list[Explanation], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    mlflow = pytest.importorskip("mlflow", reason="no mlflow to write for")
    monkeypatch.setenv("MLFLOW_ALLOW_FILE_STORE", "true")  # the only store that needs no database
    client = mlflow.MlflowClient(tracking_uri=tmp_path.as_uri())
    run = client.create_run(client.create_experiment("camserve")).info.run_id
    for step in (0, 1):
        to_mlflow(run, explanations, step, client=client)
    (score, _) = client.get_metric_history(run, "explanations/score/one.png")
    assert (score.value, score.step) == (pytest.approx(explanations[0].score), 0)
    kept = sorted(path for path in tmp_path.rglob("*.png") if "artifacts" in path.parts)
    assert len(kept) == 4
    (first,) = (path for path in kept if "one.png+step+0+" in path.name)
    assert (pixels(first) == drawn(explanations)[0]).all()


def test_weights_and_biases_keeps_pictures_offline(
    explanations: list[Explanation], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    wandb = pytest.importorskip("wandb", reason="no wandb to write for")
    monkeypatch.setenv("WANDB_SILENT", "true")
    with wandb.init(mode="offline", dir=tmp_path, project="camserve") as run:
        to_wandb(run, explanations, 2)
        run.log({}, step=3)  # which ends step 2
        summary = dict(run.summary)
    assert summary["explanations/score/one.png"] == pytest.approx(explanations[0].score)
    assert summary["explanations/one.png"]["caption"] == explanations[0].in_short
    kept = sorted(tmp_path.rglob("*.png"))
    assert len(kept) == 2
    (first,) = (path for path in kept if path.name.startswith("one.png_"))
    assert (pixels(first) == drawn(explanations)[0]).all()


@pytest.fixture
def training(monkeypatch: pytest.MonkeyPatch) -> Any:
    """Fits a network for so many epochs under a callback and a logger, and gives it."""
    lightning = pytest.importorskip("lightning.pytorch", reason="no lightning to train with")
    monkeypatch.setenv("TQDM_DISABLE", "1")

    class Training(lightning.LightningModule):  # type: ignore[name-defined, misc]
        def __init__(self) -> None:
            super().__init__()
            self.model = Net()

        def training_step(self, batch: Any, _: int) -> torch.Tensor:
            return nn.functional.cross_entropy(self.model(batch[0]), batch[1])

        def validation_step(self, batch: Any, _: int) -> None:
            self.model(batch[0])

        def configure_optimizers(self) -> torch.optim.Optimizer:
            return torch.optim.SGD(self.parameters(), 0.1)

    def fit(callbacks: list[Any], logger: Any, epochs: int, root: Path) -> Net:
        torch.manual_seed(0)
        data = torch.utils.data.TensorDataset(torch.randn(8, 3, 32, 32), torch.arange(8) % 2)
        loader = torch.utils.data.DataLoader(data, 4, shuffle=True)
        trainer = lightning.Trainer(
            max_epochs=epochs, accelerator="cpu", logger=logger, callbacks=callbacks, default_root_dir=root,
            enable_progress_bar=False, enable_model_summary=False, enable_checkpointing=False, log_every_n_steps=1,
        )  # fmt: skip
        module = Training()
        trainer.fit(module, loader, loader)
        return module.model

    return fit


def test_a_callback_of_lightning_logs_after_epochs_and_leaves_the_training_as_it_is(
    training: Any, images: list[Path], tmp_path: Path
) -> None:
    pytest.importorskip("tensorboard", reason="no tensorboard to write for")
    from lightning.pytorch.loggers import TensorBoardLogger
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    from camserve.tracking.lightning_callback import ExplanationCallback

    logger = TensorBoardLogger(tmp_path, name="run", version="one")
    callback = ExplanationCallback(images, every=2, target="dog", **LOADING)
    watched = training([callback], logger, 3, tmp_path)
    alone = training([], TensorBoardLogger(tmp_path, name="run", version="two"), 3, tmp_path)
    for one, other in zip(watched.parameters(), alone.parameters(), strict=True):
        assert torch.equal(one, other)
    found = EventAccumulator(str(tmp_path / "run" / "one")).Reload()
    seen = found.Images("explanations/one.png")
    assert [event.step for event in seen] == [2, 6]  # two steps an epoch: after the first and the third
    last = camserve.load(watched, **LOADING).explain(images[0], target="dog")
    assert (pixels(seen[1].encoded_image_string) == drawn([last])[0]).all()


def test_a_callback_says_before_the_training_what_would_go_wrong(
    training: Any, images: list[Path], tmp_path: Path
) -> None:
    from camserve.tracking.lightning_callback import ExplanationCallback

    with pytest.raises(OptionError, match="there are no images to explain"):
        ExplanationCallback([])
    with pytest.raises(OptionError, match="the Trainer's loggers are: none. Explanations go to a TensorBoardLogger"):
        training([ExplanationCallback(images)], False, 1, tmp_path)
    with pytest.raises(
        OptionError, match="the LightningModule has no 'net'; set network= to one of its parts: 'model'"
    ):
        training([ExplanationCallback(images, network="net")], False, 1, tmp_path)
