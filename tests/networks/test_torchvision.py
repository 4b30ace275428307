"""All 80 classifiers of torchvision, untrained: the layer as the table says, and maps equal to plain autograd.

Those that take long are left out unless asked for: `python -m pytest tests/networks/test_torchvision.py --large`.
"""

import re
from collections.abc import Iterator

import numpy as np
import pytest
import torch
import torchvision
from conftest import picture
from torch import nn
from torch.nn import functional as F

import camserve
from camserve.images.reading import read_photo
from camserve.models.inputs.preprocessing import to_input

LAYERS = {
    r"alexnet|vgg\d+(_bn)?": "features",
    r"convnext_\w+": "features",
    r"densenet\d+": "relu",  # the last ReLU stands outside `features`
    r"efficientnet_\w+": "features",
    r"googlenet": "inception5b",
    r"inception_v3": "Mixed_7c",
    r"maxvit_t": "blocks.3",
    r"mnasnet\w+": "layers",
    r"mobilenet_v[23]\w*": "features",
    r"regnet_\w+": "trunk_output",
    r"(wide_)?res(net|next)\w+": "layer4",
    r"shufflenet_\w+": "conv5",
    r"squeezenet\w+": "classifier.1",  # the class map itself, before its ReLU
    r"swin_\w+": "norm",
    r"vit_b_\d+": "encoder.layers.encoder_layer_11.ln_1",  # behind the last attention only the class token counts
    r"vit_l_\d+": "encoder.layers.encoder_layer_23.ln_1",
    r"vit_h_14": "encoder.layers.encoder_layer_31.ln_1",
}
HEADS = {
    r"alexnet|vgg\w+|vit_\w+": "general",
    r"convnext_\w+|maxvit_t|mobilenet_v3\w+": "pooled",
    r"squeezenet\w+": "class map",
}
# More parameters or more arithmetic than a test should take.
LARGE = re.compile(
    r"convnext_(base|large|small)|efficientnet_(b[4-7]|v2_[lm])|regnet_[xy]_(8|16|32|128)gf|resnet(101|152)|resnext101\w+"
    r"|swin(_v2)?_[bs]|vgg(13|16|19)(_bn)?|vit_(l|h)\w+|wide_\w+|densenet(161|201)|vit_b_32|maxvit_t"
)
NATIVE = re.compile(r"alexnet|vgg\w+|vit_\w+|maxvit_t")  # checked at 224, the only size the uncut model defines
NAMES = torchvision.models.list_models(module=torchvision.models)


def entry(table: dict[str, str], name: str) -> str | None:
    return next((value for pattern, value in table.items() if re.fullmatch(pattern, name)), None)


def made(name: str) -> nn.Module:
    torch.manual_seed(0)
    options = {"init_weights": False} if name in ("googlenet", "inception_v3") else {}
    model = torchvision.models.get_model(name, weights=None, **options).eval().requires_grad_(False)
    for head in (getattr(model, "heads", None), getattr(model, "head", None)):
        for part in head.modules() if isinstance(head, nn.Module) else ():
            if isinstance(part, nn.Linear) and not part.weight.any():
                nn.init.normal_(part.weight, std=0.02)  # zero until trained, which would explain nothing
    return model


def plain_gradcam(model: nn.Module, name: str, layer: str, images: torch.Tensor, index: int) -> torch.Tensor:
    """Grad-CAM of the whole model by a hook and autograd, and nothing of camserve's."""
    kept: list[torch.Tensor] = []

    def keep(module: nn.Module, inputs: object, output: torch.Tensor) -> torch.Tensor:
        kept.append(output.detach().clone().requires_grad_())
        return kept[-1].clone()

    with torch.enable_grad():
        if name.startswith("densenet"):
            kept.append(F.relu(model.features(images)).requires_grad_())
            logits = model.classifier(kept[0].mean((2, 3)))
        else:
            handle = model.get_submodule(layer).register_forward_hook(keep)
            logits = model(images)
            handle.remove()
        (gradient,) = torch.autograd.grad(logits[0, index], kept[-1])
    activations = kept[-1].detach()
    if name.startswith("vit"):
        side = round((activations.shape[1] - 1) ** 0.5)
        activations, gradient = (t[:, 1:].transpose(1, 2).unflatten(2, (side, side)) for t in (activations, gradient))
    if name.startswith("swin"):  # channels last
        activations, gradient = (t.permute(0, 3, 1, 2) for t in (activations, gradient))
    return (gradient.mean((2, 3), keepdim=True) * activations).sum(1)[0]


@pytest.fixture(autouse=True)
def one_thread() -> Iterator[None]:
    """The uncut model runs in this thread, and several intra-op threads crawl on a busy machine."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


def test_the_table_names_every_classifier_once() -> None:
    assert len(NAMES) == 80
    for name in NAMES:
        assert sum(re.fullmatch(pattern, name) is not None for pattern in LAYERS) == 1, name


@pytest.mark.parametrize("name", NAMES)
def test_layer_head_and_map(name: str, request: pytest.FixtureRequest) -> None:
    if LARGE.fullmatch(name) and not request.config.getoption("--large"):
        pytest.skip("takes long; --large runs it")
    network = made(name)
    before = {key: tensor.clone() for key, tensor in network.state_dict().items()}
    native = NATIVE.fullmatch(name) is not None
    model = camserve.load(network, size=224 if native or name == "inception_v3" else 96)
    photo = read_photo(picture(5, (149, 107)), max_pixels=10**6, max_side=10**4, max_bytes=10**6)
    size = "fit" if not model.network.takes_any_size else ("crop" if native else 97)

    explanation = model.explain(photo, method="gradcam", size=size, target=3)

    assert explanation.layer == model.default_layer == entry(LAYERS, name)
    assert explanation.head == (entry(HEADS, name) or "linear")
    assert np.isfinite(explanation.map).all()
    assert np.ptp(explanation.map) > 0
    images = to_input(photo, model.frame(photo.size, size), model.card.input)
    expected = plain_gradcam(network, name, explanation.layer, images, 3)
    scale = float(expected.abs().max())
    np.testing.assert_allclose(explanation.map / scale, (expected / scale).numpy(), atol=1e-4)
    assert all(torch.equal(tensor, before[key]) for key, tensor in network.state_dict().items())
    assert not any(part._forward_hooks for part in network.modules())
