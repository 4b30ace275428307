"""pytorch-grad-cam, torchcam and captum, each behind one function: images and classes -> maps.

Each is called as its own documentation shows, on a copy of the network whose parameters have gradients, at the layer
that camserve explains. A library that is not installed is left out.
"""

import copy
import logging
import os
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from importlib import import_module
from importlib.util import find_spec
from typing import Any

import numpy as np
import torch
from PIL import Image
from torch import Tensor, nn

import camserve

os.environ.setdefault("TQDM_DISABLE", "1")  # pytorch-grad-cam draws a progress bar
warnings.filterwarnings("ignore", module="captum")  # it warns about its own hooks and requires_grad
logging.getLogger("torchcam").setLevel(logging.ERROR)  # it logs that it finds the last linear layer itself

# images (N, 3, H, W) and one class per image -> maps (N, h, w)
Maps = Callable[[Tensor, list[int]], np.ndarray]

_MODULES = {"pytorch-grad-cam": "pytorch_grad_cam", "torchcam": "torchcam.methods", "captum": "captum.attr"}


@dataclass(frozen=True)
class Other:
    """A method of another library. method: camserve's name for it. forwards: forward passes for K channels."""

    library: str
    name: str
    method: str
    forwards: Callable[[int], int] = lambda channels: 1

    def __str__(self) -> str:
        return f"{self.library} {self.name}"


def _others(library: str, names: dict[str, str], **forwards: Callable[[int], int]) -> list[Other]:
    return [Other(library, name, method, forwards.get(name, lambda k: 1)) for name, method in names.items()]


OTHERS = [
    *_others(
        "pytorch-grad-cam",
        {
            "GradCAM": "gradcam", "GradCAMPlusPlus": "gradcam++", "XGradCAM": "xgradcam", "HiResCAM": "hirescam",
            "LayerCAM": "layercam", "GradCAMElementWise": "elementwise", "EigenCAM": "eigencam",
            "EigenGradCAM": "eigengradcam", "KPCA_CAM": "kpcacam", "FEM": "fem", "FinerCAM": "finercam",
            "ShapleyCAM": "shapleycam", "RandomCAM": "random", "FullGrad": "fullgrad", "AblationCAM": "ablationcam",
            "ScoreCAM": "scorecam",
        },
        AblationCAM=lambda k: k,
        ScoreCAM=lambda k: k,
    ),
    *_others(
        "torchcam",
        {
            "CAM": "cam", "GradCAM": "gradcam", "GradCAMpp": "gradcam++", "SmoothGradCAMpp": "smoothgradcam++",
            "XGradCAM": "xgradcam", "LayerCAM": "layercam", "ScoreCAM": "scorecam", "SSCAM": "sscam", "ISCAM": "iscam",
        },
        ScoreCAM=lambda k: k,
        SSCAM=lambda k: 35 * k,
        ISCAM=lambda k: 10 * k,
    ),
    *_others(
        "captum",
        {
            "LayerGradCam": "gradcam", "GuidedBackprop": "guidedbackprop", "GuidedGradCam": "guidedgradcam",
            "IntegratedGradients": "integratedgradients", "Occlusion": "occlusion",
        },
        GuidedGradCam=lambda k: 2,
        IntegratedGradients=lambda k: 32,
        Occlusion=lambda k: 170,
    ),
]  # fmt: skip

# Methods with the same map as camserve's own choice, at a last layer before global average pooling.
FASTEST = [
    other
    for other in OTHERS
    if str(other) in ("pytorch-grad-cam GradCAM", "torchcam CAM", "torchcam GradCAM", "captum LayerGradCam")
]


# Methods whose maps are compared with boxes: each library's most used method, and its finer methods.
SHOWN = [
    other
    for other in OTHERS
    if str(other)
    in (
        "pytorch-grad-cam GradCAM", "pytorch-grad-cam GradCAMPlusPlus", "pytorch-grad-cam EigenCAM",
        "torchcam CAM", "torchcam LayerCAM", "captum LayerGradCam",
    )
]  # fmt: skip


def installed(library: str) -> bool:
    """Whether a library of OTHERS is installed."""
    return find_spec(_MODULES[library].partition(".")[0]) is not None


def trainable(network: nn.Module) -> nn.Module:
    """Return a copy of `network` whose parameters have gradients, as these libraries expect."""
    return copy.deepcopy(network).eval().requires_grad_(True)


def attached(other: Other, model: camserve.Model, network: nn.Module | None = None) -> Maps | None:
    """Return `other` on a new copy of the model's network, or on `network`; None if its library is not installed."""
    if not installed(other.library):
        return None
    network = trainable(model.module) if network is None else network
    build = {"pytorch-grad-cam": _grad_cam, "torchcam": _torchcam, "captum": _captum}[other.library]
    return build(getattr(import_module(_MODULES[other.library]), other.name), network, model.default_layer)


def _grad_cam(kind: Any, network: nn.Module, layer: str) -> Maps:
    targets = import_module("pytorch_grad_cam.utils.model_targets")
    by_name = {"FinerCAM": None, "ShapleyCAM": targets.ClassifierOutputReST}
    made = kind(model=network, target_layers=[network.get_submodule(layer)])

    def maps(images: Tensor, classes: list[int]) -> np.ndarray:
        target = by_name.get(kind.__name__, targets.ClassifierOutputTarget)
        return np.asarray(made(images, None if target is None else [target(index) for index in classes]))

    return maps


def _torchcam(kind: Any, network: nn.Module, layer: str) -> Maps:
    extract = kind(network, layer)
    without_gradients = kind.__name__ in ("CAM", "ScoreCAM", "SSCAM", "ISCAM")

    def maps(images: Tensor, classes: list[int]) -> np.ndarray:
        with torch.set_grad_enabled(not without_gradients):
            return extract(classes, network(images))[0].detach().numpy()

    return maps


def _captum(kind: Any, network: nn.Module, layer: str) -> Maps:
    of_layer = kind.__name__ in ("LayerGradCam", "GuidedGradCam")
    made = kind(network, network.get_submodule(layer)) if of_layer else kind(network)
    options: dict[str, dict[str, Any]] = {
        "Occlusion": {"sliding_window_shapes": (3, 32, 32), "strides": (3, 16, 16)},
        "IntegratedGradients": {"n_steps": 32, "method": "gausslegendre", "internal_batch_size": 4},
    }
    attribute = partial(made.attribute, **options.get(kind.__name__, {}))

    def maps(images: Tensor, classes: list[int]) -> np.ndarray:
        return attribute(images, target=classes).sum(1).detach().numpy()

    return maps


def laid_over(library: str, heat: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """Lay a map (h, w) over a photograph of `size` (W, H) as the library does it: (H, W), never negative.

    pytorch-grad-cam: bilinear cv2.resize of the map that it resized to the input; torchcam: bicubic, as `overlay_mask`;
    captum: `LayerAttribution.interpolate`, by default the nearest cell.
    """
    if library == "pytorch-grad-cam":
        laid = import_module("cv2").resize(heat, size)
    elif library == "torchcam":
        laid = np.asarray(Image.fromarray(heat).resize(size, Image.Resampling.BICUBIC))
    else:
        interpolate = import_module("captum.attr").LayerAttribution.interpolate
        laid = interpolate(torch.from_numpy(heat)[None, None], size[::-1])[0, 0].numpy()
    return laid.clip(0)
