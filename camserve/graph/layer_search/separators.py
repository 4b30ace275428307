"""Find the values of a forward pass that every path from the image to the answer goes through (separators).

They are read from autograd's graph, which has every step from the image to the answer, so this works for every network,
traced or not. Attention weights, keys, tables of biases and side branches are not separators, because the values of the
attention go around them.
"""

from collections.abc import Iterator
from typing import Any

from torch import Tensor

# A value in autograd's graph: the step that made it, and its number among the step's results.
Key = tuple[Any, int]


def key_of(value: Tensor) -> Key | None:
    """The current position of a value in autograd's graph; None if it does not depend on the image."""
    return None if value.grad_fn is None else (value.grad_fn, value.output_nr)


def separators(answer: Tensor, image: Tensor) -> set[Key]:
    """The keys of all values that every path from `image` to `answer` goes through.

    image: a leaf that requires gradients. Paths are counted exactly: a value lies on all paths if the number of paths
    to it, times the number of paths from it, is the number of all paths.
    """
    root = key_of(answer)
    if root is None:
        return set()
    order = _from_the_answer(root[0])
    onward: dict[Any, int] = {}
    for step in reversed(order):
        ends = getattr(step, "variable", None) is image
        onward[step] = 1 if ends else sum(onward[before] for before, _ in step.next_functions if before is not None)
    arriving: dict[Key, int] = {root: 1}
    total: dict[Any, int] = {root[0]: 1}
    for step in order:
        for before, number in step.next_functions:
            if before is not None:
                arriving[before, number] = arriving.get((before, number), 0) + total[step]
                total[before] = total.get(before, 0) + total[step]
    every = onward[root[0]]
    return {key for key, count in arriving.items() if every and count * onward[key[0]] == every}


def _from_the_answer(root: Any) -> list[Any]:
    """Every step of the graph, each before the steps that it depends on."""
    order: list[Any] = []
    done, waiting = set[Any](), [(root, False)]
    while waiting:
        step, left = waiting.pop()
        if left:
            order.append(step)
        elif step not in done:
            done.add(step)
            waiting.append((step, True))
            waiting += [
                (before, False) for before, _ in step.next_functions if before is not None and before not in done
            ]
    return order[::-1]


def steps_behind(value: Tensor) -> Iterator[Any]:
    """Every step of autograd's graph that led to `value`, once."""
    waiting, seen = [value.grad_fn], set[Any]()
    while waiting:
        step = waiting.pop()
        if step is None or step in seen:
            continue
        seen.add(step)  # also keeps the object alive: autograd would make a new one at the next access
        waiting.extend(before for before, _ in step.next_functions)
        yield step
