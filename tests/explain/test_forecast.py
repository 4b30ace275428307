"""What a method would take, and why one does not go with a model, said before it runs."""

import torch
from torch import nn

import camserve
from camserve.catalogue.method import Part
from camserve.catalogue.options import ExplainOptions
from camserve.explain.forecast import Pace, pace_of, reasons, seconds_of

PACE = Pace({Part.NETWORK: 0.01, Part.GRADIENTS: 0.03, Part.HEAD: 0.001}, 224 * 224)


def test_seconds_grow_with_runs_pixels_layers_and_classes(model: camserve.Model) -> None:
    def seconds(method: str, size: str = "crop", layer: str | None = None, targets: int = 1) -> float:
        options = ExplainOptions(method=method, size=size, layer=layer)
        return round(seconds_of(model, options, (300, 200), PACE, targets), 6)

    assert seconds("cam") == 0
    assert seconds("rise") == 10
    assert seconds("rise", targets=3) == 30
    assert seconds("opticam") == 3
    assert seconds("scorecam") == 0.01 * model.layers()["head"][0]
    assert seconds("scorecam", layer="head,blocks.10") == 0.01 * sum(
        model.layers()[one][0] for one in ("head", "blocks.10")
    )
    width, height = model.frame((300, 200), "448").input
    assert seconds("rise", "448") == round(10 * width * height / 224**2, 6)


def test_the_pace_is_that_of_the_network() -> None:
    class Slow(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.conv, self.fc = nn.Conv2d(3, 4, 3), nn.Linear(4, 2)

        def forward(self, images: torch.Tensor) -> torch.Tensor:
            for _ in range(200):
                images = images.roll(1, 3)
            answers: torch.Tensor = self.fc(self.conv(images).mean((2, 3)))
            return answers

    quick = nn.Sequential(nn.Conv2d(3, 4, 3), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(4, 2))
    slow_pace, quick_pace = (_paced(camserve.load(net, size=64)) for net in (Slow(), quick))
    assert slow_pace.pixels == 64 * 64
    assert slow_pace.seconds[Part.NETWORK] > 3 * quick_pace.seconds[Part.NETWORK]
    assert slow_pace.seconds[Part.NETWORK] > 3 * slow_pace.seconds[Part.HEAD]


def _paced(model: camserve.Model) -> Pace:
    return model.workers.run(lambda: pace_of(model))


def test_reasons_are_what_the_methods_themselves_say(model: camserve.Model) -> None:
    found = model.workers.run(lambda: reasons(model))
    assert {"legrad", "attentionrollout"} <= set(found)
    assert "attention between all tokens" in found["legrad"]
    assert not {"cam", "gradcam", "scorecam", "rise"} & set(found)


def test_a_network_without_a_linear_head_has_no_cam() -> None:
    net = nn.Sequential(nn.Conv2d(3, 4, 3, 2), nn.SiLU(), nn.Flatten(), nn.Linear(4 * 15 * 15, 3))
    made = camserve.load(net, size=32)
    found = made.workers.run(lambda: reasons(made))
    assert "cam" in found
    assert "has none" in found["guidedbackprop"]
    assert "gradcam" not in found
