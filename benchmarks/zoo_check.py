"""One row of the zoo: camserve's answers for one network, compared with the network itself.

Only public functions of camserve are called: load, explain, class_maps. zoo_oracle computes the expected values on a
copy of the network that camserve has never seen.
"""

import copy
import time
from collections.abc import Callable
from dataclasses import asdict
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from zoo_graph import logits_in
from zoo_layer import LayerCheck
from zoo_members import Member
from zoo_row import OF_PEAK, OF_SPREAD, Row, apart, batch_of, first_line, heard, maps_agree, picture, pixels_of
from zoo_weights import trained_like

import camserve
from camserve.catalogue.head_kinds import HeadKind
from camserve.config import Settings, load_settings
from camserve.errors import CamserveError

# Words of warnings that say: the logits are not the module's own at this size.
OTHERWISE = ("own size", "differ", "windows")
# What a CamserveError means: the row is refused, the row is wrong, or camserve does not offer this.
REFUSES, FAILS, DECLINES = "refuses", "fails", "declines"


def checked(member: Member) -> dict[str, Any]:
    """Return the row of one network."""
    torch.set_num_threads(1)
    row, start = Row(member.library, member.name, size=member.side), time.monotonic()
    row.note(member.note)
    try:
        network = trained_like(member.make, batch_of(member.side))
    except Exception as error:
        row.verdict, row.words = "not made", first_line(error)
    else:
        row.parameters = sum(parameter.numel() for parameter in network.parameters())
        _Check(row, network, member.side).run()
    row.seconds = round(time.monotonic() - start, 1)
    return asdict(row)


