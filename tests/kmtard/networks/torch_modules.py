"""The networks once more in PyTorch, with the module names of the public codes."""

from __future__ import annotations

from collections import OrderedDict

import torch
from torch import nn
from torch.nn.functional import pad, relu, silu


def conv3x3(inputs, outputs, stride=1, groups=1):
    return nn.Conv2d(inputs, outputs, 3, stride, 1, groups=groups, bias=False)


def conv1x1(inputs, outputs, stride=1):
    return nn.Conv2d(inputs, outputs, 1, stride, bias=False)


def constants(values):
    return torch.tensor(values)[:, None, None]


def pooled(x):
    return x.mean((2, 3))


class Basic(nn.Module):
    def __init__(self, inputs, outputs, stride, shortcut):
        super().__init__()
        self.conv1 = conv3x3(inputs, outputs, stride)
        self.bn1 = nn.BatchNorm2d(outputs)
        self.conv2 = conv3x3(outputs, outputs)
        self.bn2 = nn.BatchNorm2d(outputs)
        self.name = shortcut
        change = [conv1x1(inputs, outputs, stride), nn.BatchNorm2d(outputs)]
        changed = stride > 1 or inputs != outputs
        setattr(self, shortcut, nn.Sequential(*change if changed else []))

    def forward(self, x):
        out = self.bn2(self.conv2(relu(self.bn1(self.conv1(x)))))
        return relu(out + getattr(self, self.name)(x))


class ResNet18(nn.Module):
    def __init__(self, classes):
        super().__init__()
        self.conv1, self.bn1 = conv3x3(3, 64), nn.BatchNorm2d(64)
        inputs = 64
        for stage, width in enumerate((64, 128, 256, 512), 1):
            first = Basic(inputs, width, 1 if stage == 1 else 2, "shortcut")
            second = Basic(width, width, 1, "shortcut")
            setattr(self, f"layer{stage}", nn.Sequential(first, second))
            inputs = width
        self.linear = nn.Linear(512, classes)

    def forward(self, x):
        x = relu(self.bn1(self.conv1(x)))
        x = self.layer4(self.layer3(self.layer2(self.layer1(x))))
        return self.linear(pooled(x))


class ResNet56(nn.Module):
    def __init__(self, classes, mean=(0.0,) * 3, std=(1.0,) * 3):
        super().__init__()
        self.mean, self.std = constants(mean), constants(std)
        self.conv1, self.bn1 = conv3x3(3, 16), nn.BatchNorm2d(16)
        self.layer1 = self.stage(16, 16, 1)
        self.layer2 = self.stage(16, 32, 2)
        self.layer3 = self.stage(32, 64, 2)
        self.fc = nn.Linear(64, classes)

    def stage(self, inputs, width, stride):
        rest = [Basic(width, width, 1, "downsample") for _ in range(8)]
        return nn.Sequential(Basic(inputs, width, stride, "downsample"), *rest)

    def forward(self, x):
        x = relu(self.bn1(self.conv1((x - self.mean) / self.std)))
        return self.fc(pooled(self.layer3(self.layer2(self.layer1(x)))))


class OptionA(nn.Module):
    """A block whose shortcut selects pixels and adds channels of zeros."""

    def __init__(self, inputs, outputs, stride):
        super().__init__()
        self.conv1 = conv3x3(inputs, outputs, stride)
        self.bn1 = nn.BatchNorm2d(outputs)
        self.conv2 = conv3x3(outputs, outputs)
        self.bn2 = nn.BatchNorm2d(outputs)
        self.stride, self.missing = stride, outputs - inputs

    def forward(self, x):
        out = self.bn2(self.conv2(relu(self.bn1(self.conv1(x)))))
        half = self.missing // 2
        x = x[:, :, :: self.stride, :: self.stride]
        return relu(out + pad(x, (0, 0, 0, 0, half, half)))


class OptionAResNet56(nn.Module):
    def __init__(self, classes):
        super().__init__()
        self.conv1, self.bn1 = conv3x3(3, 16), nn.BatchNorm2d(16)
        inputs = 16
        for stage, width in enumerate((16, 32, 64), 1):
            first = OptionA(inputs, width, 1 if stage == 1 else 2)
            rest = [OptionA(width, width, 1) for _ in range(8)]
            setattr(self, f"layer{stage}", nn.Sequential(first, *rest))
            inputs = width
        self.linear = nn.Linear(64, classes)

    def forward(self, x):
        x = relu(self.bn1(self.conv1(x)))
        return self.linear(pooled(self.layer3(self.layer2(self.layer1(x)))))


