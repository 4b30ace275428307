"""Calibration: known offsets are found, unreliable ones refused, and the card changes in one section only."""

import json
import tomllib
from pathlib import Path

import numpy as np
import pytest
import torch
from click.testing import CliRunner, Result
from conftest import picture

import camserve
from camserve.cli import main
from camserve.errors import OptionError
from camserve.onboarding.calibration import calibrate
from camserve.onboarding.stimuli import centres, pasted, places, soft_edged, turned

NET = """
import torch
from torch import nn

class Bright(nn.Module):
    '''Class 0: brightness in boxes of 8 x 8 pixels, of which the first begins 5 before the image: centred at -1.5.'''

    def __init__(self):
        super().__init__()
        self.boxes, self.fc = nn.Conv2d(3, 1, 8, stride=8, padding=5), nn.Linear(1, 2, bias=False)
        nn.init.constant_(self.boxes.weight, 1 / 192)
        nn.init.constant_(self.boxes.bias, {background})
        self.fc.weight.data = torch.tensor([[{right}], [{wrong}]])

    def forward(self, x):
        return self.fc(self.boxes(x).mean((2, 3)))
"""


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A card of the network above, and photographs beside it."""
    return made(tmp_path)


def made(tmp_path: Path, background: float = 0.0, right: float = 1.0, wrong: float = 0.0) -> Path:
    (tmp_path / "net.py").write_text(NET.format(background=background, right=right, wrong=wrong))
    (tmp_path / "photos").mkdir()
    for seed in range(4):
        picture(seed).save(tmp_path / "photos" / f"{seed}.png")
    card = '# mine\narchitecture = "net.py:Bright"\n\n[input]\nsize = 64\nmean = [0, 0, 0]\nstd = [255, 255, 255]\n'
    (tmp_path / "card.toml").write_text(card)
    return tmp_path


def images(folder: Path) -> list[Path]:
    return sorted((folder / "photos").iterdir())


def run(*arguments: str | Path) -> Result:
    return CliRunner().invoke(main, ["calibrate", *map(str, arguments)])


def test_the_offset_of_a_network_known_on_paper_is_found(folder: Path) -> None:
    """Boxes -5..2, 3..10 ...: centred at 8 u - 1.5. The centred rule says ((64 - 1) - (9 - 1) 8) / 2 = -0.5."""
    found = calibrate(camserve.load(folder), images(folder))
    np.testing.assert_allclose(found.offset, (-1.5, -1.5), atol=0.02)
    np.testing.assert_allclose(found.slope, (1, 1), atol=0.02)
    assert found.centred == (-0.5, -0.5)
    np.testing.assert_allclose(found.bias, (1, 1), atol=0.02)
    assert (found.photographs, found.unseen, found.trials, found.stride) == (4, 0, 4 * 8 * 4, (8, 8))
    assert max(found.spread) < 0.02


def test_heat_of_the_background_does_not_move_what_is_found(tmp_path: Path) -> None:
    """It pulls centroids to the middle of the grid; the slope shows by how much, and the offset stays."""
    folder = made(tmp_path, background=0.02)
    found = calibrate(camserve.load(folder), images(folder))
    assert 0.6 < found.slope[0] < 0.95
    np.testing.assert_allclose(found.offset, (-1.5, -1.5), atol=0.05)


def test_heat_that_does_not_follow_the_object_is_refused(tmp_path: Path) -> None:
    folder = made(tmp_path, background=1.0)
    with pytest.raises(OptionError, match=r"does not follow the object.* at least 0\.5 is needed. Give more"):
        calibrate(camserve.load(folder), images(folder))


def test_photographs_that_are_not_recognised_are_refused(tmp_path: Path) -> None:
    """Class 0 rises most, by falling least, and is not what the network answers."""
    folder = made(tmp_path, background=-1.0, right=0.5, wrong=-0.1)
    with pytest.raises(OptionError, match=r"recognises 0 of 4 photographs.* at least 3 are needed"):
        calibrate(camserve.load(folder), images(folder))
    with pytest.raises(OptionError, match=r"recognises 0 of 0 photographs"):
        calibrate(camserve.load(folder))


def test_photographs_that_differ_too_much_are_refused(model: camserve.Model) -> None:
    """Three are too few for the embedded model: its card's known answers."""
    with pytest.raises(OptionError, match=r"3 photographs differ too much.*allowed is 2, a sixteenth of the stride"):
        calibrate(model)


