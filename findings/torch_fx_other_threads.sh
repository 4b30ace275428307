#!/bin/sh
# While torch.fx traces a network in one thread, every torch module of the process belongs to the tracer. Another thread
# that runs a network meanwhile gets a NameError; if it runs the network that is being traced, it gets a Proxy in place
# of a tensor, and its input becomes a constant in the graph of the other thread. A server that loads (and traces) one
# model while it answers with another meets both. The threads below wait for each other, so it happens every time.
# The good guess that this refutes: "tracing only reads a network; what other threads compute is their own".
# Ends with 0 while the behaviour is as described, with 1 once it has changed.
set -eu
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet --disable-pip-version-check torch==2.14.1 "numpy>=2,<3"
"$folder/venv/bin/python" - <<'PYTHON'
import sys
import threading

import torch
from torch import fx, nn

SECONDS = 20  # no thread waits longer for the other
tracing, answered = threading.Event(), threading.Event()


class Classifier(nn.Module):
    def __init__(self, slow):
        super().__init__()
        self.slow, self.body, self.head = slow, nn.Conv2d(3, 4, 3), nn.Linear(4, 2)

    def forward(self, images):
        if self.slow and threading.current_thread() is threading.main_thread():
            tracing.set()  # in the middle of its forward, as any thread may be
            answered.wait(SECONDS)
        return self.head(self.body(images).mean((2, 3)))


def ask(network):
    """The kind of what a network answers to an image, or the error."""
    try:
        with torch.no_grad():
            return type(network(torch.ones(1, 3, 8, 8))).__name__
    except Exception as error:
        return f"{type(error).__name__}: {error}"


def serve():
    tracing.wait(SECONDS)
    seen["another network"] = ask(other)
    seen["the network that is traced"] = ask(traced)
    answered.set()


print(f"torch {torch.__version__}")
traced, other, seen = Classifier(True).eval(), Classifier(False).eval(), {}
alone = fx.symbolic_trace(Classifier(False))
before = {"another network": ask(other)}
thread = threading.Thread(target=serve, daemon=True)
thread.start()
graph = fx.symbolic_trace(traced).graph
thread.join(SECONDS)
for name, answer in seen.items():
    print(f"asked meanwhile, {name}: {answer}")
constants = [node.name for node in graph.nodes if "constant" in node.name]
print(f"asked before and after: {before['another network']}, {ask(other)}")
print(f"steps in the graph: {len(graph.nodes)}, traced alone: {len(alone.graph.nodes)}; strangers: {constants}")
as_described = (
    seen.get("another network", "").startswith("NameError")
    and seen.get("the network that is traced") == "Proxy"
    and bool(constants)
    and before["another network"] == ask(other) == "Tensor"
)
sys.exit(not as_described)
PYTHON
