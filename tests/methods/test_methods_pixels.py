"""Methods that follow gradients to the pixels or through attention: exact numbers, loops, and what they need."""

import threading
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from conftest import evidence_around, picture
from torch import Tensor, nn
from torch.nn import functional as F
from torchvision.models.vision_transformer import EncoderBlock, VisionTransformer

import camserve
from camserve.catalogue.targets import class_target
from camserve.errors import OptionError
from camserve.graph.heads import Head
from camserve.graph.trace import Untraceable, trace
from camserve.methods import METHODS
from camserve.methods.apply import apply
from camserve.methods.evidence import Evidence, Whole
from camserve.methods.pixel_gradients import STEPS
from camserve.methods.watching.biases import Biased, bias_of

PIXELS = ["integratedgradients", "guidedbackprop", "guidedgradcam", "fullgrad"]
ATTENTION = ["attentionrollout", "legrad"]
EXACT = {*PIXELS, *ATTENTION}


def evidence_of_pixels(network: nn.Module, images: Tensor, maps: Tensor | None = None) -> Evidence:
    """Evidence of a network by itself; `maps`, (1, 1, h, w) as large as the input, stand for the layer and its head."""

    def refuse(*_: object) -> Tensor:
        raise AssertionError("not to be asked")

    whole = Whole(
        images=images, logits=refuse, network=traced(network.eval().requires_grad_(False)), spread=lambda m: m,
        stages=list, observe=refuse,  # type: ignore[arg-type]
    )  # fmt: skip
    head = Head(nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Flatten()))
    return Evidence(torch.zeros(1, 1, 1, 1) if maps is None else maps, head, class_target(0), whole=whole)


def traced(network: nn.Module) -> nn.Module:
    """The graph where there is one, else the network itself."""
    try:
        return trace(network)
    except Untraceable:
        return network


def red(*values: float) -> Tensor:
    """An image of one row with these values in red, none in the other colours."""
    image = torch.zeros(1, 3, 1, len(values))
    image[0, 0, 0] = torch.tensor(values)
    return image


class Square(nn.Module):
    """logit = (the sum of all pixels) squared."""

    def forward(self, images: Tensor) -> Tensor:
        return images.sum((1, 2, 3))[:, None] ** 2


@pytest.mark.exact("integratedgradients")
def test_integrated_gradients_share_out_a_square() -> None:
    """Along the way the gradient is 2 s 3, on average 3, so pixels 1 and 2 get 3 and 6: together 3 squared."""
    found = apply(METHODS["integratedgradients"], evidence_of_pixels(Square(), red(1, 2)))
    torch.testing.assert_close(found, torch.tensor([[[3.0, 6.0]]]))


def lit(weight: list[list[float]], bias: list[float]) -> nn.Sequential:
    """A 1 x 1 convolution of (red, green, blue), a ReLU, and the mean over places of the sum of its channels."""
    net = nn.Sequential(nn.Conv2d(3, len(weight), 1), nn.ReLU(inplace=True), nn.AdaptiveAvgPool2d(1), nn.Flatten())
    net.append(nn.Linear(len(weight), 1, bias=False))
    with torch.no_grad():
        net[0].weight.copy_(torch.tensor(weight)[:, :, None, None])
        net[0].bias.copy_(torch.tensor(bias))
        net[4].weight.fill_(1)
    return net


@pytest.mark.exact("guidedbackprop")
def test_guided_backpropagation_drops_what_speaks_against() -> None:
    """logit = mean(ReLU(r)) - mean(ReLU(r + g)): gradients 1/2 and -1/2 at the ReLUs; only the first goes on."""
    net = lit([[1.0, 0, 0], [1, 1, 0]], [0.0, 0])
    with torch.no_grad():
        net[4].weight.copy_(torch.tensor([[1.0, -1]]))
    evidence = evidence_of_pixels(net, red(3, -1))
    assert apply(METHODS["guidedbackprop"], evidence).tolist() == [[[0.5, 0]]]
    assert evidence.image_gradients().sum(1).tolist() == [[[-0.5, 0]]]  # 1/2 - (1/2 + 1/2), and no ReLU fires at -1


