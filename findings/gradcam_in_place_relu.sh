#!/bin/sh
# Three tools give three different Grad-CAM maps of one layer of one network: torchvision's DenseNet, whose ReLU behind
# the last norm writes in place. On the CPU grad-cam keeps the layer's output without a copy, so it multiplies the
# gradient before the ReLU with the activations after it, a mixture that is Grad-CAM of no layer; torchcam takes
# both after the ReLU, that is another layer than the one named; captum takes both where it was told. None says a word.
# The layer is model.features[-1], which grad-cam's own instructions name for densenet161.
# The good guess that this refutes: "Grad-CAM at a named layer is one map, whichever tool computes it".
# Ends with 0 while the behaviour is as described, with 1 once it has changed.
set -eu
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
pip="$folder/venv/bin/pip"
"$pip" install --quiet --disable-pip-version-check torch==2.14.1 torchvision==0.29.1 "numpy>=2,<3" \
    matplotlib==3.11.2 opencv-python-headless==5.0.0.93 scikit-learn==1.9.1 tqdm==4.70.1 packaging
"$pip" install --quiet --disable-pip-version-check --no-deps grad-cam==1.5.7 captum==0.9.0 torchcam==0.5.0 ttach==0.0.3
"$folder/venv/bin/python" -W ignore - <<'PYTHON'
import copy
import importlib.metadata as packages
import sys

import torch
import torchvision
from captum.attr import LayerGradCam
from pytorch_grad_cam import GradCAM
from pytorch_grad_cam.utils.model_targets import ClassifierOutputTarget
from torch.nn import functional as F
from torchcam.methods import GradCAM as TorchcamGradCAM

versions = {name: packages.version(name) for name in ("torch", "torchvision", "grad-cam", "captum", "torchcam")}
print(", ".join(f"{name} {version}" for name, version in versions.items()), "- CPU")
CLASS = 1
torch.manual_seed(0)
network = torchvision.models.densenet121(num_classes=10).eval()
for part in network.modules():  # shifts, so that not everything is symmetrical around zero
    if isinstance(part, torch.nn.BatchNorm2d):
        part.bias.data.normal_(0, 0.5)
image = torch.randn(1, 3, 224, 224)


def scaled(weighted):
    """A map as these tools show it: no negative parts, 0 to 1."""
    values = weighted.clamp_min(0)
    return (values - values.min()) / (values.max() - values.min())


def by_hand():
    """Grad-CAM's formula at the norm, at the ReLU behind it, and the mixture of both; nothing is written in place."""
    norm = network.features(image).detach().requires_grad_()
    relu = F.relu(norm)
    score = network.classifier(relu.mean((2, 3)))[0, CLASS]
    at_norm, at_relu = (gradient.mean((2, 3), keepdim=True) for gradient in torch.autograd.grad(score, (norm, relu)))
    maps = {"norm": at_norm * norm, "ReLU": at_relu * relu, "mixture": at_norm * relu}
    return {name: one.detach().sum(1)[0] for name, one in maps.items()}


def by_captum():
    used = copy.deepcopy(network)
    return LayerGradCam(used, used.features[-1]).attribute(image, CLASS)[0, 0].detach()


def by_gradcam():
    used = copy.deepcopy(network)
    with GradCAM(used, [used.features[-1]]) as tool:
        tool(image, [ClassifierOutputTarget(CLASS)])
        kept = tool.activations_and_grads
        return (kept.gradients[0].mean((2, 3), keepdim=True) * kept.activations[0]).sum(1)[0]


def by_torchcam():
    used = copy.deepcopy(network)
    with TorchcamGradCAM(used, target_layer="features.norm5") as tool:
        return tool(CLASS, used(image))[0][0]


formulas = {name: scaled(one) for name, one in by_hand().items()}
closest = {}
for tool, found in {"captum": by_captum(), "grad-cam": by_gradcam(), "torchcam": by_torchcam()}.items():
    away = {name: (scaled(found) - one).abs().max().item() for name, one in formulas.items()}
    closest[tool] = min(away, key=away.get) if min(away.values()) < 1e-3 else None
    words = ", ".join(f"{name} {one:.3f}" for name, one in away.items())
    print(f"{tool}: largest difference (maps go from 0 to 1) from the formula at the {words}")
sys.exit(closest != {"captum": "norm", "grad-cam": "mixture", "torchcam": "ReLU"})
PYTHON
