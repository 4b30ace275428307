"""Find the blocks of a transformer after which its classifier can be applied, however the network is written."""

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from camserve.errors import OptionError
from camserve.methods.watching.attention_weights import Attending, Weights
from camserve.methods.watching.modules_run import Course, cut_off, tokens_in

OTHERS = "in windows, between channels, or to other keys than the tokens"


@dataclass(frozen=True)
class Found:
    """What one run showed.

    attention: all attention, in order. joins: the attention that joins all tokens with all. shapes: of the modules'
    outputs. calls: how often each module ran.
    """

    attention: Sequence[Weights]
    joins: Sequence[Weights]
    shapes: dict[str, tuple[int, ...]]
    calls: Counter[str]

    def alike(self, block: str, other: str) -> bool:
        """Whether two modules give the same number of tokens of the same width."""
        return self.shapes[block] == self.shapes[other]


@dataclass(frozen=True)
class Passed:
    """One block's attention, and the logits of the classifier applied after the block, differentiable by it.

    after: the attention after the last block.
    """

    attention: Sequence[Weights]
    logits: Tensor
    after: Sequence[Weights]


def survey(course: Course, images: Tensor, most: range) -> Found:
    """Run the network once, without autograd. most: the allowed numbers of tokens."""
    shapes, calls = dict[str, tuple[int, ...]](), Counter[str]()

    def leave(path: str, output: Any) -> Any:
        tokens = tokens_in(output)
        calls[path] += 1
        if tokens is not None:
            shapes[path] = tuple(tokens.shape)
        return output

    with torch.no_grad(), Attending(course.here) as attending:
        course.run(images, leave)
    sizes = [tokens_joined(one, len(images)) for one in attending.found]
    last = next((size for size in reversed(sizes) if size in most), None)
    joins = [one for one, size in zip(attending.found, sizes, strict=True) if size is not None and size == last]
    return Found(attending.found, joins, shapes, calls)


def tokens_joined(one: Weights, batch: int) -> int | None:
    """Return how many tokens attention joins, all with all; None if it does not."""
    heads = one.heads(batch)
    return heads.shape[-1] if heads is not None and heads.shape[-1] == heads.shape[-2] > 1 else None


def passages(course: Course, images: Tensor, found: Found) -> Iterator[Passed]:
    """Yield a Passed for each block. Autograd must be on. Raises OptionError."""
    paths, blocks = blocks_of(found)
    if not blocks:
        with Attending(course.here) as attending:
            logits = course.run(images, lambda path, output: output)
        own = [i for i, one in enumerate(found.attention) if one in found.joins and one.path in paths]
        yield Passed([attending.found[i] for i in own], logits, attending.found[own[-1] + 1 :])
        return
    reader = course.reader(blocks[-1], images)
    for tokens, attention in _behind(course, images, blocks):
        yield Passed(attention, *reader(tokens))


def _behind(course: Course, images: Tensor, blocks: Sequence[str]) -> list[tuple[Tensor, list[Weights]]]:
    """Return each block's tokens and attention. Gradients do not reach from one block into another."""
    left: dict[str, Tensor] = {}

    def leave(path: str, output: Any) -> Any:
        tokens = tokens_in(output)
        if path not in blocks or tokens is None:
            return output
        left[path] = tokens
        return cut_off(output)

    with Attending(course.here) as attending:
        course.run(images, leave)
    return [(left[block], [one for one in attending.found if _is_in(one, block)]) for block in blocks]


def _is_in(one: Weights, block: str) -> bool:
    return one.path == block or one.path.startswith(block + ".")


def blocks_of(found: Found) -> tuple[list[str], list[str]]:
    """Return the paths of attention that joins all tokens, and of the blocks around it, just deep enough to differ.

    Only blocks with the same number and width of tokens as the last block count. For a single block the list of blocks
    is empty, because its tokens need no reader. Raises OptionError if the blocks are not modules, or if blocks with
    other attention stand beside them.
    """
    paths = [one.path for one in found.joins]
    while len(set(paths)) > 1:
        blocks = [".".join(path) for path in _apart([path.split(".") for path in paths])]
        _check_modules(blocks, found)
        alike = [path for path, block in zip(paths, blocks, strict=True) if found.alike(block, blocks[-1])]
        if len(alike) == len(paths):
            _check_beside(blocks, found)
            return paths, list(dict.fromkeys(blocks))
        paths = alike
    _check_once(paths[:1], found)
    return paths, []


def _apart(paths: list[list[str]]) -> Iterator[list[str]]:
    """Yield the start of each path up to the first depth at which the paths differ, the same depth for all."""
    together = min(map(len, paths))
    depth = next((i for i in range(together) if len({path[i] for path in paths}) > 1), together)
    return (path[: depth + 1] for path in paths)


def _check_modules(blocks: Sequence[str], found: Found) -> None:
    if missing := [block for block in blocks if block not in found.shapes]:
        raise OptionError(f"LeGrad needs blocks that are modules, and '{missing[0]}' is not a module; try 'gradcam'")
    _check_once(blocks, found)


def _check_once(blocks: Sequence[str], found: Found) -> None:
    if several := [block for block in blocks if found.calls[block] > 1]:
        raise OptionError(
            f"LeGrad needs blocks that run once, and '{several[0]}' runs {found.calls[several[0]]} times; try 'gradcam'"
        )


def _check_beside(blocks: Sequence[str], found: Found) -> None:
    """Refuse attention of another kind beside or inside the blocks: it would be left out without a warning."""
    last = blocks[-1]
    for one in found.attention:
        around = ".".join(one.path.split(".")[: last.count(".") + 1])
        beside = around.rpartition(".")[0] == last.rpartition(".")[0] and around in found.shapes
        if one not in found.joins and beside and found.alike(around, last):
            raise OptionError(
                f"LeGrad needs attention between all tokens, and the attention of '{one.path}' is {OTHERS}; try "
                "'gradcam'"
            )
