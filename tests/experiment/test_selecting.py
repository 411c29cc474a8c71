"""Selection in an experiment: what each rule chooses between a sensible network and one that has collapsed."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from scipy.stats import entropy
from torch import Tensor

from experiment_recipes import TINY, tiny
from unshift.contracts import Objective
from unshift.errors import ProtocolError
from unshift.evaluate.protocol import Fold
from unshift.experiment import selecting
from unshift.experiment.record import Run
from unshift.experiment.run import prepare
from unshift.experiment.selecting import Restyled, rule_of, select_step, translator, validator
from unshift.experiment.training import build_objective
from unshift.predict.predictor import Predictor
from unshift.randomness import derive, numpy_generator
from unshift.recipe import Recipe
from unshift.train import checkpoint
from unshift.train.checkpoint import State, load_weights, steps_kept
from unshift.train.loader import UnlabeledLoader
from unshift.train.loop import Trained

TRANSLATING: dict[str, Any] = {
    "name": "style_translation",
    "translator": {"width": 4, "blocks": 1, "style_depth": 3},
    "judges": {"width": 4, "scales": 1, "depth": 3, "content_depth": 2},
}
KEPT = {"train": {**TINY["train"], "steps": 6, "validate_every": 2, "keep": "all", "workers": 0}}
Made = tuple[Run, Fold, Any, Trained]
RULES = ("entropy", "neighborhood_density", "translated_validation")


def recipe(selection: str, **changes: Any) -> Recipe:
    return tiny(selection=selection, pipelines={"baseline": {"objective": TRANSLATING}}, **{**KEPT, **changes})


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Made:
    """Weights of steps 2 and 6 that call half of all pixels foreground, those of step 2 surer; step 4 has collapsed."""
    folder = tmp_path_factory.mktemp("selecting")
    run, (fold,) = prepare(recipe("last"), root=None, runs=folder)
    images = stream(run, fold).batch(0).images
    for step, sureness in ((2, 8.0), (4, 0.0), (6, 2.0)):
        objective = build_objective(run.recipe, "baseline", run.dataset.task, sources=("A",), seed=step).eval()
        last = [module for module in objective.network.modules() if isinstance(module, torch.nn.Conv2d)][-1]
        with torch.no_grad():
            margin = objective(images).diff(dim=1)
            last.weight *= sureness / margin.std()
            last.bias *= sureness / margin.std()  # type: ignore[operator]
            last.bias += torch.tensor(
                [0.0, -float(sureness * margin.median() / margin.std())] if sureness else [40.0, -40.0]
            )
        checkpoint.save(folder, objective, {}, State(step=step))
    assert steps_kept(folder) == [2, 4, 6] and run.dataset.task.num_classes == 2
    return run, fold, objective, Trained(folder, 6, None, None, True, "steps")


def stream(run: Run, fold: Fold) -> UnlabeledLoader:
    return UnlabeledLoader(
        run.dataset, fold.unlabeled, input=run.recipe.input, config=run.recipe.train, seed=0, prepare=lambda s: s
    )


def chosen(made: Made, rule: str) -> int:
    run, fold, objective, trained = made
    changed = replace(run, recipe=recipe(rule))
    return select_step(changed, fold, objective, preprocessing=(), trained=trained, unlabeled=stream(run, fold))


def measures(made: Made, rule: str) -> dict[int, float]:
    """What the rule scores the steps 2 and 6 by."""
    run, fold, objective, trained = made
    changed, found = replace(run, recipe=recipe(rule)), {}
    measure = selecting._measure(changed, fold, preprocessing=(), unlabeled=stream(run, fold))
    for step in (2, 6):
        load_weights(objective, trained.folder, step)
        found[step] = measure(objective.eval())
    return found


def predictions(made: Made, step: int) -> list[Tensor]:
    """Of each unlabeled image the probabilities [class, valid pixel]."""
    run, fold, objective, trained = made
    load_weights(objective, trained.folder, step)
    config = run.recipe.predict.model_copy(update={"probabilities": True})
    predictor = Predictor(objective.eval(), run.dataset.task, input=run.recipe.input, config=config)
    found = []
    for case in fold.unlabeled:
        sample = run.dataset.read_image(case)
        probabilities = predictor.predict(sample).probabilities
        assert probabilities is not None and sample.field_of_view is not None
        found.append(probabilities[:, sample.field_of_view])
    return found


def test_entropy_and_density_choose_the_collapsed_network(made: Made) -> None:
    """Known of both, and said where they are described: a network that is sure of one class everywhere wins."""
    assert chosen(made, "entropy") == 4
    assert chosen(made, "neighborhood_density") == 4
    assert all(float(part[0].min()) == 1 for part in predictions(made, 4))


def likeness(probabilities: Tensor, seed: int) -> float:
    """The density by SciPy."""
    pixels = probabilities.T.double().numpy()
    vectors = pixels[numpy_generator(seed, "density").permutation(len(pixels))[:100]]
    vectors = vectors / np.linalg.norm(vectors, axis=1, keepdims=True)
    table = np.exp(vectors @ vectors.T / 0.05)
    np.fill_diagonal(table, 0)
    return float(entropy(table, axis=1).mean())


def test_without_a_collapse_they_choose_by_their_values(made: Made, monkeypatch: Any) -> None:
    monkeypatch.setattr("unshift.evaluate.select.steps_kept", lambda folder: [2, 6])
    found = {step: predictions(made, step) for step in (2, 6)}
    values = {
        step: -float(np.mean([entropy(part, axis=0, base=2).mean() for part in parts])) for step, parts in found.items()
    }
    assert values[2] > values[6] and chosen(made, "entropy") == 2
    assert measures(made, "entropy") == pytest.approx(values, rel=1e-4)
    seeds = [derive(0, case.key) for case in made[1].unlabeled]
    density = {step: float(np.mean([*map(likeness, parts, seeds)])) for step, parts in found.items()}
    assert chosen(made, "neighborhood_density") == max(density, key=density.__getitem__)
    assert measures(made, "neighborhood_density") == pytest.approx(density, rel=1e-4)


def test_translated_validation_sees_through_a_collapse(made: Made) -> None:
    """Each validation image in the style of a target image of its own, Dice with its labels."""
    run, fold, objective, trained = made
    styles = stream(run, fold).batch(0).images
    scores = {}
    for step in (2, 4, 6):
        load_weights(objective, trained.folder, step)
        values = []
        for index, case in enumerate(fold.validation):
            style = styles[index % len(styles)]
            model = type("Model", (torch.nn.Module,), {})()
            model.forward = lambda x, style=style: objective(objective.translated(x, style.expand_as(x)))
            found = Predictor(model, run.dataset.task, input=run.recipe.input).predict(run.dataset.read_image(case))
            reference = run.dataset.read_label_map(case)
            for labels in run.dataset.task.regions.values():
                first, second = (torch.isin(x, torch.tensor(sorted(labels))) for x in (found.label_map, reference))
                if first.any() or second.any():
                    values.append(2 * float((first & second).sum()) / float(first.sum() + second.sum()))
        scores[step] = sum(values) / len(values)
    assert scores[4] == 0 < max(scores.values())
    assert chosen(made, "translated_validation") == max(scores, key=scores.__getitem__)
    assert len(styles) > 1 and len(fold.validation) > 1
    assert measures(made, "translated_validation") == pytest.approx({step: scores[step] for step in (2, 6)})


def test_the_style_decides_what_is_validated(made: Made) -> None:
    _, _, objective, trained = made
    load_weights(objective, trained.folder, 6)
    images, styles = torch.rand(2, 1, 32, 32), torch.stack([torch.zeros(1, 32, 32), torch.rand(1, 32, 32)])
    with torch.no_grad():
        first, second = (Restyled(objective, style)(images) for style in styles)
    assert first.shape[2:] == images.shape[2:] and not torch.equal(first, second)


def test_a_ceiling_is_chosen_by_its_own_validation_patients() -> None:
    held_out = Fold("B", ("A",), ("B",), (), (), ())
    bound = replace(held_out, kind="upper_bound")
    for rule in RULES:
        assert (rule_of(recipe(rule), held_out), rule_of(recipe(rule), bound)) == (rule, "source_validation")
    for rule in ("last", "oracle", "source_validation"):
        assert rule_of(recipe(rule), bound) == rule


def test_what_translates() -> None:
    task = prepare(recipe("last"), root=None, runs=Path(), record=False)[0].dataset.task

    def built(objective: Any) -> Objective:
        return build_objective(
            tiny(pipelines={"baseline": {"objective": objective}}), "baseline", task, sources=("A",), seed=0
        )

    assert translator(built(TRANSLATING)) is not None
    glua = {"name": "glua", "translation": TRANSLATING, "mask": "none", "feature_weight": 0}
    assert translator(built(glua)) is not None
    assert translator(built({**glua, "translation": None})) is None and translator(built("erm")) is None


def test_what_cannot_be_selected_is_said_before_the_first_training(tmp_path: Path) -> None:
    erm = {"baseline": {"objective": "erm"}}
    with pytest.raises(ProtocolError, match="Pipeline 'baseline': objective erm, as it is set, does not translate"):
        prepare(tiny(selection="translated_validation", pipelines=erm, **KEPT), root=None, runs=tmp_path)
    protocol = {**TINY["protocol"], "validation": 0.0}
    with pytest.raises(ProtocolError, match="no validation patients; selection entropy compares"):
        prepare(tiny(selection="entropy", protocol=protocol, **KEPT), root=None, runs=tmp_path)
    assert not any(tmp_path.iterdir())


def test_no_cases_no_validation(made: Made) -> None:
    assert validator(made[0], (), ()) is None