class Inverted(nn.Module):
    def __init__(self, inputs, outputs, expansion, stride):
        super().__init__()
        inner = inputs * expansion
        self.stride = stride
        self.conv1, self.bn1 = conv1x1(inputs, inner), nn.BatchNorm2d(inner)
        self.conv2 = conv3x3(inner, inner, stride, groups=inner)
        self.bn2 = nn.BatchNorm2d(inner)
        self.conv3, self.bn3 = conv1x1(inner, outputs), nn.BatchNorm2d(outputs)
        self.shortcut = nn.Sequential()
        if stride == 1 and inputs != outputs:
            self.shortcut = nn.Sequential(
                conv1x1(inputs, outputs), nn.BatchNorm2d(outputs)
            )

    def forward(self, x):
        out = relu(self.bn2(self.conv2(relu(self.bn1(self.conv1(x))))))
        out = self.bn3(self.conv3(out))
        return out + self.shortcut(x) if self.stride == 1 else out


class MobileNetV2(nn.Module):
    def __init__(self, classes):
        super().__init__()
        self.conv1, self.bn1 = conv3x3(3, 32), nn.BatchNorm2d(32)
        widths = [16, 24, 24, 32, 32, 32, 64, 64, 64, 64, 96, 96, 96, 160, 160, 160]
        widths = [32, *widths, 320]
        blocks = [
            Inverted(
                widths[index],
                widths[index + 1],
                1 if index == 0 else 6,
                2 if index in (3, 6, 13) else 1,
            )
            for index in range(17)
        ]
        self.layers = nn.Sequential(*blocks)
        self.conv2, self.bn2 = conv1x1(320, 1280), nn.BatchNorm2d(1280)
        self.linear = nn.Linear(1280, classes)

    def forward(self, x):
        x = self.layers(relu(self.bn1(self.conv1(x))))
        return self.linear(pooled(relu(self.bn2(self.conv2(x)))))


class PreAct(nn.Module):
    def __init__(self, inputs, outputs, stride):
        super().__init__()
        self.bn1, self.conv1 = (
            nn.BatchNorm2d(inputs),
            conv3x3(inputs, outputs, stride),
        )
        self.bn2, self.conv2 = nn.BatchNorm2d(outputs), conv3x3(outputs, outputs)
        if stride > 1 or inputs != outputs:
            self.shortcut = nn.Sequential(conv1x1(inputs, outputs, stride))

    def forward(self, x):
        active = relu(self.bn1(x))
        shortcut = self.shortcut(active) if hasattr(self, "shortcut") else x
        return self.conv2(relu(self.bn2(self.conv1(active)))) + shortcut


class PreActResNet(nn.Module):
    """With `buffers` as in RobustBench, whose constants are in the state dict."""

    def __init__(self, classes, blocks, mean=(0.0,) * 3, std=(1.0,) * 3, buffers=False):
        super().__init__()
        self.mean, self.std = constants(mean), constants(std)
        if buffers:
            self.register_buffer("mu", self.mean[None])
            self.register_buffer("sigma", self.std[None])
        self.conv1 = conv3x3(3, 64)
        inputs = 64
        for stage, count in enumerate(blocks, 1):
            width, stride = 32 * 2**stage, 1 if stage == 1 else 2
            rest = [PreAct(width, width, 1) for _ in range(count - 1)]
            layers = nn.Sequential(PreAct(inputs, width, stride), *rest)
            setattr(self, f"layer{stage}", layers)
            inputs = width
        self.bn = nn.BatchNorm2d(512)
        self.linear = nn.Linear(512, classes)

    def forward(self, x):
        x = self.conv1((x - self.mean) / self.std)
        x = self.layer4(self.layer3(self.layer2(self.layer1(x))))
        return self.linear(pooled(relu(self.bn(x))))


class TradesBlock(nn.Module):
    def __init__(self, inputs, outputs, stride):
        super().__init__()
        self.bn1 = nn.BatchNorm2d(inputs)
        self.conv1 = conv3x3(inputs, outputs, stride)
        self.bn2 = nn.BatchNorm2d(outputs)
        self.conv2 = conv3x3(outputs, outputs)
        if inputs != outputs:
            self.convShortcut = conv1x1(inputs, outputs, stride)

    def forward(self, x):
        active = relu(self.bn1(x))
        shortcut = self.convShortcut(active) if hasattr(self, "convShortcut") else x
        return self.conv2(relu(self.bn2(self.conv1(active)))) + shortcut


