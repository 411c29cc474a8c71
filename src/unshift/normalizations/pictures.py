"""Any image as RGB pictures and back: shared by normalizations whose networks know photographs."""

from __future__ import annotations

from collections.abc import Iterable

from jaxtyping import Bool, Float
from torch import Tensor

from unshift.geometry import resize_image
from unshift.normalizations.inside import mask_of
from unshift.sample import Sample


def groups_of(image: Float[Tensor, "channel *space"]) -> Float[Tensor, "group color *space"]:
    """Three channels are one group, a color image; each channel of any other image is a group by itself."""
    return image[None] if len(image) == 3 else image[:, None]


def to_pictures(sample: Sample) -> tuple[Float[Tensor, "group slice 3 h w"], Bool[Tensor, "slice h w"]]:
    """One RGB picture per group and slice, grey ones repeated; and the field of view of each slice."""
    groups = groups_of(sample.image)
    size = sample.space[-2:]
    slices = groups.reshape(*groups.shape[:2], -1, *size).transpose(1, 2)
    return slices.expand(-1, -1, 3, -1, -1), mask_of(sample).reshape(-1, *size)


def from_pictures(
    pictures: Float[Tensor, "group slice 3 h w"], like: Float[Tensor, "channel *space"]
) -> Float[Tensor, "channel *space"]:
    """The inverse of :func:`to_pictures`; of grey pictures the three channels are averaged."""
    colors = pictures if len(like) == 3 else pictures.mean(2, keepdim=True)
    return colors.transpose(1, 2).reshape(like.shape)


def resize(
    picture: Float[Tensor, "3 h w"], mask: Bool[Tensor, "h w"], size: tuple[int, int]
) -> tuple[Float[Tensor, "3 y x"], Bool[Tensor, "y x"]]:
    """Both at another size; a mask that vanishes there becomes the whole."""
    resized = resize_image(mask[None].to(picture), size)[0] >= 0.5
    return resize_image(picture, size), resized if resized.any() else ~resized


def spread(samples: Iterable[Sample], count: int) -> list[Sample]:
    """At most ``count`` of samples that come one after another, evenly spread from the first; few are held at once."""
    kept: list[Sample] = []
    stride = 1
    for index, sample in enumerate(samples):
        if index % stride:
            continue
        kept.append(sample)
        if count == 1:
            break
        if len(kept) == 2 * count:
            kept, stride = kept[::2], 2 * stride
    return kept[:: -(-len(kept) // count)] if kept else []
