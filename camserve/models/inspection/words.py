"""An inspection in sentences and short figures, the same in all places that show it."""

from camserve.geometry.receptive_field import Field
from camserve.models.inspection.head_facts import InspectedHead
from camserve.models.inspection.operation import Shape
from camserve.models.inspection.sizes import InputSizes
from camserve.models.inspection.summary import Inspection


def sentences(inspection: Inspection) -> dict[str, str]:
    """The main facts as sentences, by topic."""
    others = ", ".join(name for name in inspection.outputs if name != inspection.output)
    outputs = {"output": f"'{inspection.output}'; the network has others: {others}."} if others else {}
    return {
        **outputs,
        "cost": _total(inspection),
        "depthwise": _separable(inspection),
        "layer": _layer(inspection.head, min(inspection.size)),
        "head": _head(inspection.head),
        "input": " ".join(filter(None, (sizes_in_words(inspection.sizes), inspection.channels))),
    }


def short(number: int) -> str:
    """Three digits and a unit: 1.28 M, 385 M, 4.09 G."""
    for size, unit in ((10**9, "G"), (10**6, "M"), (10**3, "k")):
        if number >= size * 0.9995:
            digits = f"{number / size:.4g}" if number >= 999.5 * size else f"{number / size:#.3g}".rstrip(".")
            return f"{digits} {unit}"
    return str(number)


def cost(macs: int, beside: int) -> str:
    """A cost in the unit of another cost beside it, for easy comparison: 0.385 GMAC beside 3.02 GMAC."""
    for size, unit in ((10**9, "GMAC"), (10**6, "MMAC")):
        if beside >= size / 20:
            return f"{macs / size:#.3g}".rstrip(".") + f" {unit}"
    return f"{macs:,} MAC"


def by(sizes: Shape) -> str:
    """Sizes as text, such as 1280x7x7."""
    return "x".join(map(str, sizes))


def reach(field: Field) -> str:
    """The side of a cell's receptive field; width and height if they differ; "all" if it is the whole image."""
    if field.global_context:
        return "all"
    return one_or_two(field.size)


def one_or_two(pair: tuple[float, float]) -> str:
    """One number if x and y are equal."""
    across, down = (f"{value:g}" for value in pair)
    return across if across == down else f"{across}x{down}"


def _total(inspection: Inspection) -> str:
    said = (
        f"{inspection.parameters:,} parameters and {cost(inspection.macs, inspection.macs)} (multiply-adds) for an "
        f"image of {_size(inspection.size)} pixels."
    )
    missing = ", ".join(inspection.not_counted)
    return f"{said} Not counted: {missing}." if missing else said


def _separable(inspection: Inspection) -> str:
    pairs, total = inspection.separable, inspection.macs
    if not pairs:
        return "No depthwise separable convolutions."
    macs, standard = sum(pair.macs for pair in pairs), sum(pair.standard_macs for pair in pairs)
    return (
        f"{len(pairs)} depthwise convolution{'s' * (len(pairs) > 1)}, a 1x1 convolution after each: "
        f"{cost(macs, total)}; standard convolutions would take {cost(standard, total)} ({standard / macs:.1f} "
        f"times). The network would take {cost(inspection.standard_macs, total)} instead of {cost(total, total)}."
    )


def _layer(head: InspectedHead, side: int) -> str:
    channels, height, width = head.maps
    said = f"Explanations look at '{head.layer}', {channels} maps of {width} x {height} cells"
    if head.field is None:
        return f"{said}. Their receptive field is unknown."
    if head.field.global_context:
        field = "the whole image"
    else:
        field = f"{_size(head.field.size)} pixels" + (", more than the image" if min(head.field.size) > side else "")
    return f"{said}, one every {one_or_two(head.field.stride)} pixels. Their receptive field is {field}."


def _head(head: InspectedHead) -> str:
    return f"{head.kind.capitalize()}: {head.what}. {head.closed_form}."


def sizes_in_words(sizes: InputSizes) -> str:
    """Which sizes work, which were tried, and why the first of the others fails."""
    own, *others = sizes.trials
    taken = [_size(trial.size) for trial in (own, *others) if not trial.reason]
    if sizes.any_size:
        below = f" Below, {sizes.below}." if sizes.below else ""
        return f"Any size from {sizes.smallest} x {sizes.smallest} pixels up; {', '.join(taken)} were tried.{below}"
    failed = [trial for trial in others if trial.reason]
    refused = ", ".join(_size(trial.size) for trial in failed)
    which = "Only" if len(taken) == 1 else "Not every size: of those tried,"
    works = f"{which} {', '.join(taken)} pixels are taken, not {refused}"
    return f"{works}. At {_size(failed[0].size)}, {failed[0].reason}."


def _size(size: tuple[int, int]) -> str:
    return f"{size[0]} x {size[1]}"
