"""LeGrad and rollout see attention however a network is written, or say in words what they cannot follow."""

import threading
from collections.abc import Callable
from typing import Any

import pytest
import torch
from test_methods_pixels import evidence_of_pixels
from torch import Tensor, nn
from torch.nn import functional as F

from camserve.errors import OptionError
from camserve.methods import METHODS
from camserve.methods.apply import apply
from camserve.methods.watching.attention_weights import Attending
from camserve.methods.watching.fused_attention import scaled_dot_product

BOTH = ["attentionrollout", "legrad"]
Attend = Callable[[Tensor, Tensor, Tensor], Tensor]  # queries, keys, values (N, heads, tokens, channels)


def written_out(q: Tensor, k: Tensor, v: Tensor) -> Tensor:
    return (q @ k.transpose(-2, -1) / 2).softmax(dim=-1) @ v


def by_columns(q: Tensor, k: Tensor, v: Tensor) -> Tensor:
    """Keys times queries, the softmax along the keys, which come first."""
    return (v.mT @ torch.softmax(k @ q.mT / 2, -2)).mT


def by_einsum(q: Tensor, k: Tensor, v: Tensor) -> Tensor:
    weights = F.softmax(torch.einsum("bhic,bhjc->bhij", q, k) / 2, dim=-1, dtype=torch.float32).to(q.dtype)
    return torch.einsum("bhij,bhjc->bhic", F.dropout(weights, 0.1, training=False), v)


def by_bmm(q: Tensor, k: Tensor, v: Tensor) -> Tensor:
    flat = [part.flatten(0, 1) for part in (q, k, v)]
    weights = nn.Softmax(dim=2)(torch.bmm(flat[0], flat[1].transpose(1, 2)) / 2)
    return torch.bmm(weights, flat[2]).reshape(q.shape)


def in_place(q: Tensor, k: Tensor, v: Tensor) -> Tensor:
    weights = (q @ k.mT / 2).softmax(-1)
    return weights.mul_(1.0) @ v


FORMS: dict[str, Attend] = {
    "fused": F.scaled_dot_product_attention,
    "written out": written_out,
    "by columns": by_columns,
    "einsum": by_einsum,
    "bmm": by_bmm,
}


class Block(nn.Module):
    """Two heads of four channels, then a layer of its own, each with a residual path."""

    def __init__(self, attend: Attend) -> None:
        super().__init__()
        self.attend, self.qkv, self.out, self.mlp = attend, nn.Linear(8, 24), nn.Linear(8, 8), nn.Linear(8, 8)

    def forward(self, tokens: Tensor) -> Tensor:
        parts = self.qkv(tokens).reshape(-1, tokens.shape[1], 3, 2, 4).permute(2, 0, 3, 1, 4)
        mixed = self.attend(parts[0], parts[1], parts[2]).transpose(1, 2).flatten(2)
        tokens = tokens + self.out(mixed)
        return tokens + F.gelu(self.mlp(tokens))


class Small(nn.Module):
    """A class token and 16 patches, three blocks. branch: with control flow that torch.fx cannot trace."""

    def __init__(self, attend: Attend = written_out, *, branch: bool = False) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.patches, self.branch = nn.Conv2d(3, 8, 8, stride=8), branch
        self.first = nn.Parameter(torch.randn(1, 1, 8))
        self.blocks = nn.ModuleList([Block(attend) for _ in range(3)])
        self.norm, self.fc = nn.LayerNorm(8), nn.Linear(8, 3)
        self.query = nn.Parameter(torch.randn(1, 1, 8))
        for parameter in self.parameters():
            parameter.data.add_(0.4 * torch.randn(parameter.shape))
        self.eval().requires_grad_(False)

    def tokens(self, images: Tensor) -> Tensor:
        if self.branch and not bool(images.isfinite().all()):
            raise ValueError
        patches = self.patches(images).flatten(2).transpose(1, 2)
        return torch.cat([self.first.expand(patches.shape[0], -1, -1), patches], 1)

    def read(self, tokens: Tensor) -> Tensor:
        return self.fc(self.norm(tokens)[:, 0])

    def forward(self, images: Tensor) -> Tensor:
        tokens = self.tokens(images)
        for block in self.blocks:
            tokens = block(tokens)
        return self.read(tokens)


