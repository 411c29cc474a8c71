"""A VGG whose pooling is undone exactly: Haar wavelets, and the mirrored decoder that turns features into images again.

Yoo et al., "Photorealistic Style Transfer via Wavelet Transforms", ICCV 2019 (WCT2). The encoder is VGG up to relu4_1
with Haar pooling in place of max pooling: the low band goes on, the three others go to the matching unpooling of the
decoder. ``sum`` adds the four unpooled bands, which gives back what was pooled; ``cat5`` concatenates them with the
feature before pooling. All 3 × 3 convolutions pad by reflection.

Differences: the channel statistics that the VGG expects are buffers and not a 1 × 1 convolution, so that one network
serves any VGG; widths may be smaller than VGG's. The VGG-19 ``cat5`` network has 10,107,523 parameters; Table 3 of
DINSeg says 10.66 M for WCT-AIN, of which we cannot explain 0.55 M.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Literal

import torch
from jaxtyping import Float
from safetensors import SafetensorError, safe_open
from safetensors.torch import save
from torch import Tensor, nn

from unshift.errors import BundleError
from unshift.weights import IMAGENET_DEVIATION, IMAGENET_MEAN, load_exactly, read_weights

Visit = Callable[[str, Tensor], Tensor]
Option = Literal["sum", "cat5"]
Bands = tuple[Tensor, Tensor, Tensor, Tensor]

DIVISOR = 16
"""Sides of images are multiples of this: three poolings, and two pixels left to reflect."""
WIDTHS = (64, 128, 256, 512)
BLOCKS = (1, 2, 3)
_BAND_NAMES = ("lh", "hl", "hh")


def haar_pool(x: Float[Tensor, "batch channel height width"]) -> Bands:
    """The bands LL, LH, HL, HH, each of half the size; height and width must be even.

    The first letter is the filter along the height, the second along the width; L = (1, 1)/√2 and H = (-1, 1)/√2.
    """
    a, b = x[..., 0::2, 0::2], x[..., 0::2, 1::2]
    c, d = x[..., 1::2, 0::2], x[..., 1::2, 1::2]
    top, bottom, right_of_top, right_of_bottom = a + b, c + d, b - a, d - c
    bands = (top + bottom, right_of_top + right_of_bottom, bottom - top, right_of_bottom - right_of_top)
    ll, lh, hl, hh = (band / 2 for band in bands)
    return ll, lh, hl, hh


def haar_unpool(bands: Bands) -> Bands:
    """Each band by itself at twice the size (the transposed filters); their sum is what :func:`haar_pool` was given."""
    signs = ((1, 1, 1, 1), (-1, 1, -1, 1), (-1, -1, 1, 1), (1, -1, -1, 1))
    ll, lh, hl, hh = (_spread(band / 2, sign) for band, sign in zip(bands, signs, strict=True))
    return ll, lh, hl, hh


def _spread(band: Tensor, signs: tuple[int, int, int, int]) -> Tensor:
    pattern = band.new_tensor(signs).view(2, 1, 2)
    height, width = band.shape[-2:]
    return (band[..., :, None, :, None] * pattern).reshape(*band.shape[:-2], 2 * height, 2 * width)


def unchanged(name: str, feature: Tensor) -> Tensor:
    """The visitor that leaves every feature as it is."""
    return feature


class WaveletAutoencoder(nn.Module):
    """VGG to relu4_1 with Haar pooling, and its mirror image.

    A visitor sees, and may replace, each feature on its way: ``encoder_1`` … ``encoder_4`` (relu1_1 … relu4_1),
    ``skip_1_lh`` … ``skip_3_hh``, and ``decoder_4`` … ``decoder_1``, which enter the stages of the decoder and have the
    size and channels of the encoder's feature of that number (``decoder_4`` is what comes out of the encoder).

    Args:
        widths: channels of the four blocks.
        third: convolutions in the third block: 3 of VGG-16, 4 of VGG-19.
        option: how a pooling is undone.
        mean, deviation: of the RGB images that the encoder was trained on.
    """

    def __init__(
        self,
        widths: Sequence[int] = WIDTHS,
        *,
        third: int = 4,
        option: Option = "cat5",
        mean: Sequence[float] = IMAGENET_MEAN,
        deviation: Sequence[float] = IMAGENET_DEVIATION,
    ) -> None:
        super().__init__()
        self.option, self.counts = option, (2, 2, third)
        self.register_buffer("mean", torch.tensor(mean).view(3, 1, 1))
        self.register_buffer("deviation", torch.tensor(deviation).view(3, 1, 1))
        self.mean: Tensor
        self.deviation: Tensor
        self.encoder, self.decoder = nn.ModuleDict(), nn.ModuleDict()
        before, factor = 3, 5 if option == "cat5" else 1
        for block, (width, count) in enumerate(zip(widths, (*self.counts, 1), strict=True), start=1):
            for index in range(1, count + 1):
                name, last = f"conv{block}_{index}", index == count and block < len(widths)
                self.encoder[name] = _convolution(before, width)
                self.decoder[name] = _convolution(width * factor if last else width, before)
                before = width

    def forward(
        self, images: Float[Tensor, "batch 3 height width"], visit: Visit = unchanged
    ) -> Float[Tensor, "batch 3 height width"]:
        """Images in [0, 1], sides multiples of 16 -> images near [0, 1], not clipped."""
        feature, skips = self.encode(images, visit)
        return self.decode(feature, skips, visit)

    def encode(self, images: Tensor, visit: Visit = unchanged) -> tuple[Tensor, list[tuple[Tensor, list[Tensor]]]]:
        """The feature relu4_1, and for each block what its unpooling needs: the feature before, and LH, HL, HH."""
        skips = []
        x = visit("encoder_1", self._apply_convolution("encoder", "conv1_1", (images - self.mean) / self.deviation))
        for block, count in zip(BLOCKS, self.counts, strict=True):
            for index in range(2, count + 1):
                x = self._apply_convolution("encoder", f"conv{block}_{index}", x)
            low, *high = haar_pool(x)
            skips.append((x, [visit(f"skip_{block}_{n}", band) for n, band in zip(_BAND_NAMES, high, strict=True)]))
            x = visit(f"encoder_{block + 1}", self._apply_convolution("encoder", f"conv{block + 1}_1", low))
        return x, skips

    def decode(self, x: Tensor, skips: Sequence[tuple[Tensor, list[Tensor]]], visit: Visit = unchanged) -> Tensor:
        """The inverse of :meth:`encode`, as far as it was learned."""
        for block, count in reversed(list(zip(BLOCKS, self.counts, strict=True))):
            low = self._apply_convolution("decoder", f"conv{block + 1}_1", visit(f"decoder_{block + 1}", x))
            original, (lh, hl, hh) = skips[block - 1]
            bands = haar_unpool((low, lh, hl, hh))
            x = torch.cat([*bands, original], dim=1) if self.option == "cat5" else sum(bands, torch.zeros(()).to(low))
            for index in range(count, 1, -1):
                x = self._apply_convolution("decoder", f"conv{block}_{index}", x)
        return self.decoder["conv1_1"](visit("decoder_1", x))

    def _apply_convolution(self, side: str, name: str, x: Tensor) -> Tensor:
        return torch.relu(getattr(self, side)[name](x))


def _convolution(inputs: int, outputs: int) -> nn.Conv2d:
    return nn.Conv2d(inputs, outputs, 3, padding=1, padding_mode="reflect")


# ------------------------------------------------------------------------------------------------------- files


def from_state(state: Mapping[str, Tensor], *, where: str) -> WaveletAutoencoder:
    """The network that has these weights; its widths and kind are read off their shapes.

    Raises:
        BundleError: a tensor is missing, unknown or of another shape.
    """
    firsts = [state.get(f"encoder.conv{block}_1.weight") for block in (*BLOCKS, 4)]
    third = 4 if "encoder.conv3_4.weight" in state else 3
    last = state.get(f"decoder.conv3_{third}.weight")
    if last is None or any(weight is None or weight.ndim != 4 for weight in firsts):
        raise BundleError(f"{where}: holds no encoder and decoder of WCT-AIN. Write one: unshift prepare wct_ain.")
    widths = [len(weight) for weight in firsts if weight is not None]
    option: Option = "cat5" if last.shape[1] == 5 * widths[2] else "sum"
    network = WaveletAutoencoder(widths, third=third, option=option)
    load_exactly(network, state, where=where)
    return network.eval()


def save_autoencoder(path: Path, network: WaveletAutoencoder, *, origin: str) -> None:
    """Write all weights; the header says where they come from. A reader sees the old file or the new one."""
    path.parent.mkdir(parents=True, exist_ok=True)
    state = {name: value.detach().cpu().contiguous() for name, value in network.state_dict().items()}
    temporary = path.with_name(f".{path.name}.partial")
    temporary.write_bytes(save(state, metadata={"origin": origin}))
    temporary.replace(path)


def load_autoencoder(path: Path) -> tuple[WaveletAutoencoder, str]:
    """The network of a file and where its weights come from.

    Raises:
        BundleError: no such file, damaged, or of something else.
    """
    network = from_state(read_weights(path), where=str(path))
    try:
        with safe_open(path, framework="pt") as opened:
            origin = (opened.metadata() or {}).get("origin", "")
    except (SafetensorError, OSError) as error:
        raise BundleError(f"{path}: cannot be read as weights ({error}). Write it again: unshift prepare.") from None
    return network, origin or f"{path.name}, which does not say where it comes from"
