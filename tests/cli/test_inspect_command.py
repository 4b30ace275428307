"""`camserve inspect`: its table, its sentences and its JSON."""

import json
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

import camserve
from camserve.cli import main
from camserve.models.inspection.words import cost, sentences, short


def run(*arguments: str, width: int = 80) -> Result:
    return CliRunner(env={"COLUMNS": str(width)}).invoke(main, ["inspect", *arguments])


@pytest.mark.parametrize("width", [80, 140])
def test_the_table_fits_the_terminal(width: int) -> None:
    result = run("efficientnet-lite0", width=width)
    assert result.exit_code == 0, result.output
    lines = result.output.splitlines()
    assert max(map(len, lines)) <= width
    (row,) = (line for line in lines if line.startswith("blocks.6 … 7"))
    assert row.split("80x14x14")[1].split()[:2] == ["147", "16"]
    assert ("share of MACs" in result.output) == (width == 140)
    (total,) = (line for line in lines if line.startswith("total"))
    assert total.split()[1:] == ["4.65", "M", "385", "M"]


def test_every_layer_and_saving_on_request() -> None:
    output = run("efficientnet-lite0", "--all", width=140).output
    assert "blocks.15.project.norm" in output
    assert sum(line.startswith("blocks.") and line.rstrip().endswith("%") for line in output.splitlines()) >= 16
    assert "17.4%" in output  # 1/16 + 1/9


def test_json_holds_every_layer() -> None:
    answer = json.loads(run("efficientnet-lite0", "--json").output)
    assert (answer["macs"], answer["parameters"], answer["not_counted"]) == (385_187_552, 4_652_008, [])
    assert sum(layer["macs"] for layer in answer["layers"]) == answer["macs"]
    head = next(layer for layer in answer["layers"] if layer["name"] == "head.act")
    assert head["receptive_field"] == {
        "size": [851, 851], "whole_image": False, "stride": [32, 32], "start": [31, 31]
    }  # fmt: skip
    assert answer["depthwise_separable"]["network_standard_macs"] == 3_023_631_360
    assert answer["input_sizes"]["any"] is True


NET = """
import torch

class Picky(torch.nn.Module):
    def __init__(self):
        super().__init__()
        self.conv = torch.nn.Conv2d(3, 2, 3)

    def forward(self, x):
        torch._assert(x.shape[-1] == 224, "[width] must be 224")
        return self.conv(x).mean((2, 3))
"""


def test_a_network_of_one_s_own_in_its_own_words(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "net.py").write_text(NET)
    monkeypatch.chdir(tmp_path)
    output = " ".join(run("./net.py:Picky", width=140).output.split())
    assert "Only 224 x 224 pixels are taken, not 113 x 113" in output
    assert "the network itself says '[width] must be 224'" in output


def test_an_unknown_model_is_said() -> None:
    result = run("efficientnet-lite9")
    assert result.exit_code == 2
    assert "did you mean" in result.output


def test_sentences_say_what_stands_out(model: camserve.Model) -> None:
    said = sentences(model.inspect())
    assert said["cost"].startswith("4,652,008 parameters and 0.385 GMAC (multiply-adds)")
    assert said["depthwise"].endswith("The network would take 3.02 GMAC instead of 0.385 GMAC.")
    assert "1280 maps of 7 x 7 cells, one every 32 pixels" in said["layer"]
    assert said["head"].startswith("Linear: global average pooling and one linear layer. CAM is exact")
    assert said["input"].startswith("Any size from 1 x 1 pixels up")


@pytest.mark.parametrize(
    ("number", "text"),
    [(0, "0"), (999, "999"), (1000, "1.00 k"), (12345, "12.3 k"), (999_600, "1.00 M"), (385_187_552, "385 M"),
     (4_089_184_256, "4.09 G"), (15_470_264_320, "15.5 G")],
)  # fmt: skip
def test_short_figures(number: int, text: str) -> None:
    assert short(number) == text


def test_two_costs_are_told_in_one_unit() -> None:
    assert cost(385_187_552, beside=3_023_631_360) == "0.385 GMAC"
    assert cost(10_000_000_000, beside=5_000_000_000) == "10.0 GMAC"
    assert cost(2718, beside=2718) == "2,718 MAC"
