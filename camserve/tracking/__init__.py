"""Explanations in the log of a training: TensorBoard, Weights & Biases, MLflow, and a callback of Lightning.

log_explanations.py    log pictures and scores to the caller's writer or run
lightning_callback.py  log them after the validation of an epoch
"""

from camserve.tracking.log_explanations import to_mlflow, to_tensorboard, to_wandb

__all__ = ["to_mlflow", "to_tensorboard", "to_wandb"]
