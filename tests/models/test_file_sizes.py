"""What model files compute of the sizes of their input: at any size, and for any number of images."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

pytest.importorskip("camserve.models.engines.openvino_quietly")
from exported import saved
from openvino import opset13 as ov
from operation_cases import ints, numbers, one, tokens

import camserve
from camserve.errors import ModelError
from camserve.models.compiled import of_files
from camserve.models.compiled.model_file import core
from camserve.models.compiled.same_padding import SamePad2d
from camserve.models.compiled.translation import SIZE_RULES

Made = Callable[[Any], Any]
HEIGHT, WIDTH = 2, 3


def side(x: Any, axis: int) -> Any:
    """A row of one size of x."""
    return ov.gather(ov.shape_of(x), ints(axis), one(0))


def padded(x: Any, below: Any) -> Any:
    """x with `below` rows of zeros, a row of one number, and two columns."""
    return ov.pad(x, ints(0, 0, 0, 0), ov.concat([ints(0, 0), below, ints(2)], 0), "constant", np.float32(0))


def computed(kind: str, by: int) -> Made:
    """Padded by what arithmetic makes of a number and the height, by what is left of it by 5."""

    def made(x: Any) -> Any:
        return padded(x, ov.floor_mod(getattr(ov, kind)(ints(by), side(x, HEIGHT)), ints(5)))

    return made


def joined(x: Any) -> Any:
    """(N, 3 W, H)"""
    shape = ov.concat([side(x, 0), ov.multiply(side(x, 1), side(x, WIDTH)), side(x, HEIGHT)], 0)
    return ov.reshape(ov.transpose(x, ints(0, 1, 3, 2)), shape, False)


def class_token(x: Any) -> Any:
    """As PyTorch's exporter writes expand(n, -1, -1): where the size asked for is -1, it is 1."""
    asked = ov.concat([side(x, 0), ints(-1, -1)], 0)
    sizes = ov.select(ov.equal(asked, ints(-1, -1, -1)), ints(1, 1, 1), asked)
    return ov.concat([ov.broadcast(numbers(1, 1, 3), sizes, broadcast_spec="BIDIRECTIONAL"), tokens(x)], 1)


def table(x: Any) -> Any:
    """[[0, 0], [rows, columns]], turned and backwards, as PyTorch's exporter makes a Pad of torch's order."""
    rows, columns = (ov.floor_mod(side(x, axis), ints(3)) for axis in (HEIGHT, WIDTH))
    whole = ov.reshape(ov.concat([columns, ints(1), rows, ints(0)], 0), ints(2, 2), False)
    turned = ov.transpose(ov.slice(whole, ints(-1), ints(-(2**63) + 1), ints(-1), ints(0)), ints(1, 0))
    begin, end = ov.split(ov.reshape(turned, ints(-1), False), one(0), 2).outputs()
    return ov.pad(x, ov.concat([ints(0, 0), begin], 0), ov.concat([ints(0, 0), end], 0), "constant", np.float32(0))


def scalars(x: Any) -> Any:
    """A size as a number, halved as PyTorch's older exporter writes it, then as a row."""
    height = ov.convert(ov.squeeze(side(x, HEIGHT), ints(0)), "f32")
    half = ov.convert(ov.floor(ov.divide(height, np.float32(2))), "i64")
    return padded(x, ov.reshape(half, ints(1), False))


def cropped(x: Any) -> Any:
    """As TensorFlow crops: up to a computed place."""
    sizes = ov.strided_slice(ov.shape_of(x), ints(2), ints(4), ints(1), [0], [0])
    half = ov.divide(sizes, ints(2))
    return ov.strided_slice(
        x, ints(0, 0, 1, 1), ov.concat([ints(0, 0), half], 0), ints(1, 1, 1, 1), [1, 1, 0, 0], [1, 1, 0, 0]
    )


def product(x: Any) -> Any:
    places = ov.reduce_prod(ov.slice(ov.shape_of(x), ints(2), ints(4), ints(1), ints(0)), ints(0), True)
    return padded(x, ov.floor_mod(places, ints(5)))


CASES: dict[str, Made] = {
    **{
        kind: computed(name, 700)
        for kind, name in {"Add": "add", "Multiply": "multiply", "Subtract": "subtract"}.items()
    },
    "Divide": computed("divide", 100),
    "FloorMod": computed("floor_mod", 100),
    "Gather": joined,
    "Concat": joined,
    "Select": class_token,
    "Transpose": table,
    "Slice": table,
    "Split": table,
    "Reshape": table,
    "Convert": scalars,
    "Squeeze": scalars,
    "Floor": scalars,
    "StridedSlice": cropped,
    "ReduceProd": product,
}


