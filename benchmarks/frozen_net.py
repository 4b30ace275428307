"""The networks of frozen.py, in a file for `camserve add`: random weights from a fixed seed."""

import torch
from torch import nn
from torchvision.models import VisionTransformer, resnet18


def small(num_classes: int = 5) -> nn.Module:
    """A ResNet-18."""
    torch.manual_seed(0)
    network: nn.Module = resnet18(weights=None, num_classes=num_classes)
    return network


def tiny(num_classes: int = 5) -> nn.Module:
    """Two convolutions: even methods with a forward pass per channel are fast."""
    torch.manual_seed(1)
    layers = [nn.Conv2d(3, 6, 3, stride=2), nn.ReLU(), nn.Conv2d(6, 8, 3, stride=2), nn.ReLU()]
    return nn.Sequential(*layers, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(8, num_classes))


def tokens(num_classes: int = 5) -> nn.Module:
    """A vision transformer for 64 x 64 pixels."""
    torch.manual_seed(2)
    shape = {"image_size": 64, "patch_size": 8, "num_layers": 3, "num_heads": 2, "hidden_dim": 16, "mlp_dim": 32}
    network: nn.Module = VisionTransformer(**shape, num_classes=num_classes)
    nn.init.normal_(network.heads.head.weight)  # it is 0 by default: nothing to explain
    return network
