"""Batch normalization with statistics, scale and shift of each source domain's own."""

from __future__ import annotations

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn

from unshift.errors import ShapeMismatch


class DomainBatchNorm(nn.Module):
    """Each image is normalized with the images of its own domain: as if a batch norm of torch stood there per domain.

    Scale and shift are one parameter [domain, channel] each, so that a domain that a batch does not hold gets a
    gradient of 0 and not none, which is what training on several processes needs. In two and three dimensions.

    Args:
        domains: how many.
        channels: of the features.
    """

    def __init__(self, domains: int, channels: int, *, momentum: float = 0.1, eps: float = 1e-5) -> None:
        super().__init__()
        self.momentum, self.eps = momentum, eps
        self.weight = nn.Parameter(torch.ones(domains, channels))
        self.bias = nn.Parameter(torch.zeros(domains, channels))
        self.register_buffer("running_mean", torch.zeros(domains, channels))
        self.register_buffer("running_var", torch.ones(domains, channels))
        self.running_mean: Tensor
        self.running_var: Tensor

    def forward(
        self, features: Float[Tensor, "batch channel *space"], counts: Sequence[int]
    ) -> Float[Tensor, "batch channel *space"]:
        """Features, sorted by domain, -> the same, normalized.

        Args:
            counts: images of each domain, in the domains' order; 0 for one that is not there.

        Raises:
            ShapeMismatch: there are not as many counts as domains, or not as many images as they say; in training, a
                domain has one value a channel.
        """
        if len(counts) != len(self.weight) or sum(counts) != len(features):
            raise ShapeMismatch(
                f"Domain batch norm of {len(self.weight)} domains: counts are {list(counts)} for {len(features)} "
                "images; one count a domain is required, and as many images in all. Sort the images by domain."
            )
        parts = []
        for domain, part in enumerate(features.split(list(counts))):
            if len(part):
                parts.append(self._normalized(part, domain))
        return torch.cat(parts) if len(parts) > 1 else parts[0]

    def _normalized(self, part: Tensor, domain: int) -> Tensor:
        if self.training and part[:, 0].numel() < 2:
            raise ShapeMismatch(
                "Domain batch norm: a domain has one image of one pixel here, which has no deviation; two values are "
                "required. Raise train.batch_size, or the input's size."
            )
        return F.batch_norm(
            part,
            self.running_mean[domain],
            self.running_var[domain],
            self.weight[domain],
            self.bias[domain],
            training=self.training,
            momentum=self.momentum,
            eps=self.eps,
        )
