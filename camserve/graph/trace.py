"""A model as a graph, by torch.fx; every layer stays whole."""

import operator
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import fx, nn

from camserve.errors import ModelError

_CONTAINERS = (nn.Module, nn.Sequential, nn.ModuleList, nn.ModuleDict)
# Functions that write into their arguments, besides those that torch marks by a name such as "relu_".
_WRITING = {getattr(operator, name) for name in dir(operator) if name.startswith("i") and name[1:] in dir(operator)}
_WRITING |= {operator.setitem, setattr}


# torch.fx patches torch.nn.Module itself, for the whole process.
_one_at_a_time = threading.Lock()


class Untraceable(ModelError):
    """torch.fx cannot trace the network, or the traced graph gives other answers."""


class Graph(fx.GraphModule):
    """A GraphModule that raises its layers' errors. torch's own class also prints a traceback to stderr."""

    def __setattr__(self, name: str, value: Any) -> None:
        """As in torch, but torch's own `meta` does not replace a layer with the name "meta"."""
        if name != "meta" or not isinstance(value, dict) or "meta" not in self._modules:
            super().__setattr__(name, value)

    def recompile(self) -> Any:
        """As in torch, but an ordinary call replaces the call that prints."""
        code = super().recompile()
        type(self).__call__ = nn.Module.__call__  # type: ignore[method-assign]
        return code


class _Proxy(fx.Proxy):
    """A proxy that also takes `values[key] = value`, which torch.fx's own does not."""

    def __setitem__(self, key: Any, value: Any) -> None:
        self.tracer.create_proxy("call_function", setitem, (self, key, value), {})


class _Tracer(fx.Tracer):
    """Keeps subclasses of torch's own layers whole, such as a Conv2d with SAME padding.

    Their shape arithmetic cannot be traced, and geometry and cost are known for the layer, not for its parts.
    While torch.fx traces, calls of every module in the process go to the tracer. Calls from other threads are passed on
    unchanged.
    """

    def __init__(self) -> None:
        super().__init__()
        self._thread = threading.get_ident()

    def proxy(self, node: fx.Node) -> fx.Proxy:
        """The object that stands for a value during tracing."""
        return _Proxy(node, self)

    def call_module(self, m: nn.Module, forward: Callable[..., Any], args: Any, kwargs: Any) -> Any:
        """As in torch, but only in the thread that traces."""
        here = threading.get_ident() == self._thread
        return super().call_module(m, forward, args, kwargs) if here else forward(*args, **kwargs)

    def getattr(self, attr: str, attr_val: Any, parameter_proxy_cache: dict[str, Any]) -> Any:
        """As in torch, but only in the thread that traces."""
        here = threading.get_ident() == self._thread
        return super().getattr(attr, attr_val, parameter_proxy_cache) if here else attr_val

    def is_leaf_module(self, m: nn.Module, module_qualified_name: str) -> bool:
        layer = any(base.__module__.startswith("torch.nn.") and base not in _CONTAINERS for base in type(m).__mro__)
        return (layer and not isinstance(m, nn.Sequential)) or super().is_leaf_module(m, module_qualified_name)


def trace(model: nn.Module, keyword: str | None = None) -> Graph:
    """The graph of `model`, called with images alone. It shares the parameters of `model`. Raises Untraceable.

    keyword: the name of the argument for images, if they must be passed by name. All other arguments keep their
    defaults, as in a call; torch.fx itself would treat them as unknown values and follow the branch for training.
    A Graph is copied, with its names.
    """
    if isinstance(model, Graph) and keyword is None:
        same = fx.Graph()
        same.output(same.graph_copy(model.graph, {}))
        return Graph(model, same)
    try:
        root = _called_with_images(model, keyword)
        with _nothing_kept(model):
            with _one_at_a_time:
                graph = _Tracer().trace(root)
            return Graph(root, _in_order(root, graph))
    except Exception as error:  # the user's forward may raise anything when it gets a proxy
        raise Untraceable(f"torch.fx cannot trace {type(model).__name__}: {error}") from None


@contextmanager
def _nothing_kept(model: nn.Module) -> Iterator[None]:
    """Restore the attributes of all modules afterwards: a traced forward may have stored proxies in them."""
    held = [vars(part) for part in model.modules()]
    kinds = ("_parameters", "_buffers", "_modules")
    held += [own[name] for own in list(held) for name in kinds if isinstance(own.get(name), dict)]
    before = [dict(holder) for holder in held]
    try:
        yield
    finally:
        for holder, content in zip(held, before, strict=True):
            for name in holder.keys() - content.keys():
                del holder[name]
            holder.update(content)


def _called_with_images(model: nn.Module, keyword: str | None) -> nn.Module:
    """A module with all attributes of `model` and a forward of one argument."""

    def forward(self: nn.Module, images: Any) -> Any:
        return model.forward(images) if keyword is None else model.forward(**{keyword: images})

    root: nn.Module = nn.Module.__new__(type(type(model).__name__, (nn.Module,), {"forward": forward}))
    object.__setattr__(root, "__dict__", model.__dict__)
    return root


def _in_order(root: nn.Module, graph: fx.Graph) -> fx.Graph:
    """Change `graph` so that steps after a step that writes into a value use the result of that step.

    A line such as `x.add_(y)` has no user, so without this only the order of the lines would say that it comes first.
    """
    place = {node: index for index, node in enumerate(graph.nodes)}
    for node in list(graph.nodes):
        into = node.args[0] if node.args else None
        if node.target is operator.setitem:
            node.target = setitem
        if isinstance(into, fx.Node) and writes(root, node):
            for user in [user for user in into.users if place[user] > place[node]]:
                user.replace_input_with(into, node)
    return graph


def setitem(values: Any, key: Any, value: Any) -> Any:
    """Do `values[key] = value` and return `values`; a plain assignment would return nothing."""
    values[key] = value
    return values


def writes(graph: nn.Module, node: fx.Node) -> bool:
    """Whether a node may write into its argument. Such a node matters even if its result is not used."""
    if node.op == "call_method":
        name = str(node.target)
        return (name.endswith("_") and not name.endswith("__")) or name == "__setitem__" or "out" in node.kwargs
    if node.op == "call_function":
        name = getattr(node.target, "__name__", "")
        in_place = name.endswith("_") and not name.endswith("__")
        return (
            in_place
            or node.target in _WRITING
            or node.target is setitem
            or bool(node.kwargs.get("inplace"))
            or "out" in node.kwargs
        )
    if node.op == "call_module":
        return bool(getattr(graph.get_submodule(str(node.target)), "inplace", False))
    return False


def without_dead_code(graph: fx.GraphModule) -> None:
    """Remove from `graph` what its answer does not need. Nodes that write in place stay; torch.fx would remove them."""
    graph.graph.eliminate_dead_code(lambda node: node.is_impure() or writes(graph, node))
    graph.delete_all_unused_submodules()
    graph.recompile()


def is_recording() -> bool:
    """Whether an export is recording. Sizes are then symbols, and no branch may depend on them."""
    recording: bool = torch.jit.is_tracing() or torch.compiler.is_exporting()  # type: ignore[attr-defined, no-untyped-call]
    return recording