def pictures(count: int = 2) -> Tensor:
    return torch.randn(count, 3, 32, 32, generator=torch.Generator().manual_seed(1))


def seen(name: str, net: nn.Module, cells: int = 4, images: Tensor | None = None) -> Tensor:
    given = pictures() if images is None else images
    return apply(METHODS[name], evidence_of_pixels(net, given, torch.zeros(len(given), 1, cells, cells)))


@pytest.mark.parametrize("branch", [False, True])
@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("name", BOTH)
def test_attention_is_seen_however_it_is_written(name: str, form: str, branch: bool) -> None:
    expected = seen(name, Small())
    torch.testing.assert_close(seen(name, Small(FORMS[form], branch=branch)), expected, rtol=1e-4, atol=1e-7)
    assert expected.amax() > 1.1 * expected.amin()


class Encoder(Small):
    """The blocks are torch's own layers; `layers` says what they hang in."""

    def __init__(self, *, branch: bool, whole: bool, batch_first: bool) -> None:
        super().__init__(branch=branch)
        torch.manual_seed(2)
        layer = nn.TransformerEncoderLayer(8, 2, 16, dropout=0.1, batch_first=batch_first, norm_first=True)
        encoder = nn.TransformerEncoder(layer, 3, enable_nested_tensor=False)
        for parameter in encoder.parameters():
            parameter.data.add_(0.3 * torch.randn(parameter.shape))
        self.blocks, self.batch_first = encoder if whole else encoder.layers, batch_first  # type: ignore[assignment]
        self.whole = whole
        self.eval().requires_grad_(False)

    def forward(self, images: Tensor) -> Tensor:
        tokens = self.tokens(images)
        tokens = tokens if self.batch_first else tokens.transpose(0, 1)
        for block in [self.blocks] if self.whole else self.blocks:
            tokens = block(tokens)
        return self.read(tokens if self.batch_first else tokens.transpose(0, 1))


@pytest.mark.parametrize("name", BOTH)
def test_torch_s_own_encoder_is_seen_whole_and_by_layers(name: str) -> None:
    """Its fast path, which has no weights to see, is not taken while they are watched."""
    maps = [
        seen(name, Encoder(branch=branch, whole=whole, batch_first=batch_first))
        for branch in (False, True)
        for whole in (False, True)
        for batch_first in (True, False)
    ]
    assert maps[0].any()
    for one in maps[1:]:
        torch.testing.assert_close(one, maps[0], rtol=1e-4, atol=1e-7)


# ---- what comes after the blocks


