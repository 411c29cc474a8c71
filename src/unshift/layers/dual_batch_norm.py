"""Two batch norms in the place of one: of images that look like the source and of images that do not.

While training, the first half of a batch (the larger one of an odd number) goes through the first, the rest through the
second, each with its own statistics, scale and shift. At test time every image goes through the one that ``route``
says, with running statistics; how far the image's own statistics lie from them is noted for whoever routes.
"""

from __future__ import annotations

import copy

import torch
from jaxtyping import Bool, Float
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

from unshift.errors import ConfigError, ShapeMismatch


class DualBatchNorm(nn.Module):
    """``norms``: two copies of a batch norm. ``route``: 0, 1, or bool [batch], True for the second; test time only.

    ``distance``: of the images of all calls since it was last set to None, where ``route`` is a number.
    """

    def __init__(self, norm: _BatchNorm) -> None:
        super().__init__()
        if not norm.track_running_stats:
            raise ConfigError(
                "dual batch norm: a batch norm of the network keeps no running statistics; they are what images are "
                "compared with at test time. Build the network with track_running_stats."
            )
        self.norms = nn.ModuleList([norm, copy.deepcopy(norm)])
        self.route: int | Bool[Tensor, "batch"] = 0
        self.distance: Float[Tensor, "batch"] | None = None

    def forward(self, features: Float[Tensor, "batch channel *space"]) -> Float[Tensor, "batch channel *space"]:
        """Normalized features of the same shape.

        Raises:
            ShapeMismatch: routes are known for another number of images.
        """
        if self.training:
            halves = zip(self.norms, features.tensor_split(2), strict=True)
            return torch.cat([norm(half) for norm, half in halves if len(half)])
        if isinstance(self.route, int):
            norm = self.norms[self.route]
            distance = _distance(features, norm)  # type: ignore[arg-type]
            self.distance = distance if self.distance is None else self.distance + distance
            found: Tensor = norm(features)
            return found
        if len(self.route) != len(features):
            raise ShapeMismatch(
                f"dual batch norm: {len(features)} images, but styles of {len(self.route)}; decode needs the features "
                "that encode has just returned."
            )
        second = self.route.to(features.device).view(-1, *(1,) * (features.ndim - 1))
        return torch.where(second, self.norms[1](features), self.norms[0](features))


def dualize(module: nn.Module) -> list[DualBatchNorm]:
    """Put a :class:`DualBatchNorm` into the place of every batch norm within ``module``; returns them.

    A batch norm that stands in several places has one twin, shared as it was.

    Raises:
        ConfigError: there is no batch norm, or one without running statistics.
    """
    made: dict[_BatchNorm, DualBatchNorm] = {}
    for parent in list(module.modules()):
        for name, child in list(parent._modules.items()):  # named_children leaves repetitions out
            if isinstance(child, _BatchNorm):
                made[child] = made.get(child) or DualBatchNorm(child)
                setattr(parent, name, made[child])
    if not made:
        raise ConfigError(
            f"dual batch norm: {type(module).__name__} has no batch norm; there is nothing to have two of. Choose a "
            "network with batch norms (`norm: batch`)."
        )
    return list(made.values())


@torch.no_grad()
def _distance(features: Tensor, norm: _BatchNorm) -> Float[Tensor, "batch"]:
    """‖mean - running mean‖ + ‖variance - running variance‖ over channels, for every image; float32."""
    assert norm.running_mean is not None and norm.running_var is not None
    exact = features.float().flatten(2)
    variance, mean = torch.var_mean(exact, dim=2, correction=0)
    return torch.linalg.vector_norm(mean - norm.running_mean, dim=1) + torch.linalg.vector_norm(
        variance - norm.running_var, dim=1
    )
