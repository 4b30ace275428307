"""How a picture becomes the input of a network, as a card or `camserve.load` states it."""

from contextlib import suppress
from typing import TYPE_CHECKING, Annotated, Any, Literal

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, field_validator, model_validator

from camserve.errors import shown

if TYPE_CHECKING:
    from camserve.geometry.frame import Frame
    from camserve.images.bands import Bands

# Most pixels of a side, as in JPEG; most samples of a pixel.
WIDEST, MOST_BANDS = 65_535, 4096
# Limits of mean and std. Within them, the input of any picture is a finite number of float32.
_LEAST_STD, _MOST = 1e-30, 1e30
Means = tuple[Annotated[float, Field(ge=-_MOST, le=_MOST, allow_inf_nan=False)], ...]
Deviations = tuple[Annotated[float, Field(ge=_LEAST_STD, le=_MOST, allow_inf_nan=False)], ...]
# A hundredth of a photograph's side is a few pixels.
Share = Annotated[float, Field(ge=0.01, le=1)]
Pixels = Annotated[int, Field(ge=1, le=WIDEST)]
Index = Annotated[int, Field(ge=0, lt=MOST_BANDS)]

IMAGENET_MEAN: Means = (123.675, 116.28, 103.53)
IMAGENET_STD: Deviations = (58.395, 57.12, 57.375)
# Mean and std of a grey model that states none: its input is then between -1 and 1. There is no usual pair.
GREY: Means = (127.5,)


