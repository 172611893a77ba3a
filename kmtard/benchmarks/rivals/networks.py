"""Networks for the PyTorch step, with the same keys as public PyTorch weights."""

from __future__ import annotations

import torch
from torch import nn
from torch.nn import functional


class ResNet18(nn.Module):
    """ResNet-18 for small images, the same as `kmtard.networks.resnet.resnet18`.

    Args:
        classes: number of logits.
        shape: `(height, width, channels)` of an image.
    """

    def __init__(self, classes: int, shape: tuple[int, int, int]) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(shape[-1], 64, 3, padding=1, bias=False)
        self.bn1 = nn.BatchNorm2d(64)
        self.layer1 = _stage(64, 64, 1)
        self.layer2 = _stage(64, 128, 2)
        self.layer3 = _stage(128, 256, 2)
        self.layer4 = _stage(256, 512, 2)
        self.linear = nn.Linear(512, classes)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Return (batch, classes) float32 logits of (batch, channels, ...) images."""
        x = functional.relu(self.bn1(self.conv1(x)))
        x = self.layer4(self.layer3(self.layer2(self.layer1(x))))
        return _logits(self.linear, x.mean((2, 3)))


def _stage(channels: int, filters: int, stride: int) -> nn.Sequential:
    return nn.Sequential(_Block(channels, filters, stride), _Block(filters, filters, 1))


class _Block(nn.Module):
    def __init__(self, channels: int, filters: int, stride: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(channels, filters, 3, stride, 1, bias=False)
        self.bn1 = nn.BatchNorm2d(filters)
        self.conv2 = nn.Conv2d(filters, filters, 3, padding=1, bias=False)
        self.bn2 = nn.BatchNorm2d(filters)
        self.shortcut = nn.Sequential()
        if stride > 1 or channels != filters:
            self.shortcut = nn.Sequential(
                nn.Conv2d(channels, filters, 1, stride, bias=False),
                nn.BatchNorm2d(filters),
            )

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        features = functional.relu(self.bn1(self.conv1(x)))
        features = self.bn2(self.conv2(features))
        return functional.relu(features + self.shortcut(x))


class SmallCNN(nn.Sequential):
    """Same as `kmtard.networks.small_cnn.small_cnn`, except for the order of features.

    Args:
        classes: number of logits.
        shape: `(height, width, channels)` of an image.
    """

    def __init__(self, classes: int, shape: tuple[int, int, int]) -> None:
        layers: list[nn.Module] = []
        channels = shape[-1]
        for filters, stride in ((16, 1), (32, 2), (32, 1)):
            layers += [
                nn.Conv2d(channels, filters, 3, stride, 1, bias=False),
                nn.BatchNorm2d(filters),
                nn.ReLU(),
            ]
            channels = filters
        size = channels * -(-shape[0] // 2) * -(-shape[1] // 2)
        super().__init__(*layers, nn.Flatten(), nn.Linear(size, classes))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Return (batch, classes) float32 logits of (batch, channels, ...) images."""
        *layers, last = self
        for layer in layers:
            x = layer(x)
        return _logits(last, x)


def _logits(layer: nn.Module, features: torch.Tensor) -> torch.Tensor:
    # The last layer computes in float32, as ours does.
    with torch.autocast(features.device.type, enabled=False):
        logits: torch.Tensor = layer(features.float())
    return logits


NETWORKS: dict[str, type[nn.Module]] = {"resnet18": ResNet18, "small_cnn": SmallCNN}
