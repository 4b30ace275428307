"""The end of a network that flattens its last feature map: recognised, or refused with a reason."""

from dataclasses import dataclass
from typing import NoReturn

from torch import fx

from camserve.errors import ModelError
from camserve.graph.surgery.dry_run import RecordedWalk

# torch's names of layers and functions, in lower case and without underscores.
_EACH_VALUE = frozenset(
    [
        "relu",
        "relu6",
        "leakyrelu",
        "prelu",
        "rrelu",
        "elu",
        "celu",
        "selu",
        "gelu",
        "silu",
        "mish",
        "hardswish",
        "hardsigmoid",
        "hardtanh",
        "sigmoid",
        "logsigmoid",
        "tanh",
        "tanhshrink",
        "softplus",
        "softsign",
        "softshrink",
        "hardshrink",
        "threshold",
        "clamp",
        "clip",
        "neg",
        "add",
        "sub",
        "mul",
        "div",
        "truediv",
        "iadd",
        "isub",
        "imul",
        "itruediv",
        "identity",
        "dropout",
        "dropout2d",
        "alphadropout",
        "featurealphadropout",
        "contiguous",
        "clone",
        "detach",
        "float",
    ]
)
_OVER_CLASSES = frozenset(["softmax", "logsoftmax", "softmin"])
_FLATTENING = frozenset(["flatten", "view", "reshape", "squeeze", "unsqueeze", "unflatten"])
_ADAPTIVE = frozenset(["adaptiveavgpool2d", "adaptivemaxpool2d"])
_TAKEN = "flatten, view or reshape, Linear, activations, dropout, BatchNorm1d and softmax over the classes"
_WHY = {
    "layernorm": "it normalises over all features of the vector at once",
    "groupnorm": "it normalises over all features of a group at once",
}


@dataclass(frozen=True)
class Tail:
    """The layers after the last feature map, which is (N, channels, *window).

    layers: in order. dropped: poolings and flattenings, which are removed. stride: (x, y) pixels between the cells of
    the map.
    """

    channels: int
    window: tuple[int, int]
    stride: tuple[int, int]
    dropped: list[fx.Node]
    layers: list[fx.Node]


def kind(walk: RecordedWalk, node: fx.Node) -> str:
    """The kind of a node, such as "relu" or "linear", the same for layers, functions and methods; "" if unknown."""
    return walk.steps[node].name.lower().replace("_", "") if node in walk.steps else ""


def find_tail(walk: RecordedWalk) -> Tail:
    """The tail of the graph of a walk. Raises ModelError if it is not a chain of layers that can slide."""
    source, vectors = _vectors(walk)
    linear = next((node for node in vectors if kind(walk, node) == "linear"), None)
    if linear is None:
        found = ", ".join(walk.describe(node) for node in vectors) or "nothing"
        _refuse(f"there is no nn.Linear between its last feature map and its answer, only {found}")
    before = vectors[: vectors.index(linear)]
    pools = _pools(walk, source)
    _check_map(walk, source)
    _check_flat(walk, source, before, linear)
    for node in vectors:
        _check(walk, node, flat=node in before)
        _check_users(walk, node)
    dropped = [*pools, *(node for node in vectors if kind(walk, node) in _FLATTENING)]
    channels, height, width = walk.shapes[source][1:]
    layers = [node for node in vectors if node not in dropped]
    return Tail(channels, (height, width), walk.seen[source].field.stride, dropped, layers)


def _refuse(why: str) -> NoReturn:
    raise ModelError(f"the network's head cannot become convolutions: {why}")


def _vectors(walk: RecordedWalk) -> tuple[fx.Node, list[fx.Node]]:
    """The last feature map, and all nodes from there to the answer."""
    (output,) = (node for node in walk.seen if node.op == "output")
    node, chain = output.args[0], []
    while not (isinstance(node, fx.Node) and len(walk.shapes[node]) == 4):
        if not isinstance(node, fx.Node):
            _refuse("it answers with several values instead of one tensor of logits")
        chain.append(node)
        node = _source(walk, node)
    return node, chain[::-1]