@pytest.mark.exact("guidedgradcam")
def test_guided_gradcam_is_both_multiplied() -> None:
    """Grad-CAM of the layer [-2, 4]: mean gradient 1/2, ReLU([-1, 2]); guided backpropagation 1/2 where red fires."""
    net = lit([[1.0, 0, 0]], [0.0])
    evidence = evidence_of_pixels(net, red(1, 1), torch.tensor([[[[-2.0, 4.0]]]]))
    assert apply(METHODS["guidedgradcam"], evidence).tolist() == [[[0, 1]]]


@pytest.mark.exact("fullgrad")
def test_fullgrad_shares_a_logit_between_pixels_and_biases() -> None:
    """logit = mean ReLU(r + 1/2) at 1 and -2: 3/4, of which the pixel 1/2 and the bias 1/4, all in the first place."""
    evidence = evidence_of_pixels(lit([[1.0, 0, 0]], [0.5]), red(1, -2))
    assert apply(METHODS["fullgrad"], evidence).tolist() == [[[0.75, 0]]]


@pytest.mark.oracle("fullgrad")
def test_fullgrad_in_loops() -> None:
    """Two layers of pixels that know nothing of each other: forwards, then the chain rule backwards, pixel by pixel."""
    draw = torch.Generator().manual_seed(1)
    w, b, v, c, u = (torch.randn(size, generator=draw).tolist() for size in ((3, 3), (3,), (2, 3), (2,), (2,)))
    net = nn.Sequential(
        nn.Conv2d(3, 3, 1), nn.ReLU(), nn.Conv2d(3, 2, 1), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten(),
        nn.Linear(2, 1, bias=False),
    )  # fmt: skip
    with torch.no_grad():
        for parameter, values in zip(net.parameters(), (w, b, v, c, [u]), strict=True):
            parameter.copy_(torch.tensor(values).view_as(parameter))
    given = torch.randn(1, 3, 4, 5, generator=draw)
    expected = torch.zeros(1, 4, 5)
    for y, x in ((y, x) for y in range(4) for x in range(5)):
        pixel = given[0, :, y, x].tolist()
        first = [b[i] + sum(w[i][j] * pixel[j] for j in range(3)) for i in range(3)]
        second = [c[i] + sum(v[i][j] * max(first[j], 0) for j in range(3)) for i in range(2)]
        by_second = [u[i] / 20 * (second[i] > 0) for i in range(2)]
        by_first = [sum(by_second[i] * v[i][j] for i in range(2)) * (first[j] > 0) for j in range(3)]
        by_pixel = [sum(by_first[i] * w[i][j] for i in range(3)) for j in range(3)]
        pairs = [*zip(by_pixel, pixel, strict=True), *zip(by_first, b, strict=True), *zip(by_second, c, strict=True)]
        expected[0, y, x] = sum(abs(gradient * value) for gradient, value in pairs)
    torch.testing.assert_close(apply(METHODS["fullgrad"], evidence_of_pixels(net, given)), expected)


def test_fullgrad_takes_convolutions_without_a_bias() -> None:
    net = lit([[1.0, 0, 0]], [0.5])
    plain = nn.Sequential(nn.Conv2d(3, 3, 1, bias=False), *net)
    with torch.no_grad():
        plain[0].weight.copy_(torch.eye(3)[:, :, None, None])
    expected = apply(METHODS["fullgrad"], evidence_of_pixels(net, red(1, -2)))
    assert torch.equal(apply(METHODS["fullgrad"], evidence_of_pixels(plain, red(1, -2))), expected)


def test_fullgrad_explains_the_embedded_model(model: camserve.Model, cat: Path) -> None:
    assert model.explain(cat, method="fullgrad").map.max() > 0


