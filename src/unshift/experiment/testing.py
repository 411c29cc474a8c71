"""Predict a fold's test cases with one pipeline, write them, score them."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from pathlib import Path

import pandas as pd

from unshift import discover
from unshift.config import read_yaml, to_yaml
from unshift.contracts import Normalization, Picture
from unshift.evaluate.protocol import Fold
from unshift.evaluate.score import read_scores, score_all, to_frame, write_scores
from unshift.experiment.events import Event
from unshift.experiment.plugging import fit_plugins, identity_of_plugins
from unshift.experiment.record import Run, code_version
from unshift.experiment.referring import Row, references_path, rows_of, warnings_of, write_references
from unshift.experiment.training import Training, adaptation, apply, fit_normalizations, identity
from unshift.export.bundle import MANIFEST, Bundle, BundleCard, save_bundle
from unshift.predict.predictor import Predictor
from unshift.predict.transductive import groups
from unshift.recipe import Recipe, digest
from unshift.sample import Case, Prediction

logger = logging.getLogger(__name__)


def test(run: Run, pipeline: str, fold: Fold, training: Training, *, seed: int) -> pd.DataFrame:
    """Scores of every test case of ``fold``, one row per region and metric; taken from the run when already there."""
    title = job_name(pipeline, fold, seed)
    stored = run.folder / "parts" / f"{part_key(run, pipeline, fold, training)}.parquet"
    if stored.exists() and _is_complete(run, pipeline, fold, seed):
        run.listener(Event(title, len(fold.test), len(fold.test), "already there"))
        return read_scores(stored)
    run.listener(Event(title, 0, len(fold.test), "fitting repairs"))
    bundle = make_bundle(run, pipeline, fold, training, seed=seed)
    save_bundle(bundle_path(run.folder, pipeline, fold.name, seed), bundle)
    run.listener(Event(title, 0, len(fold.test), "predicting"))
    predictor = bundle.predictor(next(training.objective.parameters()).device)
    rows = score_all(
        _predictions(run, pipeline, fold, predictor, seed=seed),
        fold,
        run.dataset,
        config=run.recipe.evaluate,
        run=run.recipe.name,
        pipeline=pipeline,
        dataset=run.recipe.dataset.name,
        seed=seed,
    )
    frame = to_frame(rows)
    write_scores(stored, frame)
    return frame


def _predictions(run: Run, pipeline: str, fold: Fold, predictor: Predictor, *, seed: int) -> Iterator[Prediction]:
    """One by one, written as they come; labels are not looked at."""
    used: list[Row] = []
    config, done = run.recipe.predict, 0
    size = config.batch_size if config.batch_norm == "batch" and run.dataset.task.spatial_dims == 2 else 1
    for group in groups([(case.domain, case) for case in fold.test], size):
        predictions = predictor.predict_together([run.dataset.read_image(case) for case in group])
        for case, prediction in zip(group, predictions, strict=True):
            write_prediction(prediction_path(run.folder, pipeline, fold.name, seed, case), prediction)
            used += rows_of(prediction)
            yield prediction
            done += 1
            run.listener(Event(job_name(pipeline, fold, seed), done, len(fold.test), case.key))
    write_references(references_path(run.folder, pipeline, fold.name, seed), used)
    for sentence in warnings_of(used):
        logger.warning("%s, %s See the report's table of references.", pipeline, sentence)


def job_name(pipeline: str, fold: Fold, seed: int) -> str:
    """How progress names the testing of one pipeline."""
    return f"test {pipeline} · {fold.name} · seed {seed}"


def part_key(run: Run, pipeline: str, fold: Fold, training: Training) -> str:
    """The hash of everything that decides these scores."""
    return digest(
        training.key,
        training.step,
        [identity("normalizations", reference) for reference in run.recipe.pipelines[pipeline].normalizations],
        identity_of_plugins(run.recipe, pipeline),
        run.recipe.predict.deciding(),
        run.recipe.evaluate.deciding(),
        [run.hashes[case.key] for case in fold.test],
        pipeline,
        fold.name,
    )


def prediction_path(folder: Path, pipeline: str, fold: str, seed: int, case: Case) -> Path:
    """Where a run keeps a predicted label map, without its ending (``.png`` for pictures, ``.nii.gz`` for volumes)."""
    return folder / "predictions" / fold / str(seed) / pipeline / case.domain / case.name


def prediction_file(folder: Path, pipeline: str, fold: str, seed: int, case: Case) -> Path | None:
    """The file of a predicted label map, or None when it is not there."""
    path = prediction_path(folder, pipeline, fold, seed, case)
    files = (path.with_name(path.name + ending) for ending in (".png", ".nii.gz"))
    return next((file for file in files if file.is_file()), None)


def _is_complete(run: Run, pipeline: str, fold: Fold, seed: int) -> bool:
    """Whether the bundle, every prediction, and references that belong to stored scores are still there."""
    steps = run.recipe.pipelines[pipeline].normalizations
    refers = any("references" in discover.load("normalizations", step.name).Config.model_fields for step in steps)
    if refers and not references_path(run.folder, pipeline, fold.name, seed).is_file():
        return False
    bundle = bundle_path(run.folder, pipeline, fold.name, seed)
    return (bundle / MANIFEST).is_file() and all(
        prediction_file(run.folder, pipeline, fold.name, seed, c) for c in fold.test
    )


def write_prediction(path: Path, prediction: Prediction) -> Path:
    """Write a label map with its geometry, as PNG or, for volumes, NIfTI; returns the file."""
    flat = prediction.label_map.ndim == 2
    file = path.with_name(path.name + (".png" if flat else ".nii.gz"))
    file.parent.mkdir(parents=True, exist_ok=True)
    like = Picture(prediction.label_map, prediction.spacing, prediction.affine)
    written = discover.load("formats", "photo" if flat else "nifti")()
    written.write_label_map(file, prediction.label_map, like=like)
    return file


def make_bundle(run: Run, pipeline: str, fold: Fold, training: Training, *, seed: int) -> Bundle:
    """What leaves the run: network, weights, preprocessing, repairs fitted on the training images, and their origin."""
    recipe = run.recipe
    normalizations = fit_normalizations(
        recipe.pipelines[pipeline].normalizations,
        lambda: (apply(training.preprocessing, run.dataset.read_image(case)) for case in fold.train),
        network=training.objective.network,
        size=recipe.input.size,
        applied=training.preprocessing,
    )
    return Bundle(
        network=training.objective.network,
        task=run.dataset.task,
        input=recipe.input,
        predict=recipe.predict,
        preprocessing=training.preprocessing,
        normalizations=normalizations,
        plugins=fit_plugins(run, pipeline, fold, training, seed=seed),
        card=BundleCard(
            title=f"{recipe.name}: {pipeline}",
            intended_use="Research; not a medical device.",
            trained_on=_trained_on(recipe, pipeline, fold),
            recipe=to_yaml(recipe),
            code_version=code_version(),
            figures={
                "training": training.key,
                "step": training.step,
                "seed": seed,
                **{_brought(member): member.origin for member in normalizations if member.origin},
            },
        ),
    )


def _trained_on(recipe: Recipe, pipeline: str, fold: Fold) -> str:
    text = f"{recipe.dataset.name}: {', '.join(fold.sources)} ({len(fold.train)} cases)"
    if adaptation(recipe.pipelines[pipeline].objective):
        text += f"; without labels, {', '.join(fold.targets)} ({len(fold.unlabeled)} cases)"
    return text


def bundle_path(folder: Path, pipeline: str, fold: str, seed: int) -> Path:
    """Where a run keeps the bundle of one pipeline."""
    return folder / "bundles" / fold / str(seed) / pipeline


def origins(folder: Path, pipeline: str) -> list[str]:
    """Where the weights came from that the pipeline's normalizations brought, as its bundles say."""
    manifests = sorted(folder.glob(f"bundles/*/*/{pipeline}/{MANIFEST}"))
    figures = (read_yaml(manifest)["card"]["figures"] for manifest in manifests)
    found = [f"{key} from {value}" for entries in figures for key, value in entries.items() if key.endswith(_BROUGHT)]
    return list(dict.fromkeys(found))


_BROUGHT = " weights"


def _brought(member: Normalization) -> str:
    return type(member).__module__.rpartition(".")[2] + _BROUGHT
