"""What is kept of an image, which image stands for all, and whether a user's choice fits."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from scipy.spatial.distance import cdist

from unshift.embeddings.segmenter import Segmenter
from unshift.errors import DataError
from unshift.normalizations.bank import Bank
from unshift.normalizations.color_methods import color_method
from unshift.normalizations.histogram_equalization import HistogramEqualization
from unshift.normalizations.histograms import color_histograms
from unshift.normalizations.min_max import MinMax
from unshift.normalizations.references import (
    as_batch,
    describe,
    expert_reference,
    fingerprint_of,
    global_reference,
    name_of,
    read_picture,
)
from unshift.sample import Sample
from untrained import untrained_network


def sample(number: int, level: float = 0.3) -> Sample:
    generator = torch.Generator().manual_seed(number)
    return Sample(torch.rand(3, 12, 12, generator=generator) * 0.4 + level, f"c{number}", f"p{number}", "d")


def bank(*samples: Sample) -> Bank:
    return Bank.of([describe(one, ["lab"], None) for one in samples], {})


def test_what_is_kept_of_an_image() -> None:
    one = sample(0)
    embedding = Segmenter(Segmenter.Config(), untrained_network(3), (32, 32))
    entry = describe(one, ["lab", "reinhard"], embedding, digest="d")
    assert (entry.name, entry.patient, entry.flaw, entry.digest) == ("d/c0", "d/p0", "", "d")
    assert torch.equal(entry.embedding, embedding(one.image[None])[0])
    assert torch.equal(entry.histogram, color_histograms(one.image[None])[0])
    assert torch.equal(entry.statistics["reinhard"], color_method("reinhard").statistics(one.image[None])[0])
    assert describe(one.replace(image=torch.zeros(3, 8, 8)), [], None).flaw == "constant and nearly black"
    assert name_of(one.replace(domain="")) == "c0"


def test_the_global_reference_is_scipys_medoid_of_those_that_may_be_one() -> None:
    samples = [*map(sample, range(9)), *(sample(i).replace(image=torch.full((3, 4, 4), 0.5)) for i in range(9, 14))]
    found = bank(*samples)
    vectors = found.histograms / found.histograms.norm(dim=1, keepdim=True)
    means = cdist(vectors.double(), vectors.double()).mean(1)
    means[[bool(flaw) for flaw in found.flaws]] = np.inf
    chosen = global_reference(found, "lab", norm="l2")
    assert chosen.name == found.names[int(means.argmin())]
    assert torch.equal(chosen.statistics, found.statistics["lab"][int(means.argmin())])


def test_an_expert_is_treated_as_source_images_are(tmp_path: Path) -> None:
    path = tmp_path / "dark.png"
    Image.fromarray(np.random.default_rng(0).integers(0, 60, (12, 12, 3), dtype=np.uint8)).save(path)
    equalize = HistogramEqualization(HistogramEqualization.Config())
    plain, equalized = read_picture(path), read_picture(path, [equalize])
    assert torch.equal(equalized.image, equalize.views(plain)[0].image) and plain.image.max() < 0.25
    light = bank(*(sample(i, 0.5) for i in range(8)))
    found = expert_reference(path, "lab", light)
    assert found.name == "dark.png" and "its colors resemble no source image" in found.warning
    like_it = bank(*(plain.replace(case=f"c{i}", patient=f"p{i}", image=plain.image.roll(i, 1)) for i in range(8)))
    assert expert_reference(path, "lab", like_it).warning == ""
    with pytest.raises(DataError, match="no photograph"):
        read_picture(tmp_path / "volume.nii.gz")


def test_fingerprints_name_every_step_before() -> None:
    embedding = Segmenter(Segmenter.Config(), untrained_network(3), (32, 32))
    plain = fingerprint_of(embedding, [])
    assert plain["preprocessing"] == "none" and plain["size"] == "32×32" and len(plain["weights"]) == 64
    steps = [MinMax(MinMax.Config()), HistogramEqualization(HistogramEqualization.Config())]
    both, turned = (fingerprint_of(embedding, s)["preprocessing"] for s in (steps, steps[::-1]))
    assert both.startswith("min_max ") and both != turned
    other = Segmenter(Segmenter.Config(), untrained_network(3, seed=1), (32, 32))
    assert fingerprint_of(other, [])["weights"] != plain["weights"]


def test_values_beyond_colors_are_refused() -> None:
    with pytest.raises(DataError, match=r"values in .* put min_max there"):
        as_batch(sample(0).replace(image=sample(0).image - 0.5))