class Rectified(nn.Module):
    """ReLUs in every form the graph can hold, in place too, batch norm, a residual path, biases."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(4)
        self.first, self.norm = nn.Conv2d(3, 6, 3, stride=2, padding=1), nn.BatchNorm2d(6)
        self.second, self.third = nn.Conv2d(6, 6, 3, padding=1), nn.Conv2d(6, 8, 3, stride=2, padding=1)
        self.relu, self.fc = nn.ReLU(inplace=True), nn.Linear(8, 4)
        for values in (self.norm.running_mean, self.norm.running_var, self.norm.weight, self.norm.bias):
            nn.init.uniform_(values, 0.2, 1.5)  # type: ignore[arg-type]

    def forward(self, images: Tensor) -> Tensor:
        hidden = self.relu(self.norm(self.first(images)))
        hidden = F.relu(self.second(hidden)) + hidden
        return self.fc(torch.relu(self.third(hidden)).mean((2, 3)))


@pytest.fixture(scope="module")
def rectified() -> camserve.Model:
    return camserve.load(Rectified(), size=32)


def images(count: int = 2) -> Tensor:
    return torch.randn(count, 3, 32, 32, generator=torch.Generator().manual_seed(5))


def test_integrated_gradients_add_up_to_the_score_above_the_baseline(rectified: camserve.Model) -> None:
    evidence = evidence_around(rectified, images(), 1)
    with torch.no_grad():
        scores, baseline = (rectified.network.whole(x)[:, 1] for x in (images(), torch.zeros(1, 3, 32, 32)))
    torch.testing.assert_close(
        apply(METHODS["integratedgradients"], evidence).sum((1, 2)), scores - baseline, rtol=0.02, atol=1e-3
    )


@pytest.mark.oracle("integratedgradients")
def test_integrated_gradients_in_loops(rectified: camserve.Model) -> None:
    evidence = evidence_around(rectified, images(), 1)
    expected = torch.zeros(2, 32, 32)
    points, weights = np.polynomial.legendre.leggauss(STEPS)
    for point, weight in zip(((points + 1) / 2).tolist(), (weights / 2).tolist(), strict=True):
        between = (images() * point).requires_grad_()
        (gradients,) = torch.autograd.grad(rectified.network.whole(between)[:, 1].sum(), between)
        expected += (images() * gradients * weight).sum(1)
    torch.testing.assert_close(apply(METHODS["integratedgradients"], evidence), expected, rtol=1e-4, atol=1e-6)


def test_integrated_gradients_tell_how_far_they_are(rectified: camserve.Model) -> None:
    told: list[tuple[int, int]] = []
    evidence = evidence_around(rectified, images(1), 1)
    whole = replace(evidence.around, progress=lambda done, total: told.append((done, total)))
    apply(METHODS["integratedgradients"], replace(evidence, whole=whole))
    assert told[-1] == (STEPS, STEPS)
    assert told == sorted(told)


def test_signed_terms_of_fullgrad_add_up_to_the_logit(rectified: camserve.Model) -> None:
    """T = sum g_x x + sum over all biases g_b b, exactly, for ReLU networks: what the unsigned map is made of."""
    module, given = rectified.network.whole, images(1).requires_grad_()
    with Biased() as biased:
        score = module(given)[0, 1]
    kept = biased.kept
    gradients = torch.autograd.grad(score, [given, *(value for value, _ in kept)])
    terms = [(gradients[0] * given).sum()]
    terms += [(g * bias[:, None, None]).sum() for g, (_, bias) in zip(gradients[1:], kept, strict=True)]
    (linear,) = (part for part in module.modules() if isinstance(part, nn.Linear))
    assert len(kept) == 4
    torch.testing.assert_close(torch.stack(terms).sum() + linear.bias[1], score)
    unsigned = (gradients[0] * given).abs().sum() + sum(
        (g * bias[:, None, None]).abs().sum() for g, (_, bias) in zip(gradients[1:], kept, strict=True)
    )
    ours = apply(METHODS["fullgrad"], evidence_around(rectified, images(1), 1)).sum()
    torch.testing.assert_close(ours, unsigned, rtol=0.1, atol=0)  # but for cells that reach over the edge


@pytest.mark.parametrize("layer", [None, "first"])
def test_fullgrad_looks_at_the_whole_network_whatever_the_layer(rectified: camserve.Model, layer: str | None) -> None:
    everywhere = apply(METHODS["fullgrad"], evidence_around(rectified, images(), 1))
    there = apply(METHODS["fullgrad"], evidence_around(rectified, images(), 1, layer))
    torch.testing.assert_close(there, everywhere, rtol=0.5, atol=0.1 * float(everywhere.max()))


def test_a_batch_norm_s_bias_is_what_it_adds_to_nothing() -> None:
    def seen(layer: nn.Module) -> list[Tensor]:
        with Biased() as biased:
            layer(torch.randn(1, 6, 2, 2).requires_grad_())
        return [bias for _, bias in biased.kept]

    for norm in (Rectified().norm.eval(), nn.BatchNorm2d(6, affine=False).eval()):
        torch.testing.assert_close(seen(norm), [norm(torch.zeros(1, 6, 1, 1)).flatten()])
    assert seen(nn.BatchNorm2d(6, track_running_stats=False)) == []
    assert seen(nn.Conv2d(6, 1, 1, bias=False)) == []
    assert bias_of(torch.relu, (torch.zeros(1),), {}) is None


@pytest.mark.oracle("guidedbackprop")
def test_guided_backpropagation_by_hand(rectified: camserve.Model) -> None:
    """The chain rule written out for this network, each ReLU letting positive gradients pass where it fired."""
    net: Any = rectified.module
    given = images(1)
    with torch.no_grad():
        normed = net.norm(net.first(given))
        fired = normed.clamp(min=0)
        second = net.second(fired)
        third = net.third(second.clamp(min=0) + fired)

        def back(layer: nn.Conv2d, gradient: Tensor, size: int) -> Tensor:
            assert not isinstance(layer.padding, str)
            return F.conv_transpose2d(gradient, layer.weight, None, layer.stride, layer.padding, size)

        top = (net.fc.weight[1] / 64)[None, :, None, None].expand_as(third)
        into_sum = back(net.third, top.clamp(min=0) * (third > 0), 1)
        into_fired = into_sum + back(net.second, into_sum.clamp(min=0) * (second > 0), 0)
        into_norm = into_fired.clamp(min=0) * (normed > 0)
        scale = net.norm.weight / (net.norm.running_var + net.norm.eps).sqrt()
        expected = back(net.first, into_norm * scale[:, None, None], 1).sum(1)
    ours = apply(METHODS["guidedbackprop"], evidence_around(rectified, given, 1))
    torch.testing.assert_close(ours, expected, rtol=1e-4, atol=1e-7)


@pytest.mark.oracle("guidedgradcam")
def test_guided_gradcam_lays_gradcam_over_the_input(rectified: camserve.Model) -> None:
    evidence = evidence_around(rectified, images(), 1)
    placed = evidence.around.spread(apply(METHODS["gradcam"], evidence).clamp(min=0))
    torch.testing.assert_close(
        apply(METHODS["guidedgradcam"], evidence), apply(METHODS["guidedbackprop"], evidence) * placed
    )


class Branching(Rectified):
    """The same, with control flow that depends on the data."""

    def forward(self, images: Tensor) -> Tensor:
        return super().forward(images) if float(images.detach().abs().sum()) >= 0 else images


@pytest.mark.parametrize("name", PIXELS)
def test_a_network_that_cannot_be_traced_gives_the_same_map(rectified: camserve.Model, name: str) -> None:
    net = Branching()
    net.load_state_dict(rectified.module.state_dict())
    maps = torch.ones(2, 1, 32, 32)
    ours = apply(METHODS[name], evidence_of_pixels(net, images(), maps))
    torch.testing.assert_close(ours, apply(METHODS[name], evidence_of_pixels(rectified.module, images(), maps)))
    assert ours.any()


@pytest.mark.parametrize("name", ["guidedbackprop", "guidedgradcam", "fullgrad"])
def test_a_network_that_cannot_be_traced_is_explained_through_the_front_door(name: str) -> None:
    explanation = camserve.load(Branching(), size=32).explain(picture(), method=name)
    assert explanation.map.shape == (32, 41)
    assert explanation.map.any()


def test_guided_backpropagation_needs_relus() -> None:
    net = nn.Sequential(nn.Conv2d(3, 4, 3, stride=2), nn.SiLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(4, 3))
    with pytest.raises(OptionError, match="needs ReLUs, and this network has none; try 'integratedgradients'"):
        apply(METHODS["guidedbackprop"], evidence_around(camserve.load(net, size=32), images(), 1))


def test_guided_methods_carry_their_warning(rectified: camserve.Model) -> None:
    for name in ("guidedbackprop", "guidedgradcam"):
        assert "fails the sanity checks of Adebayo et al. (2018)" in METHODS[name].check
        assert rectified.explain(picture(), method=name).warnings[0] == METHODS[name].check


# ---- attention


def transformer(depth: int = 3) -> VisionTransformer:
    """A vision transformer of 32 x 32 pixels, 8 x 8 patches, whose every weight matters."""
    torch.manual_seed(6)
    net = VisionTransformer(32, 8, depth, 2, 16, 32, num_classes=5)
    with torch.no_grad():
        for parameter in net.parameters():
            parameter.add_(0.2 * torch.randn_like(parameter))
    return net.eval().requires_grad_(False)


@pytest.fixture(scope="module")
def attentive() -> camserve.Model:
    return camserve.load(transformer(), size=32)


@pytest.mark.exact("attentionrollout")
def test_rollout_of_even_attention() -> None:
    """17 tokens, R = I / 2 + J / 34, J all ones: R R has J's share (1/34 + 17 / 34^2) = 3 / 68 for each patch."""
    net = transformer(2)
    with torch.no_grad():
        for layer in net.encoder.layers:
            layer.self_attention.in_proj_weight.zero_()
            layer.self_attention.in_proj_bias.zero_()
    found = apply(METHODS["attentionrollout"], evidence_around(camserve.load(net, size=32), images(1), 1))
    torch.testing.assert_close(found, torch.full((1, 4, 4), 3 / 68))


