"""A network in a few rows: one for each block, or for a layer and its followers; equal rows become one."""

from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from itertools import groupby, takewhile

from camserve.models.inspection.layer_costs import InspectedLayer

# A module with more than this share of the layers is a wrapper or an encoder: its parts are the blocks.
_TOO_MUCH = 2 / 3
# Most operations of a block to list; more are counted by kind.
_LISTED = 5


@dataclass(frozen=True)
class Block:
    """Consecutive layers. name: of the block, or of its first and last layer; times: number of equal blocks in it."""

    name: str
    kind: str
    layers: tuple[InspectedLayer, ...]
    times: int = 1

    @property
    def last(self) -> InspectedLayer:
        """The layer whose output is the block's."""
        return next((layer for layer in reversed(self.layers) if layer.kind != "parameter"), self.layers[-1])

    @property
    def parameters(self) -> int:
        """The parameters of all its layers."""
        return sum(layer.parameters for layer in self.layers)

    @property
    def macs(self) -> int:
        """The multiply-adds of all its layers, as far as known."""
        return sum(layer.macs or 0 for layer in self.layers)


def blocks_of(layers: Sequence[InspectedLayer]) -> list[Block]:
    """The network in a few rows, in order."""
    block = _block_finder(layers)
    found: list[Block] = []
    for name, group in groupby(layers, block):
        members = tuple(group)
        found += [_block(name, members)] if name else map(_run, _runs(members))
    return _equal_ones_in_one(found)


def _block_finder(layers: Sequence[InspectedLayer]) -> Callable[[InspectedLayer], str]:
    """A function that names the block of a layer: the outermost module with several, but not most, layers; else ""."""
    sizes = Counter(path for layer in layers for path in layer.inside)
    most = len(layers) * _TOO_MUCH
    return lambda layer: next((path for path in layer.inside if 1 < sizes[path] <= most), "")


def _block(name: str, members: tuple[InspectedLayer, ...]) -> Block:
    main = _main(name, members)
    if len(main) < 2:
        return Block(name, ", ".join(layer.kind for layer in members), members)
    if len(main) > _LISTED:
        main = [short if times == 1 else f"{times} × {short}" for short, times in Counter(main).items()]
    if len(main) > _LISTED + 1:
        main[_LISTED:] = [f"{len(main) - _LISTED} other kinds"]
    return Block(name, ", ".join(main), members)


def _main(name: str, members: tuple[InspectedLayer, ...]) -> list[str]:
    """The operations of a block, without norms and activations; a squeeze-excitation counts as one."""
    main: list[str] = []
    for _, part in groupby(members, lambda layer: next((p for p in layer.inside if len(p) > len(name)), "")):
        shorts = [layer.short for layer in part if layer.short]
        gate = len(shorts) > 2 and (shorts[0], shorts[-1]) == ("global average pool", "multiply")
        main += ["squeeze-excite"] if gate else shorts
    return main


def _runs(members: Iterable[InspectedLayer]) -> list[tuple[InspectedLayer, ...]]:
    """Each layer with the norm, the activation and other layers that follow it."""
    runs: list[tuple[InspectedLayer, ...]] = []
    for layer in members:
        if layer.short or not runs:
            runs.append((layer,))
        else:
            runs[-1] = (*runs[-1], layer)
    return runs


def _run(members: tuple[InspectedLayer, ...]) -> Block:
    kinds = ", ".join(dict.fromkeys(layer.kind for layer in members))
    run = Block("", kinds, members)
    return replace(run, name=from_to(members[0].name, run.last.name))


def _equal_ones_in_one(blocks: list[Block]) -> list[Block]:
    """Joins repeated blocks to one row, as papers print them."""
    merged = []
    for _, group in groupby(blocks, lambda block: (block.kind, block.last.output, block.parameters, block.macs)):
        equal = list(group)
        layers = tuple(layer for block in equal for layer in block.layers)
        together = replace(equal[0], layers=layers, times=len(equal))
        name = equal[0].name if len(equal) == 1 else _repeated(equal)
        merged.append(replace(together, name=name))
    return merged


def _repeated(blocks: list[Block]) -> str:
    """The name of a row of blocks, or of layers, from the first to the last."""
    first, last = blocks[0], blocks[-1]
    single = " … " not in first.name
    return from_to(first.name, last.name) if single else from_to(first.layers[0].name, last.last.name)


def from_to(first: str, last: str) -> str:
    """ "layer1.1 … 2" for layer1.1 and layer1.2: the common beginning is written once."""
    if first == last:
        return first
    same = "".join(one for one, _ in takewhile(lambda pair: pair[0] == pair[1], zip(first, last, strict=False)))
    parent = same[: max(map(same.rfind, "._-")) + 1]
    return f"{first} … {last.removeprefix(parent)}"