class Pooling(Small):
    """A query that is no token attends to all of them, with one head; or nobody uses what it finds."""

    def __init__(self, *, used: bool = True, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.used = used

    def read(self, tokens: Tensor) -> Tensor:
        normed = self.norm(tokens)
        pooled = F.scaled_dot_product_attention(self.query.expand(tokens.shape[0], -1, -1), normed, normed)
        return self.fc(pooled[:, 0] if self.used else normed[:, 0] + 0 * normed[:, 1])


def attention_of(block: nn.Module, tokens: Tensor) -> Tensor:
    q, k, _ = block.qkv(tokens).reshape(-1, tokens.shape[1], 3, 2, 4).permute(2, 0, 3, 1, 4)
    return (q @ k.mT / 2).softmax(-1)


@pytest.mark.oracle("attentionrollout", "legrad")
@pytest.mark.parametrize("branch", [False, True])
def test_attention_pooling_by_hand(branch: bool) -> None:
    """LeGrad differentiates by what the query attends to behind each block; rollout starts from it."""
    net = Pooling(branch=branch)
    tokens, rolled, relevance = net.tokens(pictures()), torch.eye(17), torch.zeros(2, 17)
    for block in net.blocks:
        rolled = (attention_of(block, tokens).mean(1) + torch.eye(17)) / 2 @ rolled
        tokens = block(tokens)
        normed = net.norm(tokens)
        weights = (net.query @ normed.mT / 8**0.5).softmax(-1).requires_grad_()
        (gradient,) = torch.autograd.grad(net.fc((weights @ normed)[:, 0])[:, 0].sum(), weights)
        relevance += gradient.clamp(min=0)[:, 0] / 3
    row = (weights.detach() @ rolled)[:, 0]
    torch.testing.assert_close(seen("legrad", net), relevance[:, 1:].reshape(2, 4, 4), rtol=1e-4, atol=1e-7)
    torch.testing.assert_close(seen("attentionrollout", net), row[:, 1:].reshape(2, 4, 4), rtol=1e-4, atol=1e-7)


class Unused(Small):
    """Pools tokens for an answer that nobody reads, as some networks made for retrieval do."""

    def read(self, tokens: Tensor) -> Tensor:
        normed = self.norm(tokens)
        F.scaled_dot_product_attention(self.query.expand(tokens.shape[0], -1, -1), normed, normed)
        return self.fc(normed[:, 0])


@pytest.mark.parametrize("name", BOTH)
def test_pooling_that_the_answer_does_not_rest_on_plays_no_part(name: str) -> None:
    torch.testing.assert_close(seen(name, Unused(branch=True)), seen(name, Small()), rtol=1e-4, atol=1e-7)


# ---- stages


class Stages(Small):
    """One block on 17 tokens of 8 channels, then two on 5 tokens (the class and 2 x 2), as hierarchies have it."""

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.stages = nn.ModuleList([nn.ModuleList([self.blocks[0]]), nn.ModuleList([self.blocks[1], self.blocks[2]])])
        del self.blocks

    def merged(self, tokens: Tensor) -> Tensor:
        grid = tokens[:, 1:].transpose(1, 2).unflatten(2, (4, 4))
        return torch.cat([tokens[:, :1], F.avg_pool2d(grid, 2).flatten(2).transpose(1, 2)], 1)

    def forward(self, images: Tensor) -> Tensor:
        tokens = self.merged(self.stages[0][0](self.tokens(images)))
        for block in self.stages[1].children():
            tokens = block(tokens)
        return self.read(tokens)


@pytest.mark.oracle("legrad")
@pytest.mark.parametrize("branch", [False, True])
def test_of_stages_the_last_one_is_read_out(branch: bool) -> None:
    net = Stages(branch=branch)
    tokens, relevance = net.merged(net.stages[0][0](net.tokens(pictures()))), torch.zeros(2, 5)
    for block in net.stages[1].children():
        weights = attention_of(block, tokens).requires_grad_()
        value = block.qkv(tokens)[..., 16:].reshape(2, 5, 2, 4).transpose(1, 2)
        mixed = tokens + block.out((weights @ value).transpose(1, 2).flatten(2))
        left = mixed + F.gelu(block.mlp(mixed))
        (gradient,) = torch.autograd.grad(net.read(left)[:, 0].sum(), weights)
        relevance += gradient.clamp(min=0).mean((1, 2)) / 2
        tokens = left.detach()
    torch.testing.assert_close(seen("legrad", net, 2), relevance[:, 1:].reshape(2, 2, 2), rtol=1e-4, atol=1e-7)
    with pytest.raises(OptionError, match="in every block, and some attention here is in windows"):
        seen("attentionrollout", net, 2)


# ---- refusals


def in_windows(q: Tensor, k: Tensor, v: Tensor) -> Tensor:
    """Of 17 tokens the first attends to itself, then four windows of four."""
    parts = [part[:, :, 1:].unflatten(2, (4, 4)).transpose(1, 2).flatten(0, 1) for part in (q, k, v)]
    mixed = F.scaled_dot_product_attention(*parts).unflatten(0, (-1, 4)).transpose(1, 2).flatten(2, 3)
    return torch.cat([v[:, :, :1], mixed], 2)


def between_channels(q: Tensor, k: Tensor, v: Tensor) -> Tensor:
    return ((q.mT @ k).softmax(-1) @ v.mT).mT


def with_mixed_heads(q: Tensor, k: Tensor, v: Tensor) -> Tensor:
    weights = (q @ k.mT).softmax(-1)
    return (weights + 0.5 * weights.flip(1)) @ v


def at_random(q: Tensor, k: Tensor, v: Tensor) -> Tensor:
    return F.scaled_dot_product_attention(q, k, v, dropout_p=0.5)


def partly_emptied(q: Tensor, k: Tensor, v: Tensor) -> Tensor:
    weights = (q @ k.mT / 2).softmax(-1)
    weights[..., 0] = 0
    return weights @ v


REFUSALS: dict[str, tuple[Attend, str]] = {
    "windows": (in_windows, "between all tokens.* in windows, between channels, or to other keys"),
    "channels": (between_channels, "joins 4 tokens and the layer has 4 x 4 cells|between all tokens"),
    "mixed heads": (with_mixed_heads, "attention as the softmax gives it, and this network changes its attention"),
    "changed in place": (in_place, "attention as the softmax gives it, and this network changes its attention"),
    "changed in part": (partly_emptied, "attention as the softmax gives it, and this network changes its attention"),
    "at random": (at_random, "drops attention at random also in evaluation mode"),
}


@pytest.mark.parametrize("branch", [False, True])
@pytest.mark.parametrize("form", REFUSALS)
@pytest.mark.parametrize("name", BOTH)
def test_other_attention_is_refused_in_words(name: str, form: str, branch: bool) -> None:
    attend, words = REFUSALS[form]
    with pytest.raises(OptionError, match=words):
        seen(name, Small(attend, branch=branch))


def test_attention_in_windows_between_blocks_that_join_all_is_not_left_out_in_silence() -> None:
    net = Small(branch=True)
    net.blocks[1].attend = in_windows  # type: ignore[assignment]
    with pytest.raises(OptionError, match=r"the attention of 'blocks.1' is in windows, between channels"):
        seen("legrad", net)


class Skipping(Small):
    """The classifier reads the first block's tokens as well."""

    def forward(self, images: Tensor) -> Tensor:
        first = self.blocks[0](self.tokens(images))
        return self.read(self.blocks[2](self.blocks[1](first)) + first)


class Repeating(Small):
    """The second block runs twice."""

    def forward(self, images: Tensor) -> Tensor:
        tokens = self.blocks[0](self.tokens(images))
        return self.read(self.blocks[1](self.blocks[1](tokens)))


class Loose(Small):
    """Attention and layer of a block are called apart, so that no module gives a block's tokens."""

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.blocks = nn.ModuleList([nn.ModuleList([block, nn.Linear(8, 8)]) for block in self.blocks])

    def forward(self, images: Tensor) -> Tensor:
        tokens = self.tokens(images)
        for block in self.blocks:
            attention, layer = block.children()
            tokens = layer(attention(tokens)) + tokens
        return self.read(tokens)


class TwoQueries(Small):
    """Two queries pool the tokens."""

    def read(self, tokens: Tensor) -> Tensor:
        queries = self.query.expand(tokens.shape[0], 2, -1)
        return self.fc(F.scaled_dot_product_attention(queries, tokens, tokens).mean(1))


class Cut(Small):
    def read(self, tokens: Tensor) -> Tensor:
        return super().read(tokens.detach())


@pytest.mark.parametrize(
    ("kind", "words"),
    [
        (Skipping, "answer also depends on tokens from before"),
        (Repeating, "'blocks.1' runs 2 times"),
        (Loose, "blocks that are modules, and 'blocks.0' is not a module"),
        (TwoQueries, "at most one query that pools the tokens"),
        (Cut, "cannot be differentiated by its attention"),
    ],
)
def test_legrad_says_what_blocks_it_needs(kind: type[Small], words: str) -> None:
    with pytest.raises(OptionError, match=words):
        seen("legrad", kind(branch=True))


def test_tokens_that_are_no_part_of_the_image_are_refused() -> None:
    class Adding(Small):
        def __init__(self) -> None:
            super().__init__(branch=True)
            self.extra = nn.MultiheadAttention(8, 2, add_bias_kv=True, batch_first=True).requires_grad_(False)

        def read(self, tokens: Tensor) -> Tensor:
            return super().read(self.extra(tokens, tokens, tokens)[0])

    for name in BOTH:
        with pytest.raises(OptionError, match="adds tokens of its own to the image's"):
            seen(name, Adding().eval())


# ---- the kernels worked out


def drawn(*shape: int) -> Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(sum(shape)))