def test_an_object_is_pasted_whole_where_it_is_said_to_be() -> None:
    where = places((31.5, 40), 32, (8, 8))
    image = pasted(torch.ones(3, 32, 32), where, (64, 80))
    assert image.shape == (4, 3, 80, 64)
    for one, centre in zip(image, centres(where, 32), strict=True):
        down, right = (axis.double().mean() for axis in torch.nonzero(one[0]).T)
        assert (float(right), float(down)) == tuple(centre.tolist())
        assert one.sum() == 3 * 32 * 32
    middle = centres(where, 32).mean(0)
    assert abs(middle[0] - 31.5) <= 0.5
    assert abs(middle[1] - 40) <= 0.5


@pytest.mark.parametrize("stride", [4, 8, 16, 32])
def test_places_cover_all_phases_and_keep_the_axes_apart(stride: int) -> None:
    where = np.array(places((111.5, 111.5), 112, (stride, stride)))
    for axis in (0, 1):
        assert len({place % stride for place in where[:, axis]}) == 4
    across, down = (where - where.mean(0)).T
    assert across @ down == 0


def test_of_each_way_to_turn_there_is_the_mirror_image() -> None:
    patch = soft_edged(torch.rand(3, 6, 6, generator=torch.Generator().manual_seed(0)))
    ways = turned(patch)
    assert len({tuple(way.flatten().tolist()) for way in ways}) == 8
    for way in ways:
        for axis in (-1, -2):
            assert any(torch.equal(way.flip(axis), other) for other in ways)


def test_the_command_writes_one_section_and_later_explanations_use_it(folder: Path) -> None:
    card = folder / "card.toml"
    before = card.read_bytes()
    result = run(folder, "--images", folder / "photos")
    assert result.exit_code == 0, result.output
    assert "off by 1.0 across, 1.0 down" in result.stdout
    assert card.read_bytes().startswith(before)
    section = tomllib.loads(card.read_text())["placement"]
    assert section["offset"] == [-1.5, -1.5]
    assert section["layer"] == "boxes"
    assert section["measured"].startswith("camserve calibrate, 20")
    assert "128 trials with 4 photographs, spread 0.0 x 0.0 px" in section["measured"]
    place = camserve.load(folder).explain(picture(size=(64, 64))).provenance()["placement"]
    assert (place["offset"], place["rule"]) == ((-1.5, -1.5), "calibrated")


def test_a_second_run_measures_anew_and_replaces_the_section(folder: Path) -> None:
    card = folder / "card.toml"
    run(folder, "--images", folder / "photos")
    first = card.read_bytes()
    card.write_text(card.read_text().replace("[-1.5, -1.5]", "[99.0, 99.0]"))
    result = run(folder / "card.toml", "--json", *(f"--images={path}" for path in images(folder)))
    assert card.read_bytes() == first
    facts = json.loads(result.stdout)
    assert (facts["photographs"], facts["centred"], facts["written"]) == (4, [-0.5, -0.5], str(card))


def test_a_dry_run_writes_nothing_and_takes_what_has_no_card(folder: Path) -> None:
    before = (folder / "card.toml").read_bytes()
    result = run(folder, "--dry-run", "--images", folder / "photos")
    assert "nothing (--dry-run)" in result.stdout
    result = run(f"{folder / 'net.py'}:Bright", "--images", folder / "photos")
    assert result.exit_code == 2
    assert "has no card to write to" in result.stderr
    assert (folder / "card.toml").read_bytes() == before
