"""The KServe V1 dialect: takes images in base64, and returns predictions and explanations."""

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

# The outputs of an explanation if the request names none.
DEFAULT_OUTPUTS = ("overlay", "heatmap")


class Encoded(BaseModel):
    """Bytes in standard base64."""

    model_config = ConfigDict(extra="forbid")

    b64: str


class Instance(BaseModel):
    """One image, under one of several names that clients use."""

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
    """The body of :predict and :explain. parameters: options for all instances."""

    model_config = ConfigDict(extra="forbid")

    instances: list[Instance] = Field(min_length=1, validation_alias=AliasChoices("instances", "inputs"))
    parameters: Options = Options()


class Top(TypedDict):
    """A class with its score, 0..1, and its logit; null if not finite."""

    class_index: int
    class_name: str
    score: float | None
    logit: float | None


class Prediction(TypedDict):
    """The prediction for one image: the best class, and the top_k best classes."""

    class_index: int
    class_name: str
    score: float | None
    top_k: list[Top]


class Explained(TypedDict):
    """The explanation of one image. attributions: the target, with outputs in base64. image: width and height.

    trust: how far the map can be trusted, if requested.
    """

    method: str
    layer: str
    attributions: list[dict[str, Any]]
    image: dict[str, int]
    warnings: list[str]
    trust: NotRequired[dict[str, Any]]


class Predictions(TypedDict):
    """The answer of :predict."""

    predictions: list[Prediction]
    model_name: str
    model_version: str


class Explanations(Predictions):
    """The answer of :explain, in the order of the instances."""

    explanations: list[Explained]


@kserve.get("")
@gives(Names)
def models() -> Response:
    """The names of all models."""
    return jsonify(models=list(service().shelf.cards()))


@kserve.get("/<card:name>")
@gives(Ready)
def model(name: str) -> Response:
    """Whether a model is ready: it is loaded, or the first request loads it."""
    service().check_model(name)
    return jsonify(name=name, ready=True)


@kserve.post("/<card:name>:predict")
@gives(Predictions, body=V1Request, image=True)
def predict(name: str) -> Response:
    """Predict the classes of each image. Only the options size, output, labels and top_k have an effect."""
    return predicted(*read(name))


def predicted(images: list[Source], options: Options) -> Response:
    """The response with the predictions of the images."""
    return jsonify(predictions=predictions_of(images, options), **about(options.model))


def predictions_of(images: list[Source], options: Options) -> list[Prediction]:
    """The predictions of the images."""
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
    """Predict the classes of each image, and explain them."""
    return explained(*read(name))


def explained(images: list[Source], options: Options) -> Response:
    """The response with predictions and explanations of the images."""

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
    """Remove the images from a body, and return them and the options. Raises OptionError, TooMuch."""
    if isinstance(body, Upload):
        return [body.image], options_with(request, body)
    check_images(len(body.instances))
    texts = enumerate(str(one.text) for one in emptied(body.instances))
    return [decode_base64(text, f"instances.{i}") for i, text in texts], body.parameters


def explain_all(
    images: list[Source], options: Options, then: Callable[["Explanation"], Made], *, heatmap: bool = False
) -> list[Made]:
    """Explain each image, and return the values of `then`. Only one photograph is in memory at a time.

    images: this list is emptied. heatmap: whether `then` makes a heatmap.
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
    """The prediction for one image, whatever the explained target."""
    top: list[Top] = [finite(vars(answer)) for answer in made.top(options.top_k)]
    best = top[0]
    return {
        "class_index": best["class_index"],
        "class_name": best["class_name"],
        "score": best["score"],
        "top_k": top,
    }


def explanation(made: "Explanation", options: Options) -> Explained:
    """The explanation of one image, with the requested outputs."""
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
    """The facts about the model in every answer."""
    return {"model_name": name, "model_version": VERSION}
