"""`camserve sanity`: a good network passes, and each broken one fails at the check that is about what is broken."""

import json
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from click.testing import CliRunner, Result
from conftest import picture
from exported import onnx_file
from PIL import Image
from planted import LABELS, Net, picture_of, trained
from torch import Tensor, nn
from torch.nn import functional as F

import camserve
from camserve.catalogue.methods import EDGES, METHODS
from camserve.cli import main
from camserve.config import load_settings
from camserve.errors import OptionError
from camserve.evaluation import Sanity, sanity
from camserve.evaluation.bench import Bench, bench_of
from camserve.evaluation.checklist import CHECKS
from camserve.graph.heads import LinearHead

INPUT: dict[str, Any] = {"size": 64, "crop": 1, "mean": [128] * 3, "std": [64] * 3}
PICTURES = [picture_of(label, 20_000 + label, marked=False) for label in (1, 2, 3)]


def loaded(module: nn.Module, engine: str = "torch", **options: Any) -> camserve.Model:
    """A network of the planted ones' input."""
    settings = load_settings(overrides={"compute": {"engine": engine}})
    return camserve.load(module, settings=settings, **INPUT, **options)


@cache
def net() -> Net:
    return trained(misled=False)


def on_bench(module: nn.Module, method: str | None = None, **options: Any) -> Bench:
    return bench_of(loaded(module, **options), PICTURES, method)


def failed(found: Sanity) -> set[str]:
    return {check.name for check in found.checks if check.passed is False}


def run(*arguments: str | Path) -> Result:
    return CliRunner().invoke(main, ["sanity", *map(str, arguments)])


# A good network


def test_a_good_network_passes() -> None:
    found = sanity(loaded(net(), engine="openvino", labels=LABELS), PICTURES)
    assert [check.name for check in found.checks] == list(CHECKS)
    assert all(check.passed for check in found.checks), found
    assert (found.passed, found.method, found.pictures, found.are_photographs) == (True, "cam", 3, True)
    for check in found.checks:
        assert check.limit is not None
        assert check.limit.holds(check.numbers)
    assert found["autograd"].numbers["difference"] < 1e-5
    assert found["completeness"].numbers["missing"] < 1e-5
    assert found["layer"].numbers["cells"] == 8
    answer = json.loads(json.dumps(found.to_dict()))
    assert answer["passed"] is True
    assert answer["checks"][2]["limit"] == {"number": "difference", "most": 1e-3, "least": None}


def test_pictures_are_made_where_nobody_gives_any() -> None:
    found = sanity(loaded(net()))
    assert (found.pictures, found.are_photographs) == (3, False)
    assert failed(found) <= {"other class", "flip"}  # of noise, and of four classes, anything may be said


def test_a_model_file_is_checked_as_the_network_that_it_holds(tmp_path: Path) -> None:
    file = onnx_file(net(), tmp_path / "net.onnx", torch.zeros(1, 3, 64, 64))
    model = camserve.load(str(file), **INPUT)
    assert model.closed is not None
    found = sanity(model, PICTURES)
    assert found.passed, found
    assert found["engine"].passed
    assert found["completeness"].passed
    assert found["weights"].passed


def test_features_have_no_class_to_check() -> None:
    with pytest.raises(OptionError, match="gives features, not classes"):
        sanity(loaded(net(), scores="embedding"), PICTURES)
    with pytest.raises(OptionError, match="the list is empty"):
        sanity(loaded(net()), [])


# Broken ones


class Dropped(Net):
    """Dropout that nobody turned off."""

    def forward(self, images: Tensor) -> Tensor:
        """(N, 3, H, W) -> (N, 4)."""
        logits: Tensor = self.head(F.dropout(self.body(images), 0.5, training=True).mean((2, 3)))
        return logits


def filled(module: nn.Module) -> nn.Module:
    """With the weights of the trained network."""
    module.load_state_dict(net().state_dict(), strict=False)
    return module.eval()


