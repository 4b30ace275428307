"""One row of the zoo: what camserve makes of one network, held against the network itself.

Of camserve only what its users have is called: load, explain, class_maps. What is expected is computed by zoo_oracle
on a copy of the network that camserve has never seen.
"""

import copy
import io
import logging
import os
import tempfile
import time
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from PIL import Image
from torch import Tensor, nn
from zoo_graph import Value, logits_in
from zoo_layout import layouts
from zoo_members import Member
from zoo_oracle import Oracle, in_words
from zoo_weights import trained_like

import camserve
from camserve.config import Settings, load_settings
from camserve.errors import CamserveError

# Logits may differ by this share of what lies between the largest and the smallest, and of the largest.
OF_SPREAD, OF_LARGEST = 1e-4, 1e-5
# Maps by this share of their peak, and of the largest sum of sizes that they are the sum of.
OF_PEAK, OF_TERMS = 1e-3, 1e-5
# Words in a warning that tell of a layer that not everything goes through.
PARTLY = ("beside", "bypass", "goes around", "go around", "another branch", "other branch", "other path")
# Words in a warning that tell of logits that are not the module's own at this size.
OTHERWISE = ("own size", "differ", "convolution", "sliding")


@dataclass
class Row:
    """verdict: "right", "refused" or "WRONG", with `words`; "not made" where its own library cannot make it here."""

    library: str
    name: str
    verdict: str = "right"
    words: str = ""
    parameters: int = 0
    size: int = 0
    layer: str = ""
    head: str = ""
    exact: str = ""
    sizes: str = ""
    engines: str = ""
    legrad: str = ""
    rollout: str = ""
    notes: list[str] = field(default_factory=list)
    seconds: float = 0.0

    def wrong(self, what: str) -> None:
        """Something is not as it should be."""
        self.words = f"{self.words}; {what}" if self.verdict == "WRONG" else what
        self.verdict = "WRONG"

    def note(self, what: str) -> None:
        """Something that a reader may want to know."""
        if what and what not in self.notes:
            self.notes.append(what)