def attention_by_hand(block: EncoderBlock, tokens: Tensor) -> tuple[Tensor, Tensor]:
    """Attention (N, 2 heads, 17, 17) and values (N, 2, 17, 8) of one block, from its weights."""
    own = block.self_attention
    joined = F.linear(block.ln_1(tokens), own.in_proj_weight, own.in_proj_bias)
    query, key, value = (part.reshape(-1, 17, 2, 8).transpose(1, 2) for part in joined.split(16, 2))
    return (query @ key.mT / 8**0.5).softmax(-1), value


def after(block: EncoderBlock, tokens: Tensor, attention: Tensor, value: Tensor) -> Tensor:
    mixed = block.self_attention.out_proj((attention @ value).transpose(1, 2).flatten(2)) + tokens
    return mixed + block.mlp(block.ln_2(mixed))


def tokens_of(net: VisionTransformer, given: Tensor) -> Tensor:
    patches = net.conv_proj(given).flatten(2).mT
    return torch.cat([net.class_token.expand(len(given), -1, -1), patches], 1) + net.encoder.pos_embedding


@pytest.mark.oracle("attentionrollout", "legrad")
def test_rollout_and_legrad_by_hand(attentive: camserve.Model) -> None:
    net: Any = attentive.module
    evidence = evidence_around(attentive, images(), 1)
    tokens, rolled, relevance = tokens_of(net, images()), torch.eye(17), torch.zeros(2, 17)
    for block in net.encoder.layers:
        attention, value = attention_by_hand(block, tokens)
        rolled = (0.5 * attention.mean(1) + 0.5 * torch.eye(17)) @ rolled
        leaf = attention.detach().requires_grad_()
        tokens = after(block, tokens.detach(), leaf, value.detach())
        logit = net.heads(net.encoder.ln(tokens)[:, 0])[:, 1]
        (gradient,) = torch.autograd.grad(logit.sum(), leaf)
        assert not gradient[:, :, 1:].any()  # only the class token is read out
        relevance += gradient.clamp(min=0).sum((1, 2)) / (3 * 2 * 17)
    torch.testing.assert_close(apply(METHODS["attentionrollout"], evidence), rolled[:, 0, 1:].reshape(2, 4, 4))
    torch.testing.assert_close(
        apply(METHODS["legrad"], evidence), relevance[:, 1:].reshape(2, 4, 4), rtol=1e-4, atol=1e-7
    )


