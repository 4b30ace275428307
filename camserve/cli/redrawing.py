"""`camserve explain --common-scale` draws all pictures of a run again, on one scale of colours."""

from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING

from camserve.errors import ImageError

if TYPE_CHECKING:
    from camserve.catalogue.options import OverlayOptions
    from camserve.explanation.explanation import Explanation
    from camserve.images.reading import Photo
    from camserve.model import Model


@dataclass(frozen=True)
class Comparison:
    """What drawing again needs: each explanation without its photograph, which is read again."""

    model: "Model"
    signed: bool
    kept: list[tuple[str, Path, "Explanation"]] = field(default_factory=list)

    def check(self, explanation: "Explanation") -> None:
        """Raise OptionError for a map that cannot share a scale. Call this before anything is written."""
        from camserve.explanation.common_scale import common_scale

        common_scale([explanation], signed=self.signed)

    def add(self, image: str, folder: Path, explanation: "Explanation") -> None:
        """Keep an explanation. folder: where its results were written."""
        import numpy as np

        forgotten = replace(explanation.photo, pixels=np.zeros((1, 1, 3), np.uint8))
        self.kept.append((image, folder, replace(explanation, photo=forgotten, account=None)))

    @property
    def end(self) -> float:
        """The value of the last colour."""
        from camserve.explanation.common_scale import common_scale

        return common_scale((one for _, _, one in self.kept), signed=self.signed)

    @property
    def in_logits(self) -> bool:
        """Whether `end` is in logits."""
        return self.kept[0][2].unit == "logits"

    def draw(self, look: "OverlayOptions") -> None:
        """Write each overlay.png again. Raises OutputError, ImageError."""
        from camserve.images.reading import encode
        from camserve.system.files import write_whole

        end = self.end
        for image, folder, explanation in self.kept:
            whole = replace(explanation, photo=_read_again(self.model, image, explanation))
            write_whole(folder / "overlay.png", encode(whole.drawn(replace(look, scale=end)), "png"))


def _read_again(model: "Model", image: str, explanation: "Explanation") -> "Photo":
    from camserve.explain.pipeline import open_photo

    photo = open_photo(model, image)
    if photo.sha256 != explanation.photo.sha256:
        raise ImageError(f"'{image}' changed while it was being explained; run the command again")
    return photo