class Part(BaseModel):
    """A part of a card: it has known fields only, and is frozen."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    @field_validator("*", mode="before")
    @classmethod
    def _no_truth(cls, value: object) -> object:
        """Refuse true and false, which pydantic would take for 1 and 0; only the arguments of forward may have them."""
        if isinstance(value, bool):
            raise ValueError("true and false are not allowed here")
        return value


def _side_or_sides(value: Any) -> int | tuple[int, int]:
    """A side in pixels, or (height, width); for a square, its side. Raises ValueError for anything else."""
    several = value if isinstance(value, list | tuple) else [value]
    sides = [_whole(side) for side in several]
    if len(sides) not in (1, 2) or not 1 <= min(sides) <= max(sides) <= WIDEST:
        given = several[0] if len(several) == 1 else value
        raise ValueError(
            f"{shown(given)} is not a size; a size is a side in pixels, as 224, or [height, width], as [256, 128], "
            f"of at most {WIDEST}"
        )
    return sides[0] if len(set(sides)) == 1 else (sides[0], sides[1])


def _whole(value: Any) -> int:
    """The value as a whole number, also from a string, a float or a numpy number; 0 for anything else."""
    try:
        whole = int(value)
        return whole if not isinstance(value, bool) and whole == float(value) else 0
    except Exception:  # objects of any class, numpy's masked values
        return 0


class Resize(Part):
    """Resizes the whole photograph, then cuts the input out of its middle without resampling, as other libraries do.

    short: pixels of the short side, proportions are kept; or sides: (height, width) for any proportions; without both
    the photograph keeps its size. multiple: both sides are rounded up to a multiple of it. within: then resized to
    fit into (height, width). cut: "middle" cuts out the middle, of `size`, and is black beyond the photograph;
    "none" takes the whole; "first" cuts a square of `crop` of the short side out of the middle, then resizes it to
    `size`. like: which library's arithmetic: "transformers" rounds down and resamples with torch; "paddle" rounds the
    long side; "torchvision", also for timm, rounds the corner of the middle to the nearest pixel, not down, and
    resamples with Pillow.
    """

    short: Pixels | None = None
    sides: Annotated[int | tuple[int, int], BeforeValidator(_side_or_sides)] | None = None
    multiple: Annotated[int, Field(ge=1, le=1024)] = 1
    within: Annotated[int | tuple[int, int], BeforeValidator(_side_or_sides)] | None = None
    cut: Literal["middle", "none", "first"] = "middle"
    like: Literal["transformers", "paddle", "torchvision"] = "transformers"

    def frame(self, original: tuple[int, int], input: tuple[int, int], share: float) -> "Frame":
        """The frame of a photograph (W, H). Its input has `input` (w, h) pixels, except for cut = "none"."""
        from camserve.geometry import evaluation

        if self.cut == "first":
            return evaluation.cut_first(original, input, share)
        made = [original if self.sides is None else _width_height(self.sides)]
        if self.sides is None and self.short is not None:
            nearest = self.like == "paddle"
            made = [evaluation.in_proportion(original, self.short, nearest=nearest, multiple=self.multiple)]
        if self.within is not None:
            made = list(dict.fromkeys((*made, evaluation.within(made[-1], _width_height(self.within)))))
        if self.cut == "none":
            return evaluation.whole(original, tuple(made))
        return evaluation.middle_of(original, tuple(made), input, to_even=self.like == "torchvision")

    def enlarged(self, factor: float) -> "Resize":
        """The same resize for an input that is `factor` times as large."""
        short = self.short and max(1, int(self.short * factor))
        sides = None if self.sides is None else tuple(max(1, int(n * factor)) for n in _width_height(self.sides)[::-1])
        return Resize(**{**self.model_dump(), "short": short, "sides": sides})


def _width_height(sides: int | tuple[int, int]) -> tuple[int, int]:
    return (sides, sides) if isinstance(sides, int) else (sides[1], sides[0])


class Input(Part):
    """How a photograph becomes the network's input.

    size: side of the evaluation crop, or its (height, width), pixels. crop: share of the photograph that the crop
    covers, of the longest sides with the crop's proportions. fit: short side for size="fit", default the shorter side
    of `size`: a larger one sharpens the map but dilutes the scores, see docs/geometry.md.
    channels: "RGB", "BGR", "L" for grey, or "bands" for the samples in `bands`: samples of the picture, counted from 0,
    in the network's order. shown: the samples that are drawn, one as grey or three as red, green and blue; default: the
    first three bands, or the first one if there are fewer than three.
    mean, std: per channel in that order, in units of 0..255, for bands in the units of the file; one number is for all.
    input = (value - mean) / std. resample: how pixels are interpolated. resampler: which library interpolates them:
    "fast" uses torch for whole photographs, where one value in 200 differs by 1 from Pillow's; "pillow"
    needs no torch, and model files always use it. resize: how the photograph is resized before
    the evaluation crop, which then does not use `crop`; without it, the crop's box is resampled in one step.
    """

    size: Annotated[int | tuple[int, int], BeforeValidator(_side_or_sides)] = 224
    crop: Share = 0.875
    fit: Pixels | None = None
    channels: Literal["RGB", "BGR", "L", "bands"] = "RGB"
    bands: Annotated[tuple[Index, ...], Field(min_length=1, max_length=MOST_BANDS)] | None = None
    shown: tuple[Index, ...] | None = None
    mean: Means = IMAGENET_MEAN
    std: Deviations = IMAGENET_STD
    resample: Literal["bilinear", "bicubic", "lanczos"] = "bicubic"
    resampler: Literal["fast", "pillow"] = "fast"
    resize: Resize | None = None

    @property
    def sides(self) -> tuple[int, int]:
        """(w, h) of the evaluation crop, pixels."""
        return _width_height(self.size)

    def evaluation(self, original: tuple[int, int]) -> "Frame":
        """The model's own evaluation of a photograph (W, H)."""
        if self.resize is not None:
            return self.resize.frame(original, self.sides, self.crop)
        from camserve.geometry.frame import crop

        return crop(original, self.sides, share=self.crop)

    @property
    def fit_side(self) -> int:
        """Short side for size="fit", pixels."""
        return self.fit or min(self.sides)

    @property
    def count(self) -> int:
        """The number of channels of the network's input."""
        return len(self.bands) if self.bands else 1 if self.channels == "L" else 3

    @property
    def of_bands(self) -> "Bands | None":
        """The samples of a picture that the network gets and those that are drawn, if the picture has bands."""
        if self.bands is None:
            return None
        from camserve.images.bands import Bands  # reading a card needs no Pillow

        return Bands(self.bands, self.shown or (self.bands[:3] if len(self.bands) > 2 else self.bands[:1]))

    @property
    def samples(self) -> int:
        """The number of samples a pixel must have at least."""
        return 3 if self.of_bands is None else 1 + max(*self.of_bands.given, *self.of_bands.shown)

    @property
    def is_guessed(self) -> bool:
        """Whether nobody stated mean and std of a grey network, for which there are no usual values."""
        return self.channels == "L" and not {"mean", "std"} & self.model_fields_set

    @property
    def about_channels(self) -> str:
        """A sentence that says what the network gets; "" for ordinary colours."""
        if self.bands is not None:
            return f"The network gets the bands {', '.join(map(str, self.bands))} of a picture."
        if self.channels != "L":
            return ""
        guess = f", mean and std {GREY[0]:g}: a guess, as nobody stated them (mean=, std=)" if self.is_guessed else ""
        return f"The network gets grey pictures{guess}."

    @model_validator(mode="before")
    @classmethod
    def _completed(cls, stated: Any) -> Any:
        """`stated`, completed: bands set the channels, and a single number is repeated for each channel."""
        if not isinstance(stated, dict):
            return stated
        made = dict(stated)
        if made.get("bands") is not None:
            made.setdefault("channels", "bands")
            with suppress(TypeError):  # not a list: the field's own check reports it
                made["bands"] = made["bands"] if isinstance(made["bands"], str) else tuple(made["bands"])
            count = len(made["bands"]) if isinstance(made["bands"], tuple) else 1
        else:
            channels = made.get("channels")
            count = 1 if isinstance(channels, str) and channels == "L" else 3
        for name in ("mean", "std"):
            value: Any = made.get(name)
            if isinstance(value, int | float) or _is_one(value):
                made[name] = (value if isinstance(value, int | float) else value[0],) * count
        return made

    @model_validator(mode="after")
    def _with_guesses(self) -> "Input":
        if self.is_guessed:
            self.__dict__.update(mean=GREY, std=GREY)  # not in model_fields_set, as nobody stated them
        return self

    @model_validator(mode="after")
    def _of_its_channels(self) -> "Input":
        if (self.channels == "bands") != (self.bands is not None):
            raise ValueError(
                'channels = "bands" and bands belong together: bands = [3, 2, 1, 7] lists the samples of the picture, '
                "counted from 0, that the network gets"
            )
        if self.bands is None and self.shown is not None:
            raise ValueError("shown says which bands of a picture are drawn; it belongs to bands")
        if self.bands is not None and self.resize is not None:
            raise ValueError("resize works with ordinary colours only; a picture of bands is cut by crop alone")
        if self.shown is not None and len(self.shown) not in (1, 3):
            raise ValueError(f"shown lists one band, or three for red, green and blue, not {len(self.shown)}")
        if self.bands is not None and not {"mean", "std"} <= self.model_fields_set:
            raise ValueError(
                "a network of bands has no usual mean and std: give both, one number for each band or one for all, in "
                "the units of the file; mean 0 and std 1 leave the values as they are"
            )
        for name, values in (("mean", self.mean), ("std", self.std)):
            if len(values) != self.count:
                raise ValueError(f"{name} has {len(values)} numbers, but there are {self.count} channels")
        return self

    @model_validator(mode="after")
    def _in_units_of_255(self) -> "Input":
        if self.bands is None and max(self.mean) <= 1 and max(self.std) < 1:
            raise ValueError(
                f"mean {self.mean} and std {self.std} look like units of 0..1; camserve's are 0..255: "
                "multiply both by 255"
            )
        return self


def _is_one(value: Any) -> bool:
    return isinstance(value, list | tuple) and len(value) == 1
