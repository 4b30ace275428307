"""Which values of one pass all that the answer knows of the image has gone through, read off autograd's own record.

Works for whatever torch computes, traced or not: the record holds every step from the image to the answer, and a value
is a separator where every path between the two goes through it. Attention's weights, keys, tables of biases and side
branches are none: the values that attention weighs go around them.
"""

from collections.abc import Iterator
from typing import Any

from torch import Tensor

# A value in the record: the step that gave it, and which of the step's results it is.
Key = tuple[Any, int]


def key_of(value: Tensor) -> Key | None:
    """Where a value stands in the record at this moment; None where it depends on no image."""
    return None if value.grad_fn is None else (value.grad_fn, value.output_nr)


def separators(answer: Tensor, image: Tensor) -> set[Key]:
    """The keys of all values that every path from `image` to `answer` goes through.

    image: a leaf that requires gradients. Paths are counted, exactly: a value lies on all of them where those to it,
    times those from it, are as many as there are in all.
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
    """Every step of the record, each before those it depends on."""
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
    """Every step of the record that led to `value`, once."""
    waiting, seen = [value.grad_fn], set[Any]()
    while waiting:
        step = waiting.pop()
        if step is None or step in seen:
            continue
        seen.add(step)  # also keeps it alive: autograd makes these objects anew when nobody holds them
        waiting.extend(before for before, _ in step.next_functions)
        yield step
