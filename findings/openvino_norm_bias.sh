#!/bin/sh
# OpenVINO's CPU cuts the bias of ONNX's LRN down to a whole number. LRN divides each value by
# (bias + alpha / size * the sum of its neighbours' squares) ** beta, across channels.
# The file is read right: OpenVINO's own graph holds the bias. onnxruntime agrees with the definition.
# With a bias of 1, the default, or of 2, as in AlexNet's paper, OpenVINO is right, so that most files show nothing;
# with 1.5 it computes what 1 would give, a quarter of the peak off, and a network behind it answers otherwise without a word.
# The good guess that this refutes: "an operation that an engine reads without complaint is computed as the file says".
# Ends with 0 while the behaviour is as described, with 1 once it has changed.
set -eu
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet --disable-pip-version-check openvino==2026.4.1 onnx==1.23.2 \
    onnxruntime==1.32.0 "numpy>=2,<3"
"$folder/venv/bin/python" -W ignore - "$folder" <<'PYTHON'
import sys

import numpy as np
import onnx
import onnxruntime
import openvino
from onnx import TensorProto, helper

print(f"OpenVINO {openvino.__version__}, onnxruntime {onnxruntime.__version__}, CPU, float32")
ALPHA, BETA, SIZE = 0.1, 0.7, 3
images = np.random.default_rng(0).normal(size=(1, 8, 5, 6)).astype(np.float32)


def defined(bias):
    """The definition, in numpy."""
    squares = np.pad(images**2, ((0, 0), (1, 1), (0, 0), (0, 0)))
    sums = squares[:, :-2] + squares[:, 1:-1] + squares[:, 2:]
    return images / (bias + ALPHA / SIZE * sums) ** BETA


def written(bias):
    """An ONNX file of this one operation."""
    shape = list(images.shape)
    node = helper.make_node("LRN", ["images"], ["found"], alpha=ALPHA, beta=BETA, bias=bias, size=SIZE)
    ends = [helper.make_tensor_value_info(name, TensorProto.FLOAT, shape) for name in ("images", "found")]
    graph = helper.make_graph([node], "norm", ends[:1], ends[1:])
    path = f"{sys.argv[1]}/norm.onnx"
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8), path)
    return path


def apart(one, other):
    """The largest difference, as a share of the largest value."""
    return float(np.abs(one - other).max() / np.abs(other).max())


errors, as_whole = {}, {}
for bias in (1.0, 2.0, 1.5):
    path = written(bias)
    model = openvino.Core().read_model(path)
    (node,) = (one for one in model.get_ops() if one.get_type_name() == "LRN")
    found = openvino.Core().compile_model(model, "CPU", {"INFERENCE_PRECISION_HINT": "f32"})([images])[0]
    session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
    errors["openvino", bias] = apart(found, defined(bias))
    errors["onnxruntime", bias] = apart(session.run(None, {"images": images})[0], defined(bias))
    as_whole[bias] = apart(found, defined(float(int(bias))))
    print(
        f"bias {bias:g}, in OpenVINO's graph {node.get_attributes()['bias']:g}: off the definition by "
        f"{errors['openvino', bias]:.1e} in OpenVINO, {errors['onnxruntime', bias]:.1e} in onnxruntime; OpenVINO is "
        f"{as_whole[bias]:.1e} off what a bias of {int(bias)} gives"
    )
wrong = errors.pop(("openvino", 1.5))
sys.exit(not (max(errors.values()) < 1e-5 and wrong > 0.1 and as_whole[1.5] < 1e-5))
PYTHON
