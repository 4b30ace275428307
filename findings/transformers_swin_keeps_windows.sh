#!/bin/sh
# A Swin of transformers is changed by the sizes it is asked at. Where a map is no larger than the window, the layer
# overwrites its own window and shift and never puts them back: after 224 pixels, answers at larger sizes differ from
# those of a fresh copy, in evaluation mode and without a word; after one call at 160 pixels, which fails, every size
# fails, the one it was trained at included. copy.deepcopy takes the damage along; the configuration does not show it.
# The good guess that this refutes: "in evaluation mode the answer depends on the image alone, and a call that failed
# leaves nothing behind".
# Ends with 0 while the behaviour is as described, with 1 once it has changed.
set -eu
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet --disable-pip-version-check torch==2.14.1 transformers==5.24.0 "numpy>=2,<3"
HF_HUB_OFFLINE=1 "$folder/venv/bin/python" - <<'PYTHON'
import copy
import sys

import torch
import transformers
from transformers import SwinConfig, SwinForImageClassification

print(f"torch {torch.__version__}, transformers {transformers.__version__}")
torch.manual_seed(0)
tiny = {"embed_dim": 32, "depths": [2, 2, 2, 2], "num_heads": [1, 2, 4, 8], "num_labels": 5, "initializer_range": 0.2}
swin = SwinForImageClassification(SwinConfig(image_size=224, **tiny)).eval()
images = {side: torch.randn(1, 3, side, side) for side in (160, 224, 256, 320, 384)}


def ask(network, side):
    """The logits, or the error in words."""
    try:
        with torch.no_grad():
            return network(images[side]).logits[0]
    except RuntimeError as error:
        return f"fails: {error}"


def windows(network):
    """(window, shift) of the two layers of the last stage, and the window in the configuration."""
    blocks = network.swin.encoder.layers[-1].blocks
    return [(int(block.window_size), int(block.shift_size)) for block in blocks], network.config.window_size


def share(one, other):
    """The largest difference as a share of the span of the logits; None where there are none."""
    return None if isinstance(one, str) else ((one - other).abs().max() / (other.max() - other.min())).item()


fresh = {side: ask(copy.deepcopy(swin), side) for side in images}
again = copy.deepcopy(swin)
same = [share(ask(again, 320), fresh[320]), share(ask(again, 320), fresh[320])]
print(f"320 asked alone, twice: {same} of the span of the logits away; windows {windows(copy.deepcopy(swin))}")

used = copy.deepcopy(swin)
ask(used, 224)
after = {side: share(ask(used, side), fresh[side]) for side in images if side > 160}
print(f"after one call at 224: {({side: round(value, 3) for side, value in after.items()})}, windows {windows(used)}")

broken = copy.deepcopy(swin)
print(f"160: {ask(broken, 160)}; windows {windows(broken)}")
failed = {side: ask(copy.deepcopy(broken), side) for side in images if side > 160}
for side, answer in failed.items():
    print(f"then {side}, in a deepcopy: {answer}")
as_described = (
    same == [0, 0] and after[224] == 0 and min(value for side, value in after.items() if side > 224) > 0.01
    and isinstance(fresh[160], str) and all(isinstance(answer, str) for answer in failed.values())
)
sys.exit(not as_described)
PYTHON
