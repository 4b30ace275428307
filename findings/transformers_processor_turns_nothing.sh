#!/bin/sh
# transformers' pipeline("image-classification") turns a photograph upright (EXIF orientation) before it classifies;
# the image processor that it uses does not. A phone's upright photograph is stored lying, with a tag. So the processor
# followed by the model, the form in which gradients and heatmaps are taken, sees another picture than the pipeline of
# the same two parts, here names another class, and explains a picture that lies on its side, without a word.
# The good guess that this refutes: "pipeline() is its processor followed by its model".
# Ends with 0 while the behaviour is as described, with 1 once it has changed.
set -eu
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
pip="$folder/venv/bin/pip"
"$pip" install --quiet --disable-pip-version-check torch==2.14.1 torchvision==0.29.1 transformers==5.24.0 \
    pillow==13.0.0 "numpy>=2,<3"
HF_HUB_OFFLINE=1 "$folder/venv/bin/python" - "$folder" <<'PYTHON'
import sys

import numpy as np
import torch
import transformers
from PIL import Image, ImageOps
from transformers import ViTConfig, ViTForImageClassification, ViTImageProcessor, ViTImageProcessorPil, pipeline

print(f"torch {torch.__version__}, transformers {transformers.__version__}")
ORIENTATION, TURN_RIGHT = 0x0112, 6
path = f"{sys.argv[1]}/phone.jpg"
stored = np.zeros((28, 28, 3), np.uint8)
stored[:, ::2] = 255  # upright stripes as it is stored; level ones once it is upright
exif = Image.Exif()
exif[ORIENTATION] = TURN_RIGHT
Image.fromarray(stored).save(path, exif=exif, quality=95)

torch.manual_seed(0)
tiny = {"hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 64, "num_labels": 5}
model = ViTForImageClassification(ViTConfig(initializer_range=0.2, **tiny)).eval()


def by_hand(processor, image):
    """The probabilities of the processor followed by the model."""
    with torch.no_grad():
        return model(**processor(image, return_tensors="pt")).logits.softmax(-1)[0].numpy()


def by_pipeline(processor, image):
    classify = pipeline("image-classification", model=model, image_processor=processor)
    found = {one["label"]: one["score"] for one in classify(image, top_k=5)}
    return np.array([found[f"LABEL_{index}"] for index in range(5)])


as_described = True
for processor in (ViTImageProcessor(), ViTImageProcessorPil()):
    image = Image.open(path)
    piped, handed = by_pipeline(processor, path), by_hand(processor, image)
    upright = by_hand(processor, ImageOps.exif_transpose(image))
    lying = by_hand(processor, Image.fromarray(np.asarray(image)))
    print(f"{type(processor).__name__}:")
    rows = {"pipeline(path)": piped, "processor(Image.open(path))": handed, "upright": upright, "lying": lying}
    for name, scores in rows.items():
        print(f"  {name}: class {scores.argmax()}, {[round(float(score), 3) for score in scores]}")
    as_described &= np.allclose(piped, upright, atol=1e-4) and np.allclose(handed, lying, atol=1e-6)
    as_described &= bool(piped.argmax() != handed.argmax())
sys.exit(not as_described)
PYTHON
