from __future__ import annotations

import numpy as np
import pytest

from unshift.phantom.abdomen import ORGANS, TISSUES, Abdomen, Ellipsoid, label_map

N = 64
Z, Y, X = np.meshgrid(*(np.linspace(a, a + 1, N, dtype=np.float32) for a in (0, -0.5, -0.5)), indexing="ij")


def test_an_ellipsoid_has_its_volume() -> None:
    shape = Ellipsoid("liver", (0, 0, 0.5), (0.4, 0.3, 0.2), 0.5)
    inside = shape.inside(X, Y, Z, np.zeros(1, np.float32))
    assert inside.mean() == pytest.approx(4 / 3 * np.pi * 0.4 * 0.3 * 0.2, rel=0.06)


def test_labels_are_the_organs_in_order() -> None:
    labels = label_map(np.arange(len(TISSUES), dtype=np.uint8))
    for tissue, label in zip(TISSUES, labels, strict=True):
        assert label == (ORGANS.index(tissue) + 1 if tissue in ORGANS else 0)


def test_all_tissues_are_in_a_body_surrounded_by_air() -> None:
    for seed in range(6):
        tissues = Abdomen.draw(np.random.default_rng(seed)).tissues(X, Y, Z)
        assert set(np.unique(tissues)) == set(range(len(TISSUES)))
        for face in (tissues[:, 0], tissues[:, -1], tissues[:, :, 0], tissues[:, :, -1]):
            assert not face.any()


def test_organs_are_on_their_sides() -> None:
    for seed in range(6):
        tissues = Abdomen.draw(np.random.default_rng(seed)).tissues(X, Y, Z)
        middle = {organ: X[tissues == TISSUES.index(organ)].mean() for organ in ORGANS}
        assert middle["liver"] < 0 and middle["right_kidney"] < 0
        assert middle["left_kidney"] > 0 and middle["spleen"] > 0
        share = {organ: np.mean(tissues == TISSUES.index(organ)) for organ in ORGANS}
        assert max(share, key=lambda organ: share[organ]) == "liver"
        assert min(share.values()) > 0.001


def test_patients_differ() -> None:
    one, other = (Abdomen.draw(np.random.default_rng(s)).tissues(X, Y, Z) for s in (0, 1))
    assert 0.03 < np.mean(one != other) < 0.7
