"""Which of a training's weights are tested: what each selection rule asks of the data.

Rules without labels look at the images that adaptation may see (``Fold.unlabeled``), and at none that is tested unless
the protocol is transductive. A ceiling, trained on the target itself, has no such images: there the rule is
``source_validation``, whose sources are then the target's own validation patients.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any

from jaxtyping import Float
from torch import Tensor, nn

from unshift.contracts import Normalization, Objective
from unshift.errors import ProtocolError
from unshift.evaluate import select
from unshift.evaluate.protocol import Fold
from unshift.evaluate.score import score
from unshift.evaluate.select import RULES
from unshift.evaluate.unsupervised import mean_entropy, neighborhood_density
from unshift.experiment.record import Run
from unshift.predict.predictor import Predictor
from unshift.randomness import derive
from unshift.recipe import Recipe
from unshift.sample import Case, Sample
from unshift.train.checkpoint import load_weights
from unshift.train.loader import UnlabeledLoader
from unshift.train.loop import Trained


def select_step(
    run: Run,
    fold: Fold,
    objective: Objective,
    *,
    preprocessing: Sequence[Normalization],
    trained: Trained,
    unlabeled: UnlabeledLoader | None,
) -> int:
    """The step whose weights the recipe's rule chooses; a rule that compares loads and scores each kept step.

    Args:
        unlabeled: the target's images as training saw them: styles for ``translated_validation``.
    """
    measure = _measure(run, fold, preprocessing=preprocessing, unlabeled=unlabeled)

    def score_step(step: int) -> float:
        load_weights(objective, trained.folder, step)
        return measure(objective.eval())

    chosen = select.choose(rule_of(run.recipe, fold), trained.folder, score_step=score_step)
    if chosen == "best":
        assert trained.best_step is not None  # the rule has checked it
        return trained.best_step
    return trained.step if chosen == "last" else chosen


def rule_of(recipe: Recipe, fold: Fold) -> str:
    """The recipe's rule; of a fold that trains on the target, ``source_validation`` in place of one without labels."""
    without_labels = RULES[recipe.selection].needs_unlabeled
    return "source_validation" if without_labels and fold.kind == "upper_bound" else recipe.selection


def require_validations(recipe: Recipe, plan: Sequence[Fold]) -> None:
    """Raise before the first training for folds in which a rule without labels would have nothing to compare.

    Raises:
        ProtocolError: no validation, so that no weights but the last are kept.
    """
    rule = RULES[recipe.selection]
    for fold in plan if rule.needs_unlabeled else ():
        if not fold.validation:
            raise ProtocolError(
                f"Fold {fold.name!r}: has no validation patients; selection {rule.name} compares the weights of every "
                "validation. Give protocol.validation a share of patients, or set selection: last."
            )


def require_translation(objective: Objective, *, recipe: Recipe, pipeline: str) -> None:
    """Raise before a training whose weights ``translated_validation`` could not compare.

    Raises:
        ProtocolError: the objective does not translate.
    """
    if translator(objective) is None:
        name = recipe.pipelines[pipeline].objective.name
        raise ProtocolError(
            f"Pipeline {pipeline!r}: objective {name}, as it is set, does not translate source images into the "
            "target's style; selection translated_validation needs one that does, such as style_translation or glua "
            "with a translation, in every pipeline. Leave the pipeline out, or choose another rule (last, entropy)."
        )


def translator(objective: Any) -> Callable[[Tensor, Tensor], Tensor] | None:
    """(source images, as many target images) -> source images in their style: the objective's, or its first stage's."""
    return getattr(getattr(objective, "translation", objective), "translated", None)


def validator(
    run: Run,
    cases: Sequence[Case],
    preprocessing: Sequence[Normalization],
    *,
    shown: Callable[[Objective, int], nn.Module] = lambda objective, index: objective,
) -> Callable[[Objective], float] | None:
    """Objective -> mean Dice over cases and regions, in [0, 1]; cases are read once.

    Args:
        shown: objective, number of the case -> what predicts it.
    """
    if not cases:
        return None
    cache: dict[str, Sample] = {}
    config = run.recipe.evaluate.only("dice")

    def validate(objective: Objective) -> float:
        values = []
        for index, case in enumerate(cases):
            predictor = _predictor(run, objective, preprocessing, model=shown(objective, index))
            if case.key not in cache:
                cache[case.key] = run.dataset.read(case)
            reference = cache[case.key]
            rows = score(predictor.predict(reference.unlabeled()), reference, run.dataset.task, config=config)
            values += [row.value for row in rows if row.value == row.value]
        return sum(values) / len(values) if values else math.nan

    return validate


class Restyled(nn.Module):
    """An objective that is shown images in the style of one target image."""

    def __init__(self, objective: Objective, style: Float[Tensor, "channel height width"]) -> None:
        super().__init__()
        self.objective, self.style = objective, style

    def forward(self, images: Float[Tensor, "batch channel height width"]) -> Float[Tensor, "batch class height width"]:
        """Logits of the translated images."""
        translate = translator(self.objective)
        assert translate is not None  # checked before training
        logits: Tensor = self.objective(translate(images, self.style.to(images).expand(len(images), -1, -1, -1)))
        return logits


def _measure(
    run: Run, fold: Fold, *, preprocessing: Sequence[Normalization], unlabeled: UnlabeledLoader | None
) -> Callable[[Objective], float]:
    """What the rule scores weights by, higher is better; rules that do not compare have nothing to score."""
    rule, nothing = rule_of(run.recipe, fold), lambda objective: math.nan
    if rule == "oracle":
        target = [case for case in fold.test if fold.kind == "upper_bound" or not fold.seen(case)]
        return validator(run, target, preprocessing) or nothing
    if rule == "translated_validation":
        assert unlabeled is not None  # an objective that translates adapts
        styles = unlabeled.batch(0).images
        shown = lambda objective, index: Restyled(objective, styles[index % len(styles)])  # noqa: E731
        return validator(run, fold.validation, preprocessing, shown=shown) or nothing
    if rule in ("entropy", "neighborhood_density"):
        return lambda objective: _without_labels(run, fold, objective, preprocessing, rule=rule)
    return nothing


def _without_labels(
    run: Run, fold: Fold, objective: Objective, preprocessing: Sequence[Normalization], *, rule: str
) -> float:
    """Mean over the unlabeled images of the rule's criterion, which reads no label; each image counts the same."""
    predictor = _predictor(run, objective, preprocessing, probabilities=True)
    values = []
    for case in fold.unlabeled:
        sample = run.dataset.read_image(case).unlabeled()
        found = predictor.predict(sample).probabilities
        assert found is not None  # asked for
        if rule == "entropy":
            values.append(-mean_entropy(found, sample.field_of_view))
        else:
            seed = derive(run.recipe.seeds[0], case.key)
            values.append(neighborhood_density(found, sample.field_of_view, seed=seed))
    return sum(values) / len(values)


def _predictor(
    run: Run,
    objective: Objective,
    preprocessing: Sequence[Normalization],
    *,
    model: nn.Module | None = None,
    probabilities: bool = False,
) -> Predictor:
    return Predictor(
        model or objective,
        run.dataset.task,
        input=run.recipe.input,
        config=run.recipe.predict.honest().model_copy(update={"probabilities": probabilities}),
        preprocessing=preprocessing,
        size_divisor=objective.network.size_divisor,
        device=next(objective.parameters()).device,
    )
