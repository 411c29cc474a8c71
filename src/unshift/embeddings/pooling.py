"""What members share: features pooled inside the field of view, unit vectors, and what decides them."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping
from contextlib import contextmanager

import torch
import torch.nn.functional as F
from jaxtyping import Bool, Float
from torch import Tensor, nn

from unshift.errors import ShapeMismatch
from unshift.geometry import resize_image


def pooled(
    feature: Float[Tensor, "batch feature *grid"], inside: Bool[Tensor, "batch *space"] | None
) -> Float[Tensor, "batch feature"]:
    """The mean over the grid; with a field of view, every cell counts by the share of it that lies inside."""
    if inside is None:
        return feature.flatten(2).mean(2)
    mask = inside[:, None].to(feature)
    grid = list(feature.shape[2:])
    shares = F.adaptive_avg_pool2d(mask, grid) if mask.ndim == 4 else F.adaptive_avg_pool3d(mask, grid)  # type: ignore[arg-type]
    weights = shares.flatten(2)
    return (feature.flatten(2) * weights).sum(2) / weights.sum(2).clamp_min(1e-12)


def unit(vectors: Float[Tensor, "batch feature"]) -> Float[Tensor, "batch feature"]:
    """Vectors of length 1, float32; a vector of zeros stays."""
    return F.normalize(vectors.float(), dim=1)


def resized(
    images: Float[Tensor, "batch channel *space"], inside: Bool[Tensor, "batch *space"] | None, size: tuple[int, ...]
) -> tuple[Float[Tensor, "batch channel *size"], Bool[Tensor, "batch *size"] | None]:
    """Both at ``size``, whatever the images' shape; a field of view that would vanish becomes the whole."""
    images = torch.stack([resize_image(image, size) for image in images])
    if inside is None:
        return images, None
    masks = torch.stack([resize_image(mask[None].to(images), size)[0] >= 0.5 for mask in inside])
    return images, masks | ~masks.flatten(1).any(1).view(-1, *[1] * len(size))


def colored(images: Float[Tensor, "batch channel h w"], who: str) -> Float[Tensor, "batch 3 h w"]:
    """RGB pictures; grey ones are repeated.

    Raises:
        ShapeMismatch: volumes, or neither one nor three channels.
    """
    if images.ndim != 4 or images.shape[1] not in (1, 3):
        raise ShapeMismatch(
            f"embedding {who}: images are {list(images.shape)}; pictures of 1 or 3 channels are required. "
            "Set `embedding: segmenter`, which takes what the network takes."
        )
    return images.expand(-1, 3, -1, -1)


def weights_digest(state: Mapping[str, Tensor]) -> str:
    """SHA-256 of named tensors, whatever their device and memory layout."""
    digest = hashlib.sha256()
    for name in sorted(state):
        value = state[name].detach().cpu().contiguous()
        digest.update(f"{name} {value.dtype} {tuple(value.shape)}".encode())
        digest.update(value.flatten().view(torch.uint8).numpy().tobytes() if value.numel() else b"")
    return digest.hexdigest()


@contextmanager
def looking(network: nn.Module) -> Iterator[None]:
    """Evaluation mode and no gradients within the block; every module gets its own mode back."""
    training = [module for module in network.modules() if module.training]
    network.eval()
    try:
        with torch.no_grad():
            yield
    finally:
        for module in training:
            module.training = True
