"""Networks as people write them, each with the features and the decoding that its forward does at once."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn

Restyle = Callable[[list[Tensor]], Sequence[Tensor]]


class Student(nn.Module):
    """A U-Net with functional pooling, activation and concatenation; ``relu`` says how it activates."""

    strides, channels = (1, 2, 4), (8, 12, 16)

    def __init__(self, channels: int = 3, classes: int = 2, *, dims: int = 2, relu: str = "function") -> None:
        super().__init__()
        conv, norm = (nn.Conv2d, nn.BatchNorm2d) if dims == 2 else (nn.Conv3d, nn.BatchNorm3d)
        widths = (channels, *self.channels)
        pairs = list(itertools.pairwise(widths))
        self.pool = F.max_pool2d if dims == 2 else F.max_pool3d
        self.relu = relu
        self.act = nn.ReLU(inplace=True)
        self.down = nn.ModuleList(conv(i, o, 3, padding=1) for i, o in pairs)
        self.norm = nn.ModuleList(norm(o) for _, o in pairs)
        self.up = nn.ModuleList(conv(i + o, i, 3, padding=1) for i, o in pairs[1:])
        self.head = conv(self.channels[0], classes, 1)

    def activate(self, x: Tensor) -> Tensor:
        return self.act(x) if self.relu == "module" else F.relu(x, inplace=self.relu == "in place")

    def encode(self, x: Tensor) -> list[Tensor]:
        found: list[Tensor] = []
        for index, (conv, norm) in enumerate(zip(self.down, self.norm, strict=True)):
            x = self.activate(norm(conv(self.pool(x, 2) if index else x)))
            found.append(x)
        return found

    def decode(self, features: Sequence[Tensor]) -> Tensor:
        *skips, x = features
        for conv, skip in zip(reversed(self.up), reversed(skips), strict=True):
            x = self.activate(conv(torch.cat([skip, F.interpolate(x, scale_factor=2.0)], 1)))
        return self.head(x)

    def forward(self, x: Tensor) -> Tensor:
        return self.decode(self.encode(x))


class Residual(nn.Module):
    """Added skips, one activation in place for all, features used again inside the encoder, a dict as output."""

    strides, channels = (1, 2, 4), (8, 8, 8)

    def __init__(self, channels: int = 3, classes: int = 2) -> None:
        super().__init__()
        self.act, self.pool = nn.ReLU(inplace=True), nn.MaxPool2d(2)
        self.convs = nn.ModuleList(nn.Conv2d(i, 8, 3, padding=1) for i in (channels, 8, 8, 8))
        self.grow, self.head = nn.Upsample(scale_factor=2.0), nn.Conv2d(8, classes, 1)

    def encode(self, x: Tensor) -> list[Tensor]:
        one = self.act(self.convs[0](x))
        pooled = self.pool(one)
        two = self.act(self.convs[1](pooled) + pooled)
        return [one, two, self.act(self.convs[3](self.act(self.convs[2](self.pool(two)))))]

    def decode(self, features: Sequence[Tensor]) -> Tensor:
        one, two, deep = features
        return self.head(self.grow(self.grow(deep) + two) + one)

    def forward(self, x: Tensor) -> dict[str, Tensor | list[Tensor]]:
        features = self.encode(x)
        return {"features": features[1:], "out": self.decode(features)}


class Tokens(nn.Module):
    """Channels last inside, so that its only feature is a view."""

    strides, channels = (4,), (12,)

    def __init__(self, channels: int = 3, classes: int = 2) -> None:
        super().__init__()
        self.embed, self.mix = nn.Conv2d(channels, 12, 4, 4), nn.Sequential(nn.LayerNorm(12), nn.Linear(12, 12))
        self.grow = nn.ConvTranspose2d(12, classes, 4, 4)

    def encode(self, x: Tensor) -> list[Tensor]:
        return [self.mix(self.embed(x).permute(0, 2, 3, 1)).permute(0, 3, 1, 2)]

    def decode(self, features: Sequence[Tensor]) -> Tensor:
        return self.grow(features[0])

    def forward(self, x: Tensor) -> Tensor:
        return self.decode(self.encode(x))


class Blocks(nn.Module):
    """Every step down returns what goes on and what is skipped; logits are made small and resized."""

    strides, channels = (1, 2, 4), (6, 6, 6)

    class Down(nn.Module):
        def __init__(self, channels: int) -> None:
            super().__init__()
            self.conv, self.pool = nn.Sequential(nn.Conv2d(channels, 6, 3, padding=1), nn.ReLU()), nn.AvgPool2d(2)

        def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
            x = self.conv(x)
            return self.pool(x), x

    def __init__(self, channels: int = 3, classes: int = 2) -> None:
        super().__init__()
        self.one, self.two, self.bottom = self.Down(channels), self.Down(6), nn.Conv2d(6, 6, 3, padding=1)
        self.small, self.head = nn.Conv2d(6, classes, 1), nn.Conv2d(12, classes, 1)

    def encode(self, x: Tensor) -> list[Tensor]:
        x, one = self.one(x)
        x, two = self.two(x)
        return [one, two, self.bottom(x)]

    def decode(self, features: Sequence[Tensor]) -> Tensor:
        one, two, deep = features
        small = F.interpolate(self.small(deep), scale_factor=4.0)
        return small + self.head(torch.cat([one, F.interpolate(two, scale_factor=2.0)], 1))

    def forward(self, x: Tensor) -> Tensor:
        return self.decode(self.encode(x))


def student(**arguments: int) -> Student:
    """A function that builds one, with the same weights every time."""
    with torch.random.fork_rng():
        torch.manual_seed(0)
        return Student(**arguments)


def number() -> int:
    """Something that is no module."""
    return 3


TEXT = "not callable"
