#!/bin/sh
# torchvision's create_feature_extractor leaves out every step that writes in place and stands on a line of its own,
# such as x.add_(shortcut): nothing reads its result, so torch.fx takes it for dead code. What comes out are features
# of another network, without an error or a warning. torchvision's own MViT writes its residual sums so: the "head" of
# its extractor gives other logits than the network. torch warns of eliminate_dead_code in the documentation of that
# pass; the documentation of create_feature_extractor, which calls it, does not.
# The good guess that this refutes: "the extractor runs the same network and only shows what is inside".
# Ends with 0 while the behaviour is as described, with 1 once it has changed.
set -eu
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet --disable-pip-version-check torch==2.14.1 torchvision==0.29.1 "numpy>=2,<3"
"$folder/venv/bin/python" - <<'PYTHON'
import sys

import torch
import torchvision
from torch import nn
from torchvision.models.feature_extraction import create_feature_extractor
from torchvision.models.video import mvit_v2_s

print(f"torch {torch.__version__}, torchvision {torchvision.__version__}")


class Residual(nn.Module):
    """A classifier of images with one shortcut, written in three ways."""

    def __init__(self, way):
        super().__init__()
        self.way, self.stem = way, nn.Conv2d(3, 8, 3)
        self.block, self.fc = nn.Conv2d(8, 8, 3, padding=1), nn.Linear(8, 5)

    def forward(self, images):
        before = self.stem(images)
        x = self.block(before)
        if self.way == "x.add_(before)":
            x.add_(before)
        elif self.way == "x = x.add_(before)":
            x = x.add_(before)
        else:
            x = x + before
        return self.fc(x.relu().mean((2, 3)))


def difference(network, images, last):
    """The largest difference between the network's logits and the extractor's, as a share of the largest logit."""
    with torch.no_grad():
        logits = network.eval()(images)
        extracted = create_feature_extractor(network, {last: "logits"})(images)["logits"]
    return ((logits - extracted).abs().max() / logits.abs().max()).item()


torch.manual_seed(0)
seen = {}
for way in ("x = x + before", "x = x.add_(before)", "x.add_(before)"):
    torch.manual_seed(0)
    seen[way] = difference(Residual(way), torch.randn(1, 3, 32, 32), "fc")
seen["torchvision's mvit_v2_s"] = difference(mvit_v2_s(num_classes=5), torch.randn(1, 3, 16, 224, 224), "head")
for name, share in seen.items():
    print(f"{name}: logits differ by {share:.2g} of the largest")
right = [share for name, share in seen.items() if " = " in name]
wrong = [share for name, share in seen.items() if " = " not in name]
sys.exit(not (max(right) < 1e-5 and min(wrong) > 0.05))
PYTHON