@pytest.mark.parametrize("kind", CASES)
def test_sizes_are_computed_as_openvino_does(kind: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    ruled, own = list[str](), SIZE_RULES[kind]

    def noted(*given: Any) -> Any:
        ruled.append(kind)
        return own(*given)

    monkeypatch.setitem(SIZE_RULES, kind, noted)
    path = saved(CASES[kind], tmp_path / "net.xml", (-1, 3, -1, -1))
    module = of_files.build(path)
    assert ruled
    compiled = core().compile_model(str(path), "CPU", {"INFERENCE_PRECISION_HINT": "f32"})
    for sides in ((9, 14), (16, 11)):
        images = numbers(2, 3, *sides)
        wanted, found = compiled([images])[0], module(torch.from_numpy(images)).numpy()
        assert found.shape == wanted.shape
        assert np.abs(found - wanted).max() == 0


def test_no_rule_of_sizes_is_without_a_case() -> None:
    assert set(CASES) == set(SIZE_RULES)


FOR_ONE: dict[str, Made] = {
    "flattened": lambda x: ov.matmul(ov.reshape(x, ints(1, -1), False), numbers(3 * 8 * 8, 4), False, False),
    "flattened, all said": lambda x: ov.matmul(ov.reshape(x, ints(1, 192), False), numbers(192, 4), False, False),
    "tokens": lambda x: ov.reduce_mean(ov.transpose(ov.reshape(x, ints(1, 3, 64), False), ints(0, 2, 1)), ints(1)),
    "a class token": lambda x: ov.reduce_mean(ov.concat([numbers(1, 1, 3), tokens(x)], 1), ints(1)),
    "gates": lambda x: ov.multiply(x, ov.reshape(ov.reduce_mean(x, ints(2, 3)), ints(1, 3, 1, 1), False)),
}


@pytest.mark.parametrize("name", FOR_ONE)
def test_a_graph_written_for_one_image_takes_several(name: str, tmp_path: Path) -> None:
    module = of_files.build(saved(FOR_ONE[name], tmp_path / "net.xml", (1, 3, 8, 8)))
    images = torch.from_numpy(numbers(3, 3, 8, 8))
    each = torch.cat([module(image[None]) for image in images])
    assert torch.allclose(module(images), each, atol=1e-6)


def test_a_turned_grey_picture_is_turned_at_any_size(tmp_path: Path) -> None:
    """(N, H, W, 1) as (N, 1, H, W) is written down as a reshape to the sizes at hand, which holds for no others."""
    path = saved(
        lambda x: ov.reduce_mean(ov.reshape(x, ints(-1, 1, 8, 8), False), ints(3)), tmp_path / "net.xml", (-1, 8, 8, 1)
    )
    assert of_files.build(path)(torch.ones(2, 1, 12, 16)).shape == (2, 1, 12)


def test_a_file_of_any_size_is_not_taken_for_one_of_the_size_it_was_tried_at(tmp_path: Path) -> None:
    """Where what it computes of sizes cannot be followed, it is read as of one size: others have to be right, too."""

    def odd(x: Any) -> Any:  # the square root of a size
        root = ov.sqrt(ov.convert(side(x, HEIGHT), "f32"))
        return padded(x, ov.convert(root, "i64"))

    with pytest.raises(ModelError, match="cannot be explained"):
        of_files.build(saved(odd, tmp_path / "net.xml", (-1, 3, -1, -1)))


@pytest.mark.parametrize(
    ("kernel", "stride", "dilation"), [(3, 2, 1), (2, 2, 1), (1, 2, 1), (5, 3, 1), (3, 2, 2), (4, 1, 1)]
)
@pytest.mark.parametrize("is_lower", [False, True])
def test_padding_follows_the_size(kernel: int, stride: int, dilation: int, is_lower: bool) -> None:
    """As TensorFlow defines SAME: as many cells as cells over stride, the odd zero after, or before."""
    layer = SamePad2d((kernel, kernel), (stride, stride), (dilation, dilation), 0, is_lower=is_lower)
    for sides in range(1, 20):
        left, right, top, bottom = layer.same_padding(sides, sides + 1)
        reach = dilation * (kernel - 1)
        assert (sides + top + bottom - reach - 1) // stride + 1 == -(-sides // stride)
        assert top + bottom == max(reach + 1 - (sides - (-(-sides // stride) - 1) * stride), 0)
        few, many = (right, left) if is_lower else (left, right)
        assert 0 <= many - few <= 1


@pytest.mark.parametrize("side", [32, 33, 37])
def test_a_dilated_network_keeps_the_cells_behind_such_padding(side: int, tmp_path: Path) -> None:
    def made(x: Any) -> Any:
        pooled = ov.max_pool(ov.relu(x), [2, 2], [1, 1], [0, 0], [0, 0], [3, 3], "floor", "same_upper").output(0)
        none = [0, 0]
        return ov.reduce_mean(
            ov.relu(ov.convolution(pooled, numbers(4, 3, 3, 3), [2, 2], none, none, [1, 1], "same_upper")), ints(2, 3)
        )

    model = camserve.load(saved(made, tmp_path / "net.xml", (-1, 3, -1, -1)), size=side, mean=127.5, std=127.5)
    image = np.random.default_rng(0).integers(0, 256, (side, side, 3), dtype=np.uint8)
    plain, dense = (model.explain(image, target=1, output_stride=stride).map for stride in (None, 2))
    assert model.layer().stride == (4, 4)
    assert np.abs(dense[::2, ::2] - plain).max() < 1e-5


def test_what_is_computed_from_the_picture_is_no_size(tmp_path: Path) -> None:
    def odd(x: Any) -> Any:
        count = ov.convert(ov.reduce_max(ov.abs(x), ints(0, 1, 2, 3)), "i64")
        return padded(x, ov.reshape(count, ints(1), False))

    with pytest.raises(ModelError, match="cannot be explained: operation Convert .*values of the picture"):
        of_files.build(saved(odd, tmp_path / "net.xml", (-1, 3, 8, 8)))