TRUTH = torch.tensor([[True, False, True, True, False], [False] * 5, [True] * 5])


@pytest.mark.parametrize(
    "options",
    [
        {}, {"scale": 0.3}, {"attn_mask": TRUTH}, {"attn_mask": drawn(2, 4, 3, 5)}, {"is_causal": True},
        {"enable_gqa": True},
    ],
)  # fmt: skip
def test_scaled_dot_product_is_torch_s(options: dict[str, Any]) -> None:
    heads = 2 if "enable_gqa" in options else 4
    q, k, v = drawn(2, 4, 3, 6), drawn(2, heads, 5, 6), drawn(2, heads, 5, 7)
    found = scaled_dot_product(lambda weights: weights, q, k, v, **options)
    torch.testing.assert_close(found, F.scaled_dot_product_attention(q, k, v, **options))


@pytest.mark.parametrize("batch_first", [True, False])
@pytest.mark.parametrize("separate", [True, False])
@pytest.mark.parametrize("masked", [None, "added", "truth", "padding"])
@pytest.mark.parametrize("average", [True, False])
def test_multi_head_attention_is_torch_s(batch_first: bool, separate: bool, masked: str | None, average: bool) -> None:
    torch.manual_seed(4)
    wide = 6 if separate else 8
    layer = nn.MultiheadAttention(8, 2, dropout=0.5, kdim=wide, vdim=wide, batch_first=batch_first).eval()
    nn.init.normal_(layer.in_proj_bias)
    query, keys = drawn(3, 5, 8), drawn(3, 5, wide)
    masks = {
        "added": {"attn_mask": drawn(5, 5)},
        "truth": {"attn_mask": torch.ones(5, 5, dtype=torch.bool).triu(1)},
        "padding": {"key_padding_mask": torch.tensor([[False] * 4 + [True]] * 3)},
    }
    if not batch_first:
        query, keys = query.transpose(0, 1), keys.transpose(0, 1)
    options: dict[str, Any] = masks.get(str(masked), {}) | {"average_attn_weights": average}
    with torch.no_grad():
        expected, weights = layer(query, keys, keys, **options)
        with Attending() as attending:
            found, shown = layer(query, keys, keys, **options)
    torch.testing.assert_close(found, expected)
    torch.testing.assert_close(shown, weights)
    assert [one.tensor.shape for one in attending.found] == [(3, 2, 5, 5)]