def test_shapleycam_differentiates_attention_twice(attentive: camserve.Model) -> None:
    """Fused attention has no second derivative; the same network written out has."""
    net: Any = attentive.module
    evidence = evidence_around(attentive, images(1), 1, "conv_proj")

    def score(patches: Tensor) -> Tensor:
        tokens = torch.cat([net.class_token, patches.flatten(2).mT], 1) + net.encoder.pos_embedding
        for block in net.encoder.layers:
            tokens = after(block, tokens, *attention_by_hand(block, tokens))
        logits = net.heads(net.encoder.ln(tokens)[:, 0])[0]
        return logits[1] + torch.log_softmax(logits, 0)[1]

    patches = evidence.activations
    gradient = torch.autograd.functional.jacobian(score, patches)
    _, curved = torch.autograd.functional.hvp(score, patches, patches)
    expected = ((gradient - curved / 2).mean((2, 3), keepdim=True) * patches).sum(1)
    torch.testing.assert_close(apply(METHODS["shapleycam"], evidence), expected, rtol=1e-3, atol=1e-5)


class Pooled(nn.Module):
    """A transformer without a class token, on scaled_dot_product_attention: one block, patches averaged."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(8)
        self.patches, self.blocks, self.fc = (
            nn.Conv2d(3, 8, 8, stride=8),
            nn.ModuleList([Joined(), Joined()]),
            nn.Linear(8, 3),
        )

    def forward(self, given: Tensor) -> Tensor:
        tokens = self.patches(given).flatten(2).transpose(1, 2)
        for block in self.blocks:
            tokens = block(tokens)
        return self.fc(tokens.mean(1))


class Joined(nn.Module):
    """Attention of one head, and the residual path."""

    def __init__(self) -> None:
        super().__init__()
        self.query, self.value = nn.Linear(8, 8), nn.Linear(8, 8)

    def forward(self, tokens: Tensor) -> Tensor:
        query = self.query(tokens).unsqueeze(1)
        return tokens + F.scaled_dot_product_attention(
            query, tokens.unsqueeze(1), self.value(tokens).unsqueeze(1)
        ).squeeze(1)


def test_without_a_class_token_every_patch_is_read_out() -> None:
    net = Pooled().eval().requires_grad_(False)
    evidence = evidence_around(camserve.load(net, size=32), images(), 1, "patches")
    tokens, rolled, relevance = net.patches(images()).flatten(2).mT, torch.eye(16), torch.zeros(2, 16)
    for block in net.blocks:
        attention = (block.query(tokens) @ tokens.mT / 8**0.5).softmax(-1)
        rolled = (attention + torch.eye(16)) / 2 @ rolled
        leaf = attention.requires_grad_()
        joined = tokens + leaf @ block.value(tokens)
        (gradient,) = torch.autograd.grad(net.fc(joined.mean(1))[:, 1].sum(), leaf)
        relevance += gradient.clamp(min=0).mean(1) / 2
        tokens = joined.detach()
    rolled_to_patches = rolled.detach().mean(1).reshape(2, 4, 4)
    torch.testing.assert_close(apply(METHODS["attentionrollout"], evidence), rolled_to_patches)
    torch.testing.assert_close(apply(METHODS["legrad"], evidence), relevance.reshape(2, 4, 4), rtol=1e-4, atol=1e-7)


@pytest.mark.exact("legrad")
def test_legrad_of_even_attention() -> None:
    """Patch j holds t_j = j - 8, attention is 1/16 everywhere, so dT/da_ij = v_j / 16.

    Values are t_j in the first block, which adds the mean of t, -1/2; t_j - 1/2 in the second.
    """
    net = Pooled().eval().requires_grad_(False)
    for parameter in net.parameters():
        parameter.zero_()
    net.patches.weight[0, 0] = 1 / 64
    for block in net.blocks:
        block.value.weight[0, 0] = 1
    net.fc.weight[1, 0] = 1
    held = torch.arange(16.0).reshape(4, 4) - 8
    image = torch.zeros(1, 3, 32, 32)
    image[0, 0] = held.repeat_interleave(8, 0).repeat_interleave(8, 1)
    found = apply(METHODS["legrad"], evidence_around(camserve.load(net, size=32), image, 1, "patches"))
    expected = (held.clamp(min=0) / 16 + (held - 0.5).clamp(min=0) / 16) / 2
    torch.testing.assert_close(found, expected[None])
    assert found[0, 3, 3].item() == pytest.approx(13.5 / 32)


@pytest.mark.parametrize("name", ATTENTION)
def test_attention_methods_say_what_they_need(rectified: camserve.Model, name: str) -> None:
    with pytest.raises(OptionError, match="no attention layers, which this method needs; try 'gradcam'"):
        apply(METHODS[name], evidence_around(rectified, images(), 1))
    with pytest.raises(OptionError, match="no attention layers, which this method needs; try 'gradcam'"):
        apply(METHODS[name], evidence_around(camserve.load(Branching(), size=32), images(), 1))


@pytest.mark.parametrize("name", ATTENTION)
def test_attention_methods_need_a_layer_of_the_patches(attentive: camserve.Model, name: str) -> None:
    evidence = evidence_around(attentive, images(), 1)
    elsewhere = replace(evidence, activations=torch.zeros(2, 1, 2, 8))
    with pytest.raises(OptionError, match="attention joins 17 tokens and the layer has 8 x 2 cells"):
        apply(METHODS[name], elsewhere)


def test_attention_works_through_the_front_door(attentive: camserve.Model) -> None:
    explanation = attentive.explain(picture(), method="legrad")
    assert explanation.map.shape == (4, 4)
    assert explanation.heatmap.shape == (70, 90)


# ---- all of them


def seen(name: str, rectified: camserve.Model, attentive: camserve.Model, given: Tensor) -> Tensor:
    return apply(METHODS[name], evidence_around(attentive if name in ATTENTION else rectified, given, 1))


@pytest.mark.parametrize("name", sorted(EXACT))
def test_each_image_of_a_batch_stands_alone_and_twice_is_the_same(
    name: str, rectified: camserve.Model, attentive: camserve.Model
) -> None:
    given = images()
    both = seen(name, rectified, attentive, given)
    assert torch.equal(given, images())
    assert not given.requires_grad
    assert torch.equal(both, seen(name, rectified, attentive, images()))
    for image in range(2):
        alone = seen(name, rectified, attentive, images()[image : image + 1])[0]
        torch.testing.assert_close(both[image], alone, rtol=1e-3, atol=1e-6)


@pytest.mark.parametrize("name", sorted(EXACT))
def test_two_threads_get_the_serial_bits_and_leave_the_network_as_it_was(
    name: str, rectified: camserve.Model, attentive: camserve.Model
) -> None:
    serial, wrong = seen(name, rectified, attentive, images()), list[int]()

    def work() -> None:
        for _ in range(3):
            if not torch.equal(seen(name, rectified, attentive, images()), serial):
                wrong.append(1)

    threads = [threading.Thread(target=work) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not wrong
    for model in (rectified, attentive):
        for part in model.network.whole.modules():
            assert not part._forward_hooks
            assert not part._backward_hooks
            assert not part.training
        assert all(not weight.requires_grad and weight.grad is None for weight in model.network.whole.parameters())


@pytest.mark.parametrize("name", PIXELS)
def test_a_blank_image_is_no_nan(name: str, rectified: camserve.Model) -> None:
    assert apply(METHODS[name], evidence_around(rectified, torch.zeros(1, 3, 32, 32), 1)).isfinite().all()
