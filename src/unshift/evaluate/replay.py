"""What of a published protocol a recipe replays: switches that are off by default, and the sentences that mark tables.

``ram_dsir_2022`` is all of them together with the metric ``asd`` and, for the checkpoint that its training keeps, the
selection rule ``oracle``, which carries its own mark.
"""

from __future__ import annotations

from unshift.evaluate.score import EvaluateConfig
from unshift.predict.settings import PredictConfig

HALF = 0.5
"""The threshold that is no replay: a region is where it is more probable than not."""


def replayed(predict: PredictConfig, evaluate: EvaluateConfig) -> tuple[str, ...]:
    """One sentence for each switch that is on; nothing for the honest protocol."""
    sentences = []
    if predict.batch_norm == "batch":
        sentences.append(
            f"Batch norm used the statistics of test images, {predict.batch_size} at a time: predictions depend on "
            "which images are predicted together."
        )
    if predict.threshold not in (None, HALF):
        sentences.append(f"A region was predicted where its probability is above {predict.threshold:g}.")
    if evaluate.slices == "with_reference":
        sentences.append("Predicted slices whose reference is empty were erased: the target's labels were looked at.")
    if evaluate.distances == "voxels":
        sentences.append("Distances are in voxels, whatever these measure in mm.")
    return tuple(sentences)
