#!/bin/sh
# timm's BatchNormAct2d is a subclass of torch's BatchNorm2d that also holds the activation. Two functions of torch
# that take every subclass, fuse_conv_bn_eval and SyncBatchNorm.convert_sync_batchnorm, keep the normalisation and drop
# the activation, without an error or a warning. What is left of a MobileNetV2 has no activation at all.
# (timm has a convert_sync_batchnorm of its own; nothing in torch's points there.)
# The good guess that this refutes: "an instance of nn.BatchNorm2d normalises and does nothing else".
# Ends with 0 while the behaviour is as described, with 1 once it has changed.
set -eu
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
pip="$folder/venv/bin/pip"
"$pip" install --quiet --disable-pip-version-check torch==2.14.1 torchvision==0.29.1 "numpy>=2,<3"
"$pip" install --quiet --disable-pip-version-check --no-deps timm==1.0.31
"$pip" install --quiet --disable-pip-version-check huggingface_hub==2.4.0 safetensors==0.8.0 pyyaml==6.0.4
"$folder/venv/bin/python" - <<'PYTHON'
import copy
import sys

import timm
import torch
from torch import nn
from torch.nn.utils.fusion import fuse_conv_bn_eval

print(f"torch {torch.__version__}, timm {timm.__version__}")


def fused(network, behind):
    """A copy whose every convolution has taken in the batch norm after it; behind(norm) stands in the norm's place."""
    network = copy.deepcopy(network)
    for parent in network.modules():
        children = list(parent.named_children())
        for (first, convolution), (second, norm) in zip(children, children[1:]):
            if isinstance(convolution, nn.Conv2d) and isinstance(norm, nn.BatchNorm2d):
                setattr(parent, first, fuse_conv_bn_eval(convolution, norm))
                setattr(parent, second, behind(norm))
    return network


torch.manual_seed(0)
network = timm.create_model("mobilenetv2_100", pretrained=False, num_classes=5)
with torch.no_grad():
    for _ in range(30):  # statistics as a trained network has them, so that numbers stay near 1
        network(torch.randn(4, 3, 96, 96))
    network.eval()
    image = torch.randn(1, 3, 96, 96)
    logits = network(image)
    answers = {
        "fuse_conv_bn_eval": fused(network, lambda norm: nn.Identity())(image),
        "convert_sync_batchnorm": nn.SyncBatchNorm.convert_sync_batchnorm(copy.deepcopy(network))(image),
        "fuse_conv_bn_eval, the activation kept by hand": fused(network, lambda norm: norm.act)(image),
        "timm's convert_sync_batchnorm": timm.layers.convert_sync_batchnorm(copy.deepcopy(network))(image),
    }
norm = network.bn1
print(f"bn1 is a {type(norm).__name__}, a BatchNorm2d: {isinstance(norm, nn.BatchNorm2d)}; it holds {norm.act}")
print(f"logits: {[round(value, 3) for value in logits[0].tolist()]}")
right = {}
for name, answer in answers.items():
    right[name] = torch.allclose(answer, logits, atol=1e-2)
    verdict = "right" if right[name] else "WRONG, no word"
    print(f"{name}: {[round(value, 3) for value in answer[0].tolist()]}, {verdict}")
sys.exit(list(right.values()) != [False, False, True, True])
PYTHON