def checked(member: Member) -> dict[str, Any]:
    """The row of one network."""
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
    """All that is checked of one network. row: where it is written down."""

    def __init__(self, row: Row, network: nn.Module, side: int) -> None:
        self.row, self.network, self.side = row, network, side
        self.picture = picture(side, side)
        self._logits_wrong = False

    def run(self) -> None:
        """Everything, in order."""
        model = self._tried("load", lambda: loaded(self.network, self.side, "torch"))
        own = None if model is None else self._tried("explain", lambda: model.explain(self.picture, size=self.side))
        if model is None or own is None:
            return
        self.row.layer, self.row.head = own.layer, own.head
        self._compare_logits(own, "")
        self._check_layer(model, own)
        self.row.exact = self._exactness(model)
        self.row.legrad = self._attention(model, "legrad", own)
        self.row.rollout = self._attention(model, "attentionrollout", own)
        self.row.sizes = self._sizes(model)
        self.row.engines = self._engines(model, own)

    def _tried(self, what: str, work: Callable[[], Any], *, refusal: bool = True) -> Any:
        """What `work` gives; None where camserve refuses, and then the row does, or where it fails.

        refusal: False, where a refusal of this is no refusal of the network: the CamserveError is given.
        """
        try:
            with heard(self.row, what):
                return work()
        except CamserveError as error:
            if not refusal:
                return error
            if self.row.verdict == "right":
                self.row.verdict, self.row.words = "refused", str(error)
        except Exception as error:
            self.row.wrong(f"{what} raises {type(error).__name__}: {first_line(error)}")
        return None

    def _compare_logits(self, explanation: camserve.Explanation, where: str) -> None:
        """With the module's own at the input that the explanation says it used, where pixels were not resampled."""
        frame = explanation.placement.frame
        if frame.input != frame.original or not frame.sees_all:
            if not where:
                self.row.wrong(f"a picture of the network's own size is resampled to {frame.input}")
            return
        with torch.no_grad():
            try:
                theirs = logits_in(copy.deepcopy(self.network)(pixels_of(picture(*frame.input))))[0]
            except Exception as error:
                self.row.note(f"the module itself fails{where}: {first_line(error)}")
                return
        missing = apart(torch.from_numpy(explanation.logits), theirs)
        said = where and any(word in warning for warning in explanation.warnings for word in OTHERWISE)
        if missing > 1 and not said:
            self._logits_wrong = not where
            self.row.wrong(f"logits{where} are {missing:.3g} times the tolerance off")

    def _check_layer(self, model: camserve.Model, own: camserve.Explanation) -> None:
        """The layer against the oracle's, and the maps there."""
        ours = {}
        for method in ("gradcam", "hirescam"):
            made = self._tried(
                method, lambda m=method: model.explain(self.picture, size=self.side, method=m), refusal=False
            )
            if isinstance(made, CamserveError):
                self.row.note(f"{method} refused: {first_line(made)}")
            elif made is not None:
                ours[method] = made
        network = copy.deepcopy(self.network).requires_grad_(False)
        oracle = Oracle(network, pixels_of(self.picture), own.layer)
        _Layer(self.row, oracle, own, ours).run()

    def _exactness(self, model: camserve.Model) -> str:
        """Whether class maps add up to all logits; "" where none are offered."""
        maps = self._tried("class_maps", lambda: model.class_maps(self.picture, size=self.side), refusal=False)
        if maps is None or isinstance(maps, CamserveError):
            return "" if maps is not None else "fails"
        classes = list(range(len(maps)))
        how = {"size": self.side, "method": "cam"}
        each = self._tried("cam", lambda: model.explain_classes(self.picture, classes, **how))
        if each is None:
            return "fails"
        logits = torch.from_numpy(each[0].logits)
        sums = torch.tensor([float(one.map.mean()) + one.bias for one in each])
        rectified = torch.tensor([float(one.map.clip(min=0).mean()) + one.bias for one in each])
        missing = min(apart(sums, logits), apart(rectified, logits))
        if missing > 1:
            self.row.wrong(f"class maps do not add up to the logits: {missing:.3g} times the tolerance off")
        if any(
            np.abs(one.map - of_all).max() > OF_PEAK * np.abs(of_all).max()
            for one, of_all in zip(each, maps, strict=True)
        ):
            self.row.wrong("class_maps and cam differ")
        return "yes"

    def _attention(self, model: camserve.Model, method: str, own: camserve.Explanation) -> str:
        made = self._tried(method, lambda: model.explain(self.picture, size=self.side, method=method), refusal=False)
        if made is None:
            return "fails"
        if isinstance(made, CamserveError):
            return "refused"
        if made.map.ndim != 2 or not np.isfinite(made.map).all():
            self.row.wrong(f"{method} gives a map of shape {made.map.shape}, or not finite")
        return "{1} x {0}".format(*made.map.shape)

    def _sizes(self, model: camserve.Model) -> str:
        """Pictures of other shapes at default settings, one at another size, and the first again."""
        side, seen = self.side, set[tuple[int, int]]()
        for shape in ((side * 3 // 2, side), (side, side * 4 // 3 + 1), (side // 2 + 1, side // 3 + 1)):
            made = self._explained(model, shape)
            if made is not None:
                seen.add(made.placement.frame.input)
        others = seen - {(side, side)}
        for shape in sorted(others):
            self._at(model, shape)
        if others:
            smaller = self._explained(model, (2 * side, 2 * side), size=side * 3 // 4, refusal=False)
            self.row.note(first_line(smaller) if isinstance(smaller, CamserveError) else "")
        self._at(model, (side, side))
        return "any" if others else "own"

    def _explained(self, model: camserve.Model, shape: tuple[int, int], *, refusal: bool = True, **how: Any) -> Any:
        """The explanation of a picture of that shape, (w, h); see `_tried`."""
        what = "a picture of {} x {}".format(*shape)
        return self._tried(what, lambda: model.explain(picture(*shape), **how), refusal=refusal)

    def _at(self, model: camserve.Model, shape: tuple[int, int]) -> None:
        """The logits at an input of exactly that shape, (w, h), after others have been seen."""
        made = self._explained(model, shape, size=min(shape))
        if made is not None and not self._logits_wrong:
            self._compare_logits(made, " at {} x {}, after other sizes".format(*shape))

    def _engines(self, model: camserve.Model, own: camserve.Explanation) -> str:
        """Which others run it: openvino, and as torch does; or torch alone, said in words."""
        other = self._tried("openvino", lambda: loaded(self.network, self.side, "openvino"), refusal=False)
        if other is None or isinstance(other, CamserveError):
            self.row.note("" if other is None else f"OpenVINO: {first_line(other)}")
            return "torch"
        shapes = [(self.side, self.side), *([(self.side * 3 // 2, self.side)] if self.row.sizes == "any" else [])]
        for shape in shapes:
            made = self._explained(other, shape, size=self.side)
            base = own if shape == shapes[0] else self._explained(model, shape, size=self.side)
            if made is None or base is None or made.engine == "torch":
                return "torch"
            if apart(torch.from_numpy(made.logits), torch.from_numpy(base.logits)) > OF_PEAK / OF_SPREAD:
                self.row.wrong("OpenVINO's logits differ from torch's at {} x {}".format(*shape))
            if made.map.shape != base.map.shape or np.abs(made.map - base.map).max() > OF_PEAK * np.abs(base.map).max():
                self.row.wrong("OpenVINO's map differs from torch's at {} x {}".format(*shape))
        return "torch, openvino"


class _Layer:
    """The layer of one explanation against the oracle. ours: explanations by method."""

    def __init__(self, row: Row, oracle: Oracle, own: camserve.Explanation, ours: dict[str, Any]) -> None:
        self.row, self.oracle, self.own, self.ours = row, oracle, own, ours
        self.target = own.class_index

    def run(self) -> None:
        """Finds the tensor that the maps are of, and judges it."""
        place = self._by_name() or self._by_map()
        if place is None:
            what = "its maps are those of no tensor of the network" if self.ours else "no map to find it by"
            if self.ours:
                self.row.wrong(f"layer '{self.own.layer}': {what}")
            else:
                self.row.note(f"layer '{self.own.layer}': {what}")
            return
        wrong, last = self.oracle.judge(*place)
        said = any(word in warning for warning in self.own.warnings for word in PARTLY)
        if wrong and not said:
            self.row.wrong(f"layer '{self.own.layer}': {wrong}; the last right one is {last}")

    def _by_name(self) -> tuple[Value, Any] | None:
        """The module of that name, where Grad-CAM and HiResCAM by autograd at what it gives are camserve's."""
        value = self.oracle.named
        if value is None or not self.oracle.recording.matters(value):
            return None
        fitting = list(layouts(tuple(value.tensor.shape), self.oracle.aspect, self.own.map.shape))
        for layout in fitting:
            if self._agree(*self.oracle.maps(value, layout, self.target)):
                return value, layout
        return None

    def _by_map(self) -> tuple[Value, Any] | None:
        """The last tensor whose maps are camserve's, for names that are no module's."""
        if not self.ours:
            return None
        for value, layout, *maps in self.oracle.candidates(self.own.map.shape, self.target):
            if self._agree(*maps):
                if self.oracle.named is not None:
                    self.row.wrong(f"maps are those of {in_words(value)}, not of layer '{self.own.layer}'")
                self.row.note(f"found by its map: {in_words(value)}")
                return value, layout
        return None

    def _agree(self, gradcam: Tensor, hirescam: Tensor, size: float) -> bool:
        """Whether they are camserve's, where it gave some."""
        theirs = {"gradcam": gradcam, "hirescam": hirescam}
        for method, made in self.ours.items():
            if made.map.shape != tuple(theirs[method].shape):
                return False
            missing = float((torch.from_numpy(made.map) - theirs[method]).abs().max())
            if not missing <= OF_PEAK * float(theirs[method].abs().max()) + OF_TERMS * size:
                return False
        return True


def loaded(network: nn.Module, side: int, engine: str) -> camserve.Model:
    """As a user loads a module whose inputs are (pixel - 127.5) / 127.5."""
    return camserve.load(network, size=side, mean=[127.5] * 3, std=[127.5] * 3, settings=settings(engine))


def settings(engine: str) -> Settings:
    """One worker with one thread; converted networks are kept for this process only."""
    cache = tempfile.gettempdir() + f"/camserve-zoo-{os.getpid()}"
    compute = {"engine": engine, "cache": cache, "threads": 1, "workers": 1}
    return load_settings(overrides={"compute": compute})


@contextmanager
def heard(row: Row, what: str) -> Iterator[None]:
    """While inside, whatever is written to standard error is wrong, and warnings and log lines are noted."""
    lines = logging.StreamHandler(io.StringIO())
    logging.getLogger("camserve").addHandler(lines)
    kept = os.dup(2)
    with tempfile.TemporaryFile() as file, warnings.catch_warnings(record=True) as warned:
        warnings.simplefilter("always")
        os.dup2(file.fileno(), 2)
        try:
            yield
        finally:
            os.dup2(kept, 2)
            os.close(kept)
            logging.getLogger("camserve").removeHandler(lines)
            file.seek(0)
            written = file.read().decode(errors="replace").strip()
            if written:
                row.wrong(f"{what} writes to standard error: {written.splitlines()[-1][:200]}")
            for line in {*lines.stream.getvalue().splitlines(), *(first_line(one.message) for one in warned)}:
                row.note(f"{what} says: {line[:200]}")


def picture(width: int, height: int) -> npt.NDArray[np.uint8]:
    """A picture with large and small shapes, (H, W, 3), the same at every call."""
    rng = np.random.default_rng(1000 * width + height)
    total = np.zeros((height, width, 3))
    for cells, strength in ((4, 70), (11, 45), (40, 25)):
        small = Image.fromarray(rng.integers(0, 256, (cells, cells, 3), dtype=np.uint8))
        total += strength / 128 * (np.asarray(small.resize((width, height), Image.Resampling.BICUBIC), float) - 128)
    return (128 + total + rng.normal(0, 6, total.shape)).clip(0, 255).astype(np.uint8)


def pixels_of(image: npt.NDArray[np.uint8]) -> Tensor:
    """What the network is given of it: float32 (1, 3, H, W), (pixel - 127.5) / 127.5."""
    return ((torch.from_numpy(image).permute(2, 0, 1).float() - 127.5) / 127.5)[None].contiguous()


def batch_of(side: int) -> Tensor:
    """Three such inputs, for statistics."""
    whole = [pixels_of(np.roll(picture(side, side), side * turn // 3, (0, 1))) for turn in range(3)]
    return torch.cat([whole[0], whole[1].flip(1), -whole[2]])


def apart(one: Tensor, other: Tensor) -> float:
    """How far two rows of logits differ, in tolerances; infinite where one is not finite."""
    allowed = OF_SPREAD * float(other.max() - other.min()) + OF_LARGEST * float(other.abs().max())
    missing = float((one.float() - other.float()).abs().max()) if one.shape == other.shape else float("inf")
    return missing / allowed if np.isfinite(missing) and allowed > 0 else float("inf")


def first_line(error: object) -> str:
    """Of what an error says, the first line, at most 300 characters."""
    lines = str(error).strip().splitlines() or [type(error).__name__]
    return lines[0][:300]
