"""Explanations in the log of a training: TensorBoard, Weights & Biases, MLflow, and a callback of Lightning.

log_explanations.py    pictures and scores into a writer or a run that the caller has
lightning_callback.py  the same after every epoch's validation
"""

from camserve.tracking.log_explanations import to_mlflow, to_tensorboard, to_wandb

__all__ = ["to_mlflow", "to_tensorboard", "to_wandb"]