class _Check:
    """All checks of one network. row: holds the results."""

    def __init__(self, row: Row, network: nn.Module, side: int) -> None:
        self.row, self.network, self.side = row, network, side
        self.picture = picture(side, side)
        self._logits_wrong = False

    def run(self) -> None:
        """Run all checks in order."""
        model = self._tried("load", lambda: loaded(self.network, self.side, "torch"), REFUSES)
        own = None if model is None else self._explained(model, (self.side, self.side), REFUSES, size=self.side)
        if own is None:
            return
        self.row.layer, self.row.head = own.layer, own.head
        self._compare_logits(own, "")
        ours = {method: self._offered(model, method) for method in ("gradcam", "hirescam")}
        ours = {method: made for method, made in ours.items() if made is not None}
        self._layer = LayerCheck(self.row, self.network, own, ours)
        self._layer.run()
        self.row.exact = self._exactness(model, own.head, ours.get("hirescam"))
        self.row.legrad, self.row.rollout = self._attention(model, "legrad"), self._attention(model, "attentionrollout")
        self.row.sizes = self._sizes(model)
        self.row.engines = self._engines(model, own)

    def _tried(self, what: str, work: Callable[[], Any], meaning: str) -> Any:
        """Return the result of `work`; None if it fails or is refused, and then the row says what that means.

        meaning: of a refusal; for DECLINES the CamserveError itself is returned.
        """
        try:
            with heard(self.row, what):
                return work()
        except CamserveError as error:
            if meaning == DECLINES:
                return error
            if meaning == FAILS:
                self.row.wrong(f"{what} fails: {first_line(error)}")
            elif self.row.verdict == "right":
                self.row.verdict, self.row.words = "refused", first_line(error)
        except Exception as error:
            self.row.wrong(f"{what} raises {type(error).__name__}: {first_line(error)}")
        return None

    def _explained(self, model: camserve.Model, shape: tuple[int, int], meaning: str = FAILS, **how: Any) -> Any:
        """Explain a picture of that shape, (w, h); see `_tried`."""
        what = "a picture of {} x {}".format(*shape)
        return self._tried(what, lambda: model.explain(picture(*shape), **how), meaning)

    def _offered(self, model: camserve.Model, method: str) -> Any:
        """Explain with a method; None if camserve declines it, with a note, or if it fails."""
        made = self._tried(method, lambda: model.explain(self.picture, size=self.side, method=method), DECLINES)
        if isinstance(made, CamserveError):
            self.row.note(f"{method} refused: {first_line(made)}")
            return None
        return made

    def _compare_logits(self, explanation: camserve.Explanation, where: str) -> None:
        """Compare with the module's own logits at the explanation's input, if pixels were not resampled."""
        frame = explanation.placement.frame
        if frame.input != frame.original or not frame.sees_all:
            self.row.wrong("" if where else f"a picture of the network's own size is resampled to {frame.input}")
            return
        pixels, ours = pixels_of(picture(*frame.input)), torch.from_numpy(explanation.logits)
        try:
            theirs = self._answer(pixels)
        except Exception as error:
            self.row.note(f"the module itself fails{where}: {first_line(error)}")
            return
        missing = apart(ours, theirs)
        if missing > 1:
            missing = apart(ours, theirs, self._rounding(pixels, theirs))
        said = where and any(word in warning for warning in explanation.warnings for word in OTHERWISE)
        if missing > 1 and not said:
            self._logits_wrong |= not where
            self.row.wrong(f"logits{where} are {missing:.3g} times the tolerance off")

    def _answer(self, pixels: Tensor) -> Tensor:
        """Return the logits of a fresh copy of the network, (C,)."""
        network = copy.deepcopy(self.network)
        with torch.no_grad():
            return logits_in((network.double() if pixels.dtype == torch.float64 else network)(pixels))[0]

    def _rounding(self, pixels: Tensor, answer: Tensor) -> float:
        """Return the network's own rounding error in float32."""
        try:
            return float((self._answer(pixels.double()) - answer.double()).abs().max())
        except Exception:  # some networks make float32 tensors inside, which fails in float64
            return 0.0

    def _exactness(self, model: camserve.Model, head: str, hirescam: Any) -> str:
        """Return whether class maps add up to all logits; "" if camserve offers no class maps."""
        maps = self._tried("class_maps", lambda: model.class_maps(self.picture, size=self.side), DECLINES)
        if maps is None or isinstance(maps, CamserveError):
            return "" if maps is not None else "fails"
        how = {"size": self.side, "method": "cam"}
        each = self._tried("cam", lambda: model.explain_classes(self.picture, list(range(len(maps))), **how), FAILS)
        if each is None:
            return "fails"
        logits = torch.from_numpy(each[0].logits)
        sums = torch.tensor([float(one.map.mean()) + one.bias for one in each])
        rectified = torch.tensor([float(one.map.clip(min=0).mean()) + one.bias for one in each])
        missing = min(apart(sums, logits), apart(rectified, logits))
        if missing > 1:
            self.row.wrong(f"class maps do not add up to the logits: {missing:.3g} times the tolerance off")
        if not all(maps_agree(one.map, torch.from_numpy(of_all)) for one, of_all in zip(each, maps, strict=True)):
            self.row.wrong("class_maps and cam differ")
        if hirescam is not None and HeadKind(head).has_class_maps:
            self._compare_with_hirescam(each[hirescam.class_index].map, hirescam.map)
        return "yes"

    def _compare_with_hirescam(self, cam: Any, hirescam: Any) -> None:
        """Check that a class map that adds up to the logit is HiResCAM, confirmed by autograd, times the cells."""
        expected = torch.from_numpy(hirescam) * hirescam.size
        if not maps_agree(cam, expected) and not maps_agree(cam.clip(min=0), expected):
            self.row.wrong("cam is not HiResCAM times the number of cells")

    def _attention(self, model: camserve.Model, method: str) -> str:
        made = self._tried(method, lambda: model.explain(self.picture, size=self.side, method=method), DECLINES)
        if made is None:
            return "fails"
        if isinstance(made, CamserveError):
            return "refused"
        height, width = made.map.shape
        if abs(height - width) > 1 or not np.isfinite(made.map).all():
            self.row.wrong(f"{method} gives a map of {width} x {height}, or not finite")
        return f"{width} x {height}"

    def _sizes(self, model: camserve.Model) -> str:
        """Check pictures of other shapes at default settings, one at another size, and the first again."""
        side, seen = self.side, set[tuple[int, int]]()
        for shape in ((side * 3 // 2, side), (side, side * 4 // 3 + 1), (side // 2 + 1, side // 3 + 1)):
            made = self._explained(model, shape)
            if made is not None:
                seen.add(made.placement.frame.input)
        others = seen - {(side, side)}
        for shape in sorted(others):
            self._at(model, shape)
        if others and self.row.verdict == "right":
            self._layer_at(model, max(others))
        if others:
            smaller = self._explained(model, (2 * side, 2 * side), DECLINES, size=side * 3 // 4)
            self.row.note(first_line(smaller) if isinstance(smaller, CamserveError) else "")
        self._at(model, (side, side))
        return "any" if others else "own"

    def _at(self, model: camserve.Model, shape: tuple[int, int]) -> None:
        """Check the logits at an input of exactly that shape, (w, h), after other shapes."""
        made = self._explained(model, shape, size=min(shape))
        if made is not None and not self._logits_wrong:
            self._compare_logits(made, " at {} x {}, after other sizes".format(*shape))

    def _layer_at(self, model: camserve.Model, shape: tuple[int, int]) -> None:
        """Check the layer and its map at an input of exactly that shape, (w, h), if the module itself takes it."""
        made = self._explained(model, shape, size=min(shape), method="gradcam")
        if made is None or made.placement.frame.input != shape:
            return
        try:
            check = LayerCheck(self.row, self.network, made, {"gradcam": made}, " at {} x {}".format(*shape))
        except Exception as error:
            self.row.note(f"the module itself fails: {first_line(error)}")
            return
        check.run()

    def _engines(self, model: camserve.Model, own: camserve.Explanation) -> str:
        """Return which engines run the network: OpenVINO too, with the same results, or only torch, with a warning."""
        other = self._tried("openvino", lambda: loaded(self.network, self.side, "openvino"), DECLINES)
        if other is None or isinstance(other, CamserveError):
            self.row.note("" if other is None else f"OpenVINO: {first_line(other)}")
            return "torch"
        shapes = [(self.side, self.side), *([(self.side * 3 // 2, self.side)] if self.row.sizes == "any" else [])]
        for shape in shapes:
            made = self._explained(other, shape, size=self.side)
            base = own if shape == shapes[0] else self._explained(model, shape, size=self.side)
            if made is None or base is None or made.engine == "torch":
                return "torch"
            where = "at {} x {}".format(*shape)
            if apart(torch.from_numpy(made.logits), torch.from_numpy(base.logits)) > OF_PEAK / OF_SPREAD:
                self.row.wrong(f"OpenVINO's logits differ from torch's {where}")
            peak, expected = float(np.abs(base.map).max()), torch.from_numpy(base.map)
            if not maps_agree(made.map, expected) and not maps_agree(
                made.map, expected, rounding=self._layer.rounding() * peak
            ):
                self.row.wrong(f"OpenVINO's map differs from torch's {where}")
        return "torch, openvino"


def loaded(network: nn.Module, side: int, engine: str) -> camserve.Model:
    """Load a module as a user does, with inputs (pixel - 127.5) / 127.5."""
    return camserve.load(network, size=side, mean=[127.5] * 3, std=[127.5] * 3, settings=settings(engine))


def settings(engine: str) -> Settings:
    """Return settings with one worker and one thread; converted networks are not kept."""
    compute = {"engine": engine, "cache": "", "threads": 1, "workers": 1}
    return load_settings(overrides={"compute": compute})