def test_dropout_left_on_is_found() -> None:
    found = sanity(loaded(filled(Dropped())), PICTURES)
    assert failed(found) == {"steady", "repeats"}
    assert "dropout" in found["steady"].sentence
    assert found["autograd"].passed is None


def test_a_batch_normalisation_left_in_training_mode_is_found() -> None:
    class OfTheBatch(Net):
        def __init__(self) -> None:
            super().__init__()
            for number in (1, 4, 7):
                width = len(self.body[number].bias)  # type: ignore[arg-type]
                self.body[number] = nn.BatchNorm2d(width, track_running_stats=False)

    check = CHECKS["batches"](on_bench(filled(OfTheBatch())))
    assert check.passed is False
    assert "depends on the others in its batch" in check.sentence


def test_an_untrained_network_is_found() -> None:
    torch.manual_seed(0)
    check = CHECKS["trained"](on_bench(Net().eval()))
    assert check.passed is False
    assert "batch normalisation" in check.sentence
    plain = nn.Sequential(
        nn.Conv2d(3, 8, 3, 4), nn.ReLU(), nn.Conv2d(8, 8, 3), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten(),
        nn.Linear(8, 10),
    )  # fmt: skip
    check = CHECKS["trained"](on_bench(plain.eval()))
    assert check.passed is False
    assert "nearly the same answer" in check.sentence


def test_a_cut_that_is_no_longer_the_network_is_found() -> None:
    bench = on_bench(net())
    with torch.no_grad():
        next(bench.layer.on_torch.body.parameters()).mul_(1.1)  # its own, with the batch normalisation folded in
    check = CHECKS["autograd"](bench)
    assert check.passed is False
    assert check.numbers["activations"] > 1e-3
    assert "differs from yours" in check.sentence


def test_an_engine_that_runs_other_weights_is_found() -> None:
    """The weights change after the engine has its copy of them."""
    bench = on_bench(net(), engine="openvino")
    assert CHECKS["engine"](bench).passed
    with torch.no_grad():
        next(bench.layer.on_torch.body.parameters()).mul_(1.1)
    check = CHECKS["engine"](bench)
    assert check.passed is False
    assert check.numbers["logits"] > 1e-3


def test_a_class_map_that_does_not_add_up_is_found() -> None:
    bench = on_bench(net())
    head = bench.layer.head
    assert isinstance(head, LinearHead)
    assert CHECKS["completeness"](bench).passed
    other = on_bench(net())
    other.layer.head = LinearHead(head.module, head.weight, head.bias + 0.1)
    check = CHECKS["completeness"](other)
    assert check.passed is False
    logit = max(1, max(found.logits[found.class_index] for found in other.explanations))
    assert check.numbers["missing"] >= 0.1 / logit * 0.99


def test_an_early_layer_is_found() -> None:
    check = CHECKS["layer"](on_bench(net(), layer="body.0"))
    assert check.passed is False
    assert "layer 'body.0' is early: a cell has seen 3 of 64 pixels each way; the last is 'body'" in check.sentence


def test_too_few_cells_are_found() -> None:
    small = nn.Sequential(nn.Conv2d(3, 8, 9, 21), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(8, 4))
    bench = on_bench(small.eval())
    check = CHECKS["layer"](bench)
    assert (check.passed, check.numbers["cells"]) == (False, 3)
    assert CHECKS["placement"](bench).passed is None


