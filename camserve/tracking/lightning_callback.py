"""A Lightning callback that logs how the explanations of a few images change during training."""

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

from camserve.catalogue.numbers import whole_within
from camserve.catalogue.targets import TargetOption
from camserve.errors import OptionError
from camserve.images.reading import Source
from camserve.model import load
from camserve.tracking.log_explanations import NAME, SIDE, to_mlflow, to_tensorboard, to_wandb

try:
    from lightning.pytorch import Callback
    from lightning.pytorch.loggers import MLFlowLogger, TensorBoardLogger, WandbLogger
except ImportError:
    raise OptionError('Lightning is not installed: pip install "camserve[lightning]"') from None

if TYPE_CHECKING:
    from lightning.pytorch import LightningModule, Trainer
    from torch import nn

    from camserve.explanation.explanation import Explanation


class ExplanationCallback(Callback):
    """Explains the same images after the validation of an epoch, and logs them.

    images: a few images, as `Model.explain` takes them. network: where the classifier is in the LightningModule: the
    name of an attribute, as in "backbone.net", or a function of the module. A copy of the classifier is explained; the
    training is not changed. every: log every n-th epoch. method, target: as for `Model.explain`. name, side: as for
    `to_tensorboard`. loading: other arguments of `camserve.load`, such as labels, size, mean and std.
    It logs to TensorBoard, Weights & Biases and MLflow, to all that the Trainer has, and only in its first process.
    """

    def __init__(
        self,
        images: Sequence[Source],
        *,
        network: "str | Callable[[LightningModule], nn.Module]" = "model",
        every: int = 1,
        method: str | None = None,
        target: TargetOption = None,
        name: str = NAME,
        side: int = SIDE,
        **loading: Any,
    ) -> None:
        """Raises OptionError if there are no images, and for `every` below 1."""
        self.images, self.network, self.every = list(images), network, whole_within("every", every, 1)
        self.method, self.target, self.name, self.side, self.loading = method, target, name, side, loading
        if not self.images:
            raise OptionError("there are no images to explain; give some, such as ['photos/cat.jpg']")

    def setup(self, trainer: "Trainer", pl_module: "LightningModule", stage: str) -> None:
        """Raise OptionError before the training, not after its first epoch, if nothing can be logged."""
        self._network(pl_module)
        known = (TensorBoardLogger, WandbLogger, MLFlowLogger)
        if not any(isinstance(logger, known) for logger in trainer.loggers):
            given = ", ".join(type(logger).__name__ for logger in trainer.loggers) or "none"
            raise OptionError(
                f"the Trainer's loggers are: {given}. Explanations go to a {', a '.join(one.__name__ for one in known)}"
            )

    def on_validation_epoch_end(self, trainer: "Trainer", pl_module: "LightningModule") -> None:
        """Explain the images and log the explanations."""
        if trainer.sanity_checking or not trainer.is_global_zero or trainer.current_epoch % self.every:
            return
        model = load(self._network(pl_module), **self.loading)
        found = [model.explain(image, target=self.target, method=self.method) for image in self.images]
        self._log(trainer, found)

    def _log(self, trainer: "Trainer", found: "list[Explanation]") -> None:
        how: dict[str, Any] = {"name": self.name, "side": self.side}
        step = trainer.global_step
        for logger in trainer.loggers:
            if isinstance(logger, TensorBoardLogger):
                to_tensorboard(logger.experiment, found, step, **how)
            elif isinstance(logger, WandbLogger):  # W&B counts steps itself
                to_wandb(logger.experiment, found, also={"trainer/global_step": step}, **how)
            elif isinstance(logger, MLFlowLogger):
                to_mlflow(logger.run_id, found, step, client=logger.experiment, **how)

    def _network(self, module: "LightningModule") -> "nn.Module":
        if callable(self.network):
            return self.network(module)
        found: Any = module
        for part in self.network.split("."):
            found = getattr(found, part, None)
        if found is None:
            names = ", ".join(repr(name) for name, _ in module.named_children())
            raise OptionError(f"the LightningModule has no {self.network!r}; set network= to one of its parts: {names}")
        network: nn.Module = found
        return network
