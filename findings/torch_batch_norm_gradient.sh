#!/bin/sh
# The gradient that torch gives through a batch norm on the CPU is wrong, for one image, where the map becomes tokens
# behind the norm (flatten(2), then transpose(1, 2)): what arrives lies in memory token by token, and is read as if it
# lay channel by channel. There is no error and no warning, and the error is larger than the gradient itself. The
# forward pass is right, a batch of two is right, and so is a gradient that was made contiguous first. Grad-CAM and
# every other map from gradients of hybrid networks (convolutions, a norm, then attention) inherits it.
# The good guess that this refutes: "the gradient of a built-in layer is exact, whatever the batch".
# Ends with 0 while the behaviour is as described, with 1 once it has changed.
set -eu
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet --disable-pip-version-check torch==2.14.1 "numpy>=2,<3"
"$folder/venv/bin/python" - <<'PYTHON'
import sys

import torch
from torch import nn

print(f"torch {torch.__version__}, CPU")
CHANNELS, SIDE = 64, 7


def error(batch, training, contiguous):
    """The largest error of d (answer * weights).sum() / d images, as a share of the gradient's largest value."""
    torch.manual_seed(0)
    images = torch.randn(batch, CHANNELS, SIDE, SIDE, dtype=torch.float64, requires_grad=True)
    weights = torch.randn(batch, SIDE * SIDE, CHANNELS, dtype=torch.float64)
    norm = nn.BatchNorm2d(CHANNELS, track_running_stats=not training).double().train(training)
    if not training:
        norm.running_var.uniform_(0.5, 2)
    normed = norm(images)
    if contiguous:
        normed.register_hook(lambda gradient: gradient.contiguous())
    found, = torch.autograd.grad(normed.flatten(2).transpose(1, 2), images, weights)
    # The same number written with plain arithmetic: no batch norm of torch takes part.
    mean, var = (norm.running_mean, norm.running_var) if not training else moments(images)
    plain = (images - mean[:, None, None]) / (var[:, None, None] + norm.eps).sqrt()
    assert torch.allclose(plain, normed), "the forward pass is right"
    exact, = torch.autograd.grad(plain.flatten(2).transpose(1, 2), images, weights)
    if batch == 1 and not contiguous and not training:
        scale = (1 / (var + norm.eps).sqrt())[:, None, None]
        misread = weights.reshape(images.shape) * scale
        print("  read in the order of memory:", torch.allclose(found, misread, rtol=1e-12))
    return ((found - exact).abs().max() / exact.abs().max()).item()


def moments(images):
    """Mean and variance of every channel over the batch."""
    return images.mean((0, 2, 3)), images.var((0, 2, 3), unbiased=False)


as_described = True
for training in (False, True):
    for batch, contiguous, wrong in ((1, False, True), (1, True, False), (2, False, False)):
        share = error(batch, training, contiguous)
        made = ", gradient made contiguous first" if contiguous else ""
        mode = "training" if training else "evaluation"
        print(f"{mode} mode, batch of {batch}{made}: error {share:.1e} of the gradient")
        as_described &= share > 0.5 if wrong else share < 1e-9
sys.exit(not as_described)
PYTHON
