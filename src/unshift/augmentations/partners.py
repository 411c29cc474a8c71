"""Augmentations that mix images of a batch, and who is whose partner: of another source domain, then any image of it.

Partners come from the batch, whose domains sampling balances. A held-out domain is in no batch of a training, and so
cannot be anybody's partner, whatever an augmentation does.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence

import torch
from jaxtyping import Float, Int
from torch import Tensor

from unshift.augmentations.drawing import uniform
from unshift.contracts import Augmentation
from unshift.errors import ProtocolError


class MixingAugmentation(Augmentation, ABC):
    """An augmentation that gives an image something of another image of the same batch.

    Its parameters hold ``partner``, int64 [batch]: for each image the row of ``images`` that it takes from, so that
    whoever is not in the batch, and a held-out domain never is, cannot be one.
    """

    @abstractmethod
    def draw(
        self,
        generator: torch.Generator,
        images: Float[Tensor, "batch channel *space"],
        domains: Sequence[str] = (),
    ) -> dict[str, Tensor]:
        """As :meth:`Augmentation.draw`; ``domains``, one an image, say who may be whose partner."""


def draw_partners(
    generator: torch.Generator, count: int, domains: Sequence[str] = (), *, own: bool = False
) -> Int[Tensor, "batch"]:
    """A row of the batch for each of its ``count`` images; always two draws an image.

    Args:
        generator: of all randomness.
        count: images in the batch.
        domains: of the images; empty when they are not known: then the partner is any other image.
        own: whether an image's own domain, and the image itself, may be drawn too.

    Raises:
        ProtocolError: nobody is left to be a partner: the batch holds one domain, or one image.
    """
    names = tuple(domains) or tuple(str(row) for row in range(count))
    rows = {name: [row for row, other in enumerate(names) if other == name] for name in dict.fromkeys(names)}
    if len(rows) < 2 and not own:
        raise ProtocolError(
            f"Amplitudes and styles are mixed between domains: a batch of {count} images holds "
            f"{f'only {names[0]!r}' if domains else 'one image'}; images of two source domains are required. "
            "Train on two domains or more, set train.sampling: balanced, and train.batch_size to at least their number."
        )
    first, second = uniform(generator, (2, count), 0, 1).tolist()
    partners = []
    for name, which_domain, which_row in zip(names, first, second, strict=True):
        pools = [pool for other, pool in rows.items() if own or other != name]
        pool = pools[int(which_domain * len(pools))]
        partners.append(pool[int(which_row * len(pool))])
    return torch.tensor(partners, dtype=torch.int64)
