from __future__ import annotations

from collections import Counter
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from unshift.augmentations.amplitude_mix import AmplitudeMix, Config
from unshift.contracts import Dataset
from unshift.datasets.phantom import Config as PhantomConfig
from unshift.datasets.phantom import Phantom
from unshift.errors import DataError, ProtocolError
from unshift.evaluate.protocol import ProtocolConfig, folds
from unshift.geometry import InputConfig
from unshift.sample import Case, Sample
from unshift.train.loader import Loader
from unshift.train.settings import TrainConfig

DOMAINS = ("a", "b", "c", "a")


def build(**settings: Any) -> AmplitudeMix:
    return AmplitudeMix(Config(**settings))


def generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def smooth(shape: tuple[int, ...], seed: int = 0) -> Tensor:
    """Images between 0.3 and 0.7, so that mixing does not clip."""
    return 0.3 + 0.4 * torch.rand(shape, generator=generator(seed))


def fixed(count: int, share: float, partner: list[int]) -> dict[str, Tensor]:
    return {"share": torch.full((count,), share), "partner": torch.tensor(partner)}


def test_the_formula_by_numpy_with_clipping() -> None:
    images = torch.rand(4, 3, 40, 48, generator=generator())
    images[1] *= 0.2
    member = build()
    parameters = member.draw(generator(3), images, DOMAINS)
    found = member.apply(images, parameters).numpy()
    x, half = images.double().numpy(), 4
    for index, (share, partner) in enumerate(zip(*(parameters[n].tolist() for n in ("share", "partner")), strict=True)):
        for channel in range(3):
            own, other = (np.fft.fftshift(np.fft.fft2(x[i, channel])) for i in (index, partner))
            amplitude = np.abs(own)
            window = (slice(20 - half, 21 + half), slice(24 - half, 25 + half))
            amplitude[window] = share * amplitude[window] + (1 - share) * np.abs(other)[window]
            expected = np.fft.ifft2(np.fft.ifftshift(amplitude * np.exp(1j * np.angle(own)))).real.clip(0, 1)
            np.testing.assert_allclose(found[index, channel], expected, atol=2e-6)
    assert found.min() == 0 or found.max() == 1, "some values were clipped"


def test_oracles_of_share_partner_mean_and_phase() -> None:
    images, member = smooth((3, 3, 40, 40)), build()
    assert torch.equal(member.apply(images, fixed(3, 1.0, [1, 2, 0])), images)
    torch.testing.assert_close(member.apply(images, fixed(3, 0.4, [0, 1, 2])), images, atol=4e-6, rtol=0)
    images[1] *= 1.3
    found = member.apply(images, fixed(3, 0.4, [1, 2, 0]))
    expected = 0.4 * images.mean((2, 3)) + 0.6 * images[[1, 2, 0]].mean((2, 3))
    torch.testing.assert_close(found.mean((2, 3)), expected)
    turned = np.angle(np.fft.fft2(found.double().numpy()) / np.fft.fft2(images.double().numpy()))
    assert np.abs(turned).max() < 1e-2


def test_shares_are_the_grid_of_the_paper_or_continuous() -> None:
    images = torch.zeros(500, 1, 1, 1)
    drawn = Counter((10 * build().draw(generator(), images)["share"]).round().int().tolist())
    assert set(drawn) == set(range(1, 11)) and 0.05 < drawn[10] / 500 < 0.15, "one view in ten is the image"
    grid = build().draw(generator(), images)["share"]
    torch.testing.assert_close(10 * grid, (10 * grid).round())
    shares = build(share="continuous").draw(generator(), images)["share"]
    assert len(shares.unique()) > 450 and float(shares.min()) < 0.05 and float(shares.max()) > 0.95


def test_a_partner_of_any_domain() -> None:
    images = torch.zeros(4, 1, 8, 8)
    found = {int(build(partner="any_domain").draw(generator(s), images, DOMAINS)["partner"][0]) for s in range(60)}
    assert found == {0, 1, 2, 3}
    with pytest.raises(ProtocolError, match="sampling: balanced"):
        build().draw(generator(), images, ("a",) * 4)


def test_windows() -> None:
    assert build().half_width((256, 256)) == (25, 25) and build().half_width((384, 384)) == (38, 38)
    assert build().half_width((3, 384, 384)) == (38, 38)
    assert build(transform="volume").half_width((24, 96, 128)) == (2, 9, 9)
    assert build(transform="volume").half_width((96, 24, 24)) == (9, 2, 2)
    assert build(transform="volume").half_width((96, 24, 128)) == (9, 2, 2)
    assert build(transform="volume").half_width((96, 128)) == (9, 9)
    assert build(window=0).half_width((64, 64)) == (0, 0)