def test_a_map_that_depends_on_left_and_right_is_found() -> None:
    class Sided(Net):
        def forward(self, images: Tensor) -> Tensor:
            maps = self.body(images)
            half = (torch.arange(maps.shape[-1]) < maps.shape[-1] // 2).float()
            logits: Tensor = self.head((maps * half).mean((2, 3)))
            return logits

    check = CHECKS["flip"](on_bench(filled(Sided())))
    assert check.passed is False


@pytest.mark.parametrize("method", [one.name for one in METHODS.values() if one.check == EDGES])
def test_methods_that_only_draw_edges_fail_with_random_weights(method: str) -> None:
    check = CHECKS["weights"](on_bench(net(), method))
    assert check.passed is False
    assert "what the network has learned" in check.sentence


def test_a_method_that_looks_at_no_class_is_found() -> None:
    check = CHECKS["other class"](on_bench(net(), "eigencam"))
    assert check.passed is False
    assert check.numbers["rank correlation"] == pytest.approx(1)


# Placement, and the command

NET = """
import torch
from torch import nn

class Bright(nn.Module):
    '''Brightness in boxes of 8 x 8 pixels, of which the first begins 5 before the image: centred at -1.5.'''

    def __init__(self):
        super().__init__()
        self.boxes, self.fc = nn.Conv2d(3, 2, 8, stride=8, padding=5), nn.Linear(2, 2)
        self.boxes.weight.data = torch.full((2, 3, 8, 8), 1 / 192) * torch.tensor([1.0, -1.0])[:, None, None, None]
        self.fc.weight.data = torch.eye(2)

    def forward(self, x):
        return self.fc(self.boxes(x).mean((2, 3)))
"""


def card(folder: Path, offset: float) -> Path:
    """A card that says that the first cell sits at that pixel, each way, and pictures beside it."""
    (folder / "net.py").write_text(NET)
    for seed in range(3):
        picture(seed, (64, 64)).save(folder / f"{seed}.png")
    (folder / "card.toml").write_text(
        'architecture = "net.py:Bright"\n\n[input]\nsize = 64\ncrop = 1\nmean = [128, 128, 128]\nstd = [64, 64, 64]\n\n'
        f'[placement]\nlayer = "boxes"\noffset = [{offset}, {offset}]\nmeasured = "by hand"\n'
    )
    return folder


@pytest.mark.parametrize(("offset", "passed"), [(-1.5, True), (3.5, False)])
def test_an_offset_of_the_card_that_is_more_than_half_a_cell_off_is_found(
    tmp_path: Path, offset: float, passed: bool
) -> None:
    folder = card(tmp_path, offset)
    bench = bench_of(camserve.load(folder), sorted(folder.glob("*.png")))
    check = CHECKS["placement"](bench)
    assert check.passed is passed
    assert check.numbers["pixels across"] == pytest.approx(offset + 1.5, abs=1)
    assert check.numbers["allowed"] == [4, 4]


def test_the_command_says_all_and_ends_with_0_or_1(tmp_path: Path) -> None:
    folder = tmp_path / "net"
    folder.mkdir()
    torch.save(net().state_dict(), folder / "net.pth")
    (folder / "card.toml").write_text(
        'architecture = "planted:Net"\nweights = "net.pth"\n\n[input]\nsize = 64\ncrop = 1\nmean = [128, 128, 128]\n'
        "std = [64, 64, 64]\n"
    )
    images: list[str | Path] = []
    for number, pixels in enumerate(PICTURES):
        Image.fromarray(np.asarray(pixels)).save(tmp_path / f"{number}.png")
        images += ["--image", tmp_path / f"{number}.png"]
    good = run(folder, *images)
    assert good.exit_code == 0, good.output
    *lines, last = good.stdout.splitlines()
    assert len(lines) == len(CHECKS)
    assert {line.split("  ")[0] for line in lines} <= {"ok", "cannot tell"}
    assert last.endswith("method cam, 3 photographs: no check failed")
    bad = run(folder, *images, "--method", "guidedbackprop", "--json")
    assert bad.exit_code == 1, bad.output
    answer = json.loads(bad.stdout)
    assert (answer["passed"], answer["method"]) == (False, "guidedbackprop")
    assert next(one for one in answer["checks"] if one["name"] == "weights")["passed"] is False


def test_what_is_wrong_with_a_command_line_is_said() -> None:
    assert run("efficientnet-lite0", "--image", "nowhere.png").exit_code == 1
    assert run("efficientnet-lite0", "--method", "nonesuch").exit_code == 2
