"""The KServe V1 dialect: images in base64 in, predictions and explanations out."""

from collections.abc import Callable
from typing import TYPE_CHECKING, Any, NotRequired, TypeVar

from flask import Blueprint, Response, jsonify, request
from pydantic import AliasChoices, BaseModel, ConfigDict, Field, model_validator
from typing_extensions import TypedDict

from camserve.catalogue.methods import AUTO
from camserve.images.reading import Source
from camserve.system.json_values import finite
from camserve.web.bodies import check_images, decode_base64, emptied, read_body
from camserve.web.json_pieces import Large, json_pieces, json_response
from camserve.web.operations import Names, Ready, gives
from camserve.web.request_options import Options, make_options
from camserve.web.request_record import record
from camserve.web.responses import output
from camserve.web.service import VERSION, service
from camserve.web.upload import Upload, options_with
from camserve.web.work.pricing import demand_of

if TYPE_CHECKING:
    from camserve.explanation.explanation import Explanation

Made = TypeVar("Made")

kserve = Blueprint("kserve", __name__, url_prefix="/v1/models")

# What an explanation carries where the caller does not say.
DEFAULT_OUTPUTS = ("overlay", "heatmap")


class Encoded(BaseModel):
    """Bytes in standard base64."""

    model_config = ConfigDict(extra="forbid")

    b64: str


class Instance(BaseModel):
    """One image, under whichever name a client knows."""

    model_config = ConfigDict(extra="forbid")

    image_bytes: Encoded | None = None
    image: Encoded | None = None
    b64: str | None = None
    data: str | None = None

    @model_validator(mode="after")
    def _one(self) -> "Instance":
        if len(self.model_fields_set) != 1 or self.text is None:
            raise ValueError('give one of {"image_bytes": {"b64": ".."}}, {"image": {"b64": ".."}}, {"b64": ".."}')
        return self

    @property
    def text(self) -> str | None:
        """The base64."""
        held = self.image_bytes or self.image
        return held.b64 if held else self.b64 or self.data


class V1Request(BaseModel):
    """What :predict and :explain take. parameters: options, the same for all instances."""

    model_config = ConfigDict(extra="forbid")

    instances: list[Instance] = Field(min_length=1, validation_alias=AliasChoices("instances", "inputs"))
    parameters: Options = Options()


class Top(TypedDict):
    """A class with its score, 0..1, and its logit; null: not finite."""

    class_index: int
    class_name: str
    score: float | None
    logit: float | None


class Prediction(TypedDict):
    """What the model said of one image: the best class, and the top_k best."""

    class_index: int
    class_name: str
    score: float | None
    top_k: list[Top]


class Explained(TypedDict):
    """Why, of one image. attributions: of the target, with the outputs asked for in base64. image: width and height.

    trust: how far the map can be trusted, where that was asked.
    """

    method: str
    layer: str
    attributions: list[dict[str, Any]]
    image: dict[str, int]
    warnings: list[str]
    trust: NotRequired[dict[str, Any]]


class Predictions(TypedDict):
    """What :predict answers."""

    predictions: list[Prediction]
    model_name: str
    model_version: str


class Explanations(Predictions):
    """What :explain answers, in the order of the instances."""

    explanations: list[Explained]


@kserve.get("")
@gives(Names)
def models() -> Response:
    """The names of all models."""
    return jsonify(models=list(service().shelf.cards()))


@kserve.get("/<card:name>")
@gives(Ready)
def model(name: str) -> Response:
    """Whether requests for one model are answered: loaded, or to be loaded by the first of them."""
    service().check_model(name)
    return jsonify(name=name, ready=True)


@kserve.post("/<card:name>:predict")
@gives(Predictions, body=V1Request, image=True)
def predict(name: str) -> Response:
    """The classes of each image. Of the options only size, output, labels and top_k matter."""
    return predicted(*read(name))


def predicted(images: list[Source], options: Options) -> Response:
    """The predictions of the images."""
    return jsonify(predictions=predictions_of(images, options), **about(options.model))


def predictions_of(images: list[Source], options: Options) -> list[Prediction]:
    """What the model says of each image."""
    record().facts["predict"] = True
    only_classes = make_options(
        {
            "model": options.model,
            "method": AUTO,
            "size": options.question().size,
            "output": options.output,
            "labels": options.labels,
            "sharp": False,
        }
    )
    return explain_all(images, only_classes, lambda one: prediction(one, options))


@kserve.post("/<card:name>:explain")
@gives(Explanations, body=V1Request, image=True)
def explain(name: str) -> Response:
    """The classes of each image, and why."""
    return explained(*read(name))


def explained(images: list[Source], options: Options) -> Response:
    """Predictions and explanations of the images."""

    def told(one: "Explanation") -> tuple[Prediction, Large]:
        return prediction(one, options), Large(json_pieces(explanation(one, options)))

    found = explain_all(images, options, told, heatmap="heatmap" in (options.outputs or DEFAULT_OUTPUTS))
    predictions, explanations = zip(*found, strict=True)
    return json_response({"predictions": predictions, "explanations": explanations, **about(options.model)})


def read(name: str) -> tuple[list[Source], Options]:
    """The images of a request and its options, from JSON, an image or a form. Raises OptionError and more."""
    images, options = given(read_body(request, V1Request))
    return images, options.for_model(name)


def given(body: Upload | V1Request) -> tuple[list[Source], Options]:
    """The images of a body that was read, which holds them no longer, and its options. Raises OptionError, TooMuch."""
    if isinstance(body, Upload):
        return [body.image], options_with(request, body)
    check_images(len(body.instances))
    texts = enumerate(str(one.text) for one in emptied(body.instances))
    return [decode_base64(text, f"instances.{i}") for i, text in texts], body.parameters


def explain_all(
    images: list[Source], options: Options, then: Callable[["Explanation"], Made], *, heatmap: bool = False
) -> list[Made]:
    """What `then` makes of the explanation of each image, at one turn; one photograph is held at a time.

    images: is emptied. heatmap: whether `then` makes one.
    """
    ours, now = service(), record()

    def work(until: float) -> list[Made]:
        left = range(len(images), 0, -1)
        return [
            then(ours.explain(image, options, now, until, several))
            for several, image in zip(left, emptied(images), strict=True)
        ]

    return ours.answered(now, demand_of(images, options, heatmap=heatmap), work)


def prediction(made: "Explanation", options: Options) -> Prediction:
    """What the model said, whatever was explained."""
    top: list[Top] = [finite(vars(answer)) for answer in made.top(options.top_k)]
    best = top[0]
    return {
        "class_index": best["class_index"],
        "class_name": best["class_name"],
        "score": best["score"],
        "top_k": top,
    }


def explanation(made: "Explanation", options: Options) -> Explained:
    """Why, with the pictures that the options ask for."""
    width, height = made.photo.size
    outputs = options.outputs or DEFAULT_OUTPUTS
    attribution = {
        "output_index": [made.class_index],
        "output_display_name": made.target.name,
        "instance_output_value": finite(made.value if made.score is None else made.score),
        **{name: output(name, made, options, record().timing) for name in outputs},
    }
    told: Explained = {
        "method": made.method,
        "layer": made.layer,
        "attributions": [attribution],
        "image": {"width": width, "height": height},
        "warnings": list(made.warnings),
    }
    return told if made.trust is None else {**told, "trust": finite(made.trust.to_dict())}


def about(name: str | None) -> dict[str, str | None]:
    """What every answer says about the model."""
    return {"model_name": name, "model_version": VERSION}