def test_slices_of_a_volume_are_mixed_one_by_one_or_together() -> None:
    images, parameters = smooth((2, 1, 20, 32, 32)), fixed(2, 0.3, [1, 0])
    planes = build().apply(images, parameters)
    alone = build().apply(images[:, :, 7], parameters)
    torch.testing.assert_close(planes[:, :, 7], alone)
    volume = build(transform="volume").apply(images, parameters)
    expected = 0.3 * images.mean((2, 3, 4)) + 0.7 * images.flip(0).mean((2, 3, 4))
    torch.testing.assert_close(volume.mean((2, 3, 4)), expected)
    assert float((volume - planes).abs().max()) > 1e-3


def test_intensities_of_other_units_are_clipped_to_what_the_pair_spans() -> None:
    images = 300 * torch.randn(3, 1, 32, 32, generator=generator())
    with pytest.raises(DataError, match=r"amplitude_mix: intensities span .* intensities: image"):
        build().apply(images, fixed(3, 0.5, [1, 2, 0]))
    found = build(intensities="image").apply(images, fixed(3, 0.0, [1, 2, 0]))
    for row, partner in enumerate([1, 2, 0]):
        pair = images[[row, partner]]
        assert float(found[row].min()) > float(pair.min()) - 1e-3 and float(found[row].max()) < float(pair.max()) + 1e-3
    far = torch.stack([-1000 + image for image in smooth((3, 1, 32, 32))]) - torch.tensor([0, 5, 9]).view(3, 1, 1, 1)
    found = build(intensities="image").apply(far, fixed(3, 0.25, [1, 2, 0]))
    expected = 0.25 * far.mean((1, 2, 3)) + 0.75 * far[[1, 2, 0]].mean((1, 2, 3))
    torch.testing.assert_close(found.mean((1, 2, 3)), expected, atol=0.02, rtol=0)


def test_overshoots_at_hard_edges_are_clipped_to_what_the_pair_spans() -> None:
    images = torch.zeros(2, 1, 32, 32)
    images[0, :, 5:16, 7:20], images[1, :, 9:26, 3:10] = 1, 1
    images[1] = 3 * images[1] - 5
    found = build(intensities="image").apply(images, fixed(2, 0.0, [1, 0]))
    half = 3
    x = images.double().numpy()[:, 0]
    for row, partner in ((0, 1), (1, 0)):
        own, other = (np.fft.fftshift(np.fft.fft2(x[i] - x[i].min())) for i in (row, partner))
        window = (slice(16 - half, 17 + half),) * 2
        amplitude = np.abs(own)
        amplitude[window] = np.abs(other)[window]
        mixed = np.fft.ifft2(np.fft.ifftshift(amplitude * np.exp(1j * np.angle(own)))).real + x[partner].min()
        assert mixed.min() < x.min() - 0.05 or mixed.max() > x.max() + 0.05, "it overshoots"
        np.testing.assert_allclose(found[row, 0].numpy(), mixed.clip(x.min(), x.max()), atol=1e-4)
    assert float(found.min()) >= -5 and float(found.max()) <= 1


@pytest.mark.parametrize("intensities", ["unit", "image"])
def test_images_of_share_one_stay_bit_for_bit(intensities: str) -> None:
    draw = torch.rand if intensities == "unit" else torch.randn
    images = 1.08 * draw(3, 2, 24, 24, generator=generator()) - 0.04
    before = images.clone()
    parameters = {"share": torch.tensor([1, 0.3, 1]), "partner": torch.tensor([1, 2, 0])}
    found = build(intensities=intensities).apply(images, parameters)
    assert torch.equal(found[[0, 2]], images[[0, 2]]) and torch.equal(images, before)
    assert not torch.isclose(found[1], images[1]).all()


class Watched(Phantom):
    """Notes which images are read."""

    def __init__(self, config: PhantomConfig) -> None:
        super().__init__(config)
        self.read_cases: set[str] = set()

    def read_image(self, case: Case) -> Sample:
        self.read_cases.add(case.domain)
        return super().read_image(case)


def test_a_held_out_domain_is_never_read_and_never_a_partner() -> None:
    """The loader opens the sources' images alone, and every partner in its batches is of another source."""
    config = PhantomConfig(world="ultrasound", size=32, cases=6, domains=("A", "B", "C"))
    for fold in folds(Watched(config), ProtocolConfig(leave_one_out=True, test=0.2), seed=0):
        dataset: Dataset = Watched(config)
        held_out = ({"A", "B", "C"} - set(fold.sources)).pop()
        train = TrainConfig(batch_size=4, sampling="balanced", workers=0)
        loader = Loader(
            dataset, fold.train, input=InputConfig(size=(32, 32)), config=train, seed=1, prepare=lambda sample: sample
        )
        member, seen = build(), set()
        for step in range(12):
            batch = loader.batch(step)
            partners = member.draw(batch.generator(), batch.images, batch.domains)["partner"].tolist()
            seen |= {batch.domains[partner] for partner in partners}
            assert all(batch.domains[p] != own for p, own in zip(partners, batch.domains, strict=True))
        assert seen == set(fold.sources) and held_out not in seen
        assert dataset.read_cases == set(fold.sources)