@pytest.mark.parametrize(("size", "cells"), [((224, 289), (7, 10)), ((289, 224), (10, 7)), ((28, 60), (1, 2))])
def test_the_last_cells_may_reach_over_the_edge(size: tuple[int, int], cells: tuple[int, int]) -> None:
    """SAME padding makes 10 cells of 289 pixels at stride 32, and 7 of 224."""

    class Padded(Small):
        def __init__(self) -> None:
            super().__init__(branch=True)
            self.patches = nn.Conv2d(3, 8, 32, stride=32).requires_grad_(False)

        def tokens(self, images: Tensor) -> Tensor:
            height, width = images.shape[-2:]
            return super().tokens(F.pad(images, (0, -width % 32, 0, -height % 32)))

    given = torch.randn(1, 3, *size)
    for name in BOTH:
        found = apply(METHODS[name], evidence_of_pixels(Padded(), given, torch.zeros(1, 1, *cells)))
        assert found.shape == (1, *cells)


# ---- threads, and networks of others


@pytest.mark.parametrize("name", BOTH)
def test_two_threads_on_one_network_that_cannot_be_traced(name: str) -> None:
    net, wrong = Pooling(branch=True), list[int]()
    given = [evidence_of_pixels(net, images, torch.zeros(2, 1, 4, 4)) for images in (pictures(), pictures().flip(3))]
    serial = [apply(METHODS[name], one) for one in given]

    def work(which: int) -> None:
        for _ in range(5):
            if not torch.equal(apply(METHODS[name], given[which]), serial[which]):
                wrong.append(1)

    threads = [threading.Thread(target=work, args=(which,)) for which in (0, 1)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not wrong
    assert not torch.equal(*serial)
    for part in net.modules():
        assert not part._forward_hooks
        assert not part._forward_pre_hooks


@pytest.mark.parametrize("kind", ["ViT", "Beit", "Dinov2WithRegisters", "Siglip", "CLIP"])
@pytest.mark.parametrize("name", BOTH)
def test_transformers_fused_and_eager_give_the_same_map(name: str, kind: str) -> None:
    transformers = pytest.importorskip("transformers", reason="no transformers to take networks from")

    class Logits(nn.Module):
        def __init__(self, network: nn.Module) -> None:
            super().__init__()
            self.network = network

        def forward(self, images: Tensor) -> Tensor:
            return self.network(images).logits

    maps = []
    for how in ("sdpa", "eager"):
        torch.manual_seed(5)
        small = {"hidden_size": 16, "num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 32}
        small |= {"image_size": 32, "patch_size": 8}
        nested = {"vision_config": small} if kind in ("Siglip", "CLIP") else small
        config = getattr(transformers, f"{kind}Config")(**nested, num_labels=5)
        config._attn_implementation = how
        net = getattr(transformers, f"{kind}ForImageClassification")(config)
        for parameter in net.parameters():
            parameter.data.add_(0.1 * torch.randn(parameter.shape))
        maps.append(seen(name, Logits(net)))
    torch.testing.assert_close(maps[0], maps[1], rtol=1e-3, atol=1e-6)
    assert maps[0].any()


@pytest.mark.parametrize(
    ("name", "size", "cells"),
    [
        ("vit_base_patch16_siglip_224", 64, 4), ("vit_pe_core_tiny_patch16_384", 64, 4),
        ("mobilenetv4_hybrid_medium", 224, 7), ("pvt_v2_b0", 224, 7), ("csatv2", 256, 4), ("iformer_t", 224, 7),
        ("sam2_hiera_tiny", 224, 7),
    ],
)  # fmt: skip
def test_legrad_of_timm_s_pooled_and_staged_networks(name: str, size: int, cells: int) -> None:
    timm = pytest.importorskip("timm", reason="no timm to take networks from")
    torch.manual_seed(6)
    options = {"img_size": size} if name.startswith("vit_") else {}
    net = timm.create_model(name, pretrained=False, num_classes=5, **options)
    given = torch.randn(1, 3, size, size, generator=torch.Generator().manual_seed(1))
    for parameter in net.parameters():
        parameter.data.add_(0.02 * torch.randn(parameter.shape))
    found = seen("legrad", net, cells, given)
    assert found.isfinite().all()
    assert found.amax() > 0