class TradesGroup(nn.Module):
    def __init__(self, inputs, outputs, blocks, stride):
        super().__init__()
        first = TradesBlock(inputs, outputs, stride)
        rest = [TradesBlock(outputs, outputs, 1) for _ in range(blocks - 1)]
        self.layer = nn.Sequential(first, *rest)

    def forward(self, x):
        return self.layer(x)


class TradesWRN(nn.Module):
    """Without `sub_block1` as in IAD's code and most of RobustBench's entries."""

    def __init__(self, classes, depth, width, sub_block1=True):
        super().__init__()
        blocks = (depth - 4) // 6
        self.conv1 = conv3x3(3, 16)
        self.block1 = TradesGroup(16, 16 * width, blocks, 1)
        if sub_block1:
            self.sub_block1 = TradesGroup(16, 16 * width, blocks, 1)
        self.block2 = TradesGroup(16 * width, 32 * width, blocks, 2)
        self.block3 = TradesGroup(32 * width, 64 * width, blocks, 2)
        self.bn1 = nn.BatchNorm2d(64 * width)
        self.fc = nn.Linear(64 * width, classes)

    def forward(self, x):
        x = self.block3(self.block2(self.block1(self.conv1(x))))
        return self.fc(pooled(relu(self.bn1(x))))


class DeepMindBlock(nn.Module):
    def __init__(self, inputs, outputs, stride):
        super().__init__()
        self.stride = stride
        self.batchnorm_0 = nn.BatchNorm2d(inputs)
        self.conv_0 = nn.Conv2d(
            inputs, outputs, 3, stride, 1 if stride == 1 else 0, bias=False
        )
        self.batchnorm_1 = nn.BatchNorm2d(outputs)
        self.conv_1 = conv3x3(outputs, outputs)
        if inputs != outputs:
            self.shortcut = conv1x1(inputs, outputs, stride)

    def forward(self, x):
        active = silu(self.batchnorm_0(x))
        shortcut = self.shortcut(active) if hasattr(self, "shortcut") else x
        if self.stride == 2:
            active = pad(active, (0, 1, 0, 1))
        return self.conv_1(silu(self.batchnorm_1(self.conv_0(active)))) + shortcut


class DeepMindGroup(nn.Module):
    def __init__(self, inputs, outputs, blocks, stride):
        super().__init__()
        first = DeepMindBlock(inputs, outputs, stride)
        rest = [DeepMindBlock(outputs, outputs, 1) for _ in range(blocks - 1)]
        self.block = nn.Sequential(first, *rest)

    def forward(self, x):
        return self.block(x)


class DeepMindWRN(nn.Module):
    """With `buffers` as in RobustBench, else as DeepMind and MTARD."""

    def __init__(self, classes, depth, width, mean, std, buffers=False):
        super().__init__()
        if buffers:
            self.register_buffer("mean", constants(mean))
            self.register_buffer("std", constants(std))
        else:
            self.mean, self.std = constants(mean), constants(std)
        blocks = (depth - 4) // 6
        self.init_conv = conv3x3(3, 16)
        self.layer = nn.Sequential(
            DeepMindGroup(16, 16 * width, blocks, 1),
            DeepMindGroup(16 * width, 32 * width, blocks, 2),
            DeepMindGroup(32 * width, 64 * width, blocks, 2),
        )
        self.batchnorm = nn.BatchNorm2d(64 * width)
        self.logits = nn.Linear(64 * width, classes)

    def forward(self, x):
        x = self.layer(self.init_conv((x - self.mean) / self.std))
        return self.logits(pooled(silu(self.batchnorm(x))))


class ImageNormalizer(nn.Module):
    def __init__(self, mean, std):
        super().__init__()
        self.register_buffer("mean", constants(mean)[None])
        self.register_buffer("std", constants(std)[None])

    def forward(self, x):
        return (x - self.mean) / self.std


def normalized(model, mean, std):
    """As RobustBench wraps a model of normalized images."""
    parts = [("normalize", ImageNormalizer(mean, std)), ("model", model)]
    return nn.Sequential(OrderedDict(parts))


def randomized(module, seed=0):
    """Give every weight and moving value of a module a value of its own."""
    torch.manual_seed(seed)
    for layer in module.modules():
        if isinstance(layer, nn.BatchNorm2d):
            nn.init.uniform_(layer.weight, 0.5, 1.5)
            nn.init.normal_(layer.bias, 0, 0.2)
            nn.init.normal_(layer.running_mean, 0, 0.2)
            nn.init.uniform_(layer.running_var, 0.5, 1.5)
            layer.num_batches_tracked.fill_(7)
        elif isinstance(layer, nn.Conv2d):
            nn.init.kaiming_normal_(layer.weight, nonlinearity="linear")
    return module.eval()
