"""Each switch of a published protocol has its sentence; the honest protocol has none."""

from __future__ import annotations

from unshift.evaluate.replay import replayed
from unshift.evaluate.score import EvaluateConfig
from unshift.predict.settings import PredictConfig


def test_the_honest_protocol_replays_nothing() -> None:
    assert replayed(PredictConfig(mirror=True, fill_holes=True), EvaluateConfig(metrics=("asd",))) == ()


def test_each_switch_has_one_sentence() -> None:
    honest = PredictConfig(), EvaluateConfig()
    alone = [
        replayed(PredictConfig(batch_norm="batch", batch_size=8), honest[1]),
        replayed(PredictConfig(threshold=0.75), honest[1]),
        replayed(honest[0], EvaluateConfig(slices="with_reference")),
        replayed(honest[0], EvaluateConfig(distances="voxels")),
    ]
    assert [len(sentences) for sentences in alone] == [1, 1, 1, 1]
    together = replayed(
        PredictConfig(batch_norm="batch", batch_size=8, threshold=0.75),
        EvaluateConfig(slices="with_reference", distances="voxels"),
    )
    assert together == tuple(sentence for (sentence,) in alone)
    assert "8 at a time" in together[0] and "above 0.75" in together[1] and "labels were looked at" in together[2]
