#!/bin/sh
# Pillow 13 shrinks some tall pictures along their columns first, where Pillow 12 began with the rows. Each of the two steps
# rounds to 8 bits, so the same call gives other pixels. A photograph of 2:3 that is made square, as the processors
# of many vision transformers do, is one of them; the same photograph in landscape, or of 3:4, is not.
# The good guess that this refutes: "resize has no random part and its documentation has not changed, so a model's input
# and its reference scores outlast an upgrade of Pillow".
# Ends with 0 while the behaviour is as described, with 1 once it has changed.
set -eu
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cat > "$folder/squares.py" <<'PYTHON'
import sys

import numpy as np
import PIL
from PIL import Image

across, down = np.meshgrid(np.arange(640), np.arange(640))
waves = 128 + 60 * np.sin(across / 37) * np.cos(down / 53)
grain = np.random.default_rng(0).normal(0, 25, (640, 640, 3))
whole = np.clip(waves[..., None] + grain, 0, 255).astype(np.uint8)
made = {"version": np.array(PIL.__version__)}
for width, height in ((333, 500), (500, 333), (480, 640)):
    for name in ("BILINEAR", "BICUBIC"):
        photograph = Image.fromarray(whole[:height, :width])
        made[f"{width} x {height}, {name}"] = np.asarray(photograph.resize((224, 224), Image.Resampling[name]))
np.savez(sys.argv[1], **made)
PYTHON
for version in 12.3.0 13.0.0; do
    python3 -m venv "$folder/$version"
    "$folder/$version/bin/pip" install --quiet --disable-pip-version-check "pillow==$version" "numpy>=2,<3"
    "$folder/$version/bin/python" "$folder/squares.py" "$folder/$version.npz"
done
"$folder/13.0.0/bin/python" - "$folder/12.3.0.npz" "$folder/13.0.0.npz" <<'PYTHON'
import sys

import numpy as np

old, new = (np.load(path) for path in sys.argv[1:])
print(f"Pillow {old['version']} and {new['version']}, photographs made 224 x 224")
changed = False
for name in old.files[1:]:
    differences = np.abs(old[name].astype(int) - new[name])
    print(f"{name}: {(differences > 0).mean():.1%} of the values differ, by at most {differences.max()}")
    changed |= bool(differences.any()) != name.startswith("333 x 500")
sys.exit(changed)
PYTHON