def _source(walk: RecordedWalk, node: fx.Node) -> fx.Node:
    """The input of a node of the chain. Raises ModelError if the node has several inputs."""
    sources = walk.sources(node)
    if len(sources) != 1:
        names = " and ".join(walk.describe(source) for source in sources) or "nothing that depends on the image"
        _refuse(f"{walk.describe(node)} takes {names}, so its input is not the feature map alone")
    others = [before for before in node.all_input_nodes if before not in sources]
    if others and kind(walk, node) not in _FLATTENING:
        _refuse(f"{walk.describe(node)} also takes '{others[0].name}', but only layers with one input can slide")
    return sources[0]


def _pools(walk: RecordedWalk, node: fx.Node) -> list[fx.Node]:
    """The adaptive pooling before the flattening, if there is one. Raises ModelError if it changes the map here."""
    while kind(walk, node) in _EACH_VALUE and len(walk.sources(node)) == 1:
        (node,) = walk.sources(node)
    if kind(walk, node) not in _ADAPTIVE:
        return []
    before, after = (tuple(walk.shapes[place][:1:-1]) for place in (walk.sources(node)[0], node))
    if after == (1, 1):
        _refuse_global(walk, node)
    if before != after:
        width, height = walk.image.grid
        _refuse(
            f"at {width} x {height} pixels {walk.describe(node)} pools {before[0]} x {before[1]} cells to "
            f"{after[0]} x {after[1]}; give the size that the classifier was made for, at which the pooling changes "
            "nothing"
        )
    _check_users(walk, node)
    return [node]


def _refuse_global(walk: RecordedWalk, node: fx.Node) -> NoReturn:
    _refuse(
        f"{walk.describe(node)} pools over the whole map, so there is no window that could slide. Such a head needs no "
        "conversion: if one linear layer follows, use `class_maps` or the method cam; if several follow, use gradcam"
    )


def _check_map(walk: RecordedWalk, source: fx.Node) -> None:
    seen = walk.seen[source]
    if isinstance(seen, str):
        _refuse(f"camserve does not know where the cells of the last feature map lie: {seen}")
    if seen.axes != (-1, -2):
        _refuse(f"{walk.describe(source)} is not a map (N, K, h, w): its channels are not the second dimension")


def _check_flat(walk: RecordedWalk, source: fx.Node, before: list[fx.Node], linear: fx.Node) -> None:
    """Raises ModelError if the first fully connected layer does not take the map as one vector for each image."""
    if before and kind(walk, before[0]) in {"mean", "sum", "amax", "amin"}:
        _refuse_global(walk, before[0])
    images, *cells = walk.shapes[source]
    expected, given = (images, cells[0] * cells[1] * cells[2]), tuple(walk.shapes[_source(walk, linear)])
    if given != expected:
        _refuse(
            f"{walk.describe(linear)} takes (N, {', '.join(map(str, given[1:]))}), not the map of "
            f"{cells[0]} x {cells[1]} x {cells[2]} as one vector of {expected[1]}"
        )


def _check(walk: RecordedWalk, node: fx.Node, *, flat: bool) -> None:
    """Raises ModelError if a layer of the tail cannot slide. flat: whether it comes before the first linear layer."""
    name, layer = kind(walk, node), walk.steps[node].target
    if name in _FLATTENING and not flat and walk.shapes[node] != walk.shapes[_source(walk, node)]:
        shape = ", ".join(map(str, walk.shapes[node][1:]))
        _refuse(f"{walk.describe(node)} reshapes the vector of features to (N, {shape})")
    if name in _OVER_CLASSES and walk.steps[node].option("dim") not in (1, -1, None):
        _refuse(f"{walk.describe(node)} works along dimension {walk.steps[node].option('dim')}, not the classes")
    by_feature = name in _OVER_CLASSES or name == "batchnorm1d" or getattr(layer, "num_parameters", 1) > 1
    if flat and by_feature:
        _refuse(f"{walk.describe(node)} treats each position of the flattened map differently")
    if not by_feature and name not in _EACH_VALUE | _FLATTENING | {"linear"}:
        _refuse(f"{walk.describe(node)}: {_WHY.get(name, 'it cannot slide')}. Allowed are {_TAKEN}")


def _check_users(walk: RecordedWalk, node: fx.Node) -> None:
    """Raises ModelError if several nodes use the values of a node of the chain. They may all use its size."""
    users = [user for user in node.users if walk.seen[user] is not None or user.op == "output"]
    if len(users) > 1:
        _refuse(f"{walk.describe(node)} feeds {' and '.join(walk.describe(user) for user in users)}")
