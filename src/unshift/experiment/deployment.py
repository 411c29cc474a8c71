"""A trained bundle on files that belong to no dataset, and predictions of any origin against a dataset."""

from __future__ import annotations

import logging
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Literal

import numpy as np
import pandas as pd
import torch

from unshift.datasets.meaning import times, to_channels
from unshift.datasets.opening import open_dataset
from unshift.errors import ConfigError, DataError, UnshiftError
from unshift.evaluate.score import EvaluateConfig, score, to_frame, write_scores
from unshift.evaluate.statistics import summarize
from unshift.experiment.referring import ReferenceTable, Row, warnings_of
from unshift.experiment.testing import write_prediction
from unshift.export.bundle import load_bundle
from unshift.formats.reading import read_image, read_label_map
from unshift.sample import Prediction, Sample, Score, Task
from unshift.train.devices import Devices

logger = logging.getLogger(__name__)
Accelerator = Literal["auto", "cpu", "cuda"]
_ENDINGS = (".png", ".nii.gz", ".nii", ".tif", ".tiff", ".bmp")


def predict_files(
    bundle: Path,
    images: Sequence[Path],
    folder: Path,
    *,
    accelerator: Accelerator = "auto",
    probabilities: bool = False,
    trust: Sequence[str] = (),
) -> Iterator[tuple[Path, Path | UnshiftError]]:
    """Segment each image on its own grid; a bad file is named and the others go on.

    Args:
        bundle: folder or zip.
        images: files, DICOM series folders, or folders of files.
        folder: label maps are written here, one per image, named after it; and ``references.csv`` where images were
            given the colors of others, with the rows of earlier calls on other images.
        accelerator: ``auto``, ``cpu`` or ``cuda``.
        probabilities: also write ``<name>.npy``, float32 [class, *space].
        trust: builders whose code may be run for a bundle that names them; see :func:`load_bundle`.

    Yields:
        The image, and the label map's file or the error.

    Raises:
        BundleError: the bundle cannot be used.
        DataError: two images would be written to one name; ``references.csv`` is another file.
    """
    loaded = load_bundle(bundle, trust=trust)
    if probabilities:
        loaded = replace(loaded, predict=loaded.predict.model_copy(update={"probabilities": True}))
    predictor = loaded.predictor(device=Devices(accelerator=accelerator).device)
    if folder.exists() and not folder.is_dir():
        raise ConfigError(f"{folder}: is a file; --output names the folder for label maps. Give another.")
    files = _expand(images)
    names = [_stem(file) for file in files]
    doubled = sorted({name for name in names if names.count(name) > 1})
    if doubled:
        raise DataError(
            f"{folder}: images share the names {', '.join(doubled)}; give each its own, or predict in turns."
        )
    used: list[Row] = []
    with ReferenceTable(folder / "references.csv") as table:
        for file, name in zip(files, names, strict=True):
            try:
                prediction = predictor.predict(_sample(file, name, loaded.task))
                written = write_prediction(folder / name, prediction)
            except UnshiftError as error:
                yield file, error
                continue
            used += table.add(prediction)
            if prediction.probabilities is not None:
                np.save(folder / f"{name}.npy", prediction.probabilities.numpy())
            yield file, written
    for sentence in warnings_of(used):
        logger.warning("%s See %s.", sentence, table.path)


def evaluate_folder(
    predictions: Path,
    data: Path,
    output: Path,
    *,
    dataset: str = "",
    name: str = "",
    metrics: Sequence[str] = (),
    partial: bool = False,
) -> pd.DataFrame:
    """Score ``<predictions>/<domain>/<case>.*`` against every case of the dataset that has a reference.

    Returns:
        The summary; long-form scores are written to ``output``.

    Raises:
        DataError: a prediction is missing or has another size than its reference; all missing ones are listed.
    """
    opened = open_dataset(dataset, data) if dataset else open_dataset(data)
    config = EvaluateConfig(metrics=tuple(metrics)) if metrics else EvaluateConfig()
    cases = [case for domain in opened.domains for case in opened.cases(domain) if (predictions / domain).is_dir()]
    if not cases:
        raise DataError(
            f"{predictions}: no folder named after a domain ({', '.join(opened.domains)}); "
            "predictions are expected as <predictions>/<domain>/<case>.png or .nii.gz."
        )
    found = {case.key: _find(predictions / case.domain, case.name) for case in cases}
    missing = [key for key, file in found.items() if file is None]
    if partial:
        cases = [case for case in cases if found[case.key] is not None]
    elif missing:
        raise DataError(
            f"{predictions}: {len(missing)} prediction(s) missing: {', '.join(missing[:10])}"
            f"{' …' if len(missing) > 10 else ''}; every case needs one. "
            "Predict them, or say --partial to score those that are there."
        )
    rows: list[Score] = []
    for case in cases:
        file = found[case.key]
        assert file is not None
        reference = opened.read(case)
        prediction = Prediction(case.name, case.patient, case.domain, _labels(file, opened.task))
        rows += score(
            prediction, reference, opened.task, config=config, run="", pipeline=name, dataset=dataset or data.name
        )
    frame = to_frame(rows)
    write_scores(output, frame)
    return summarize(frame)


def _sample(file: Path, name: str, task: Task) -> Sample:
    picture = read_image(file)
    image = picture.array
    if image.ndim != task.spatial_dims + 1:
        remedy = (
            "Save the slices as files of their own and predict those, or use a bundle that was trained on volumes."
            if task.spatial_dims == 2
            else "Give the whole volume as one file or DICOM series, or use a bundle that was trained on pictures."
        )
        raise DataError(
            f"{file}: {image.ndim - 1}-D image ({times(image.shape[1:])}); the bundle was trained on "
            f"{task.spatial_dims}-D images. {remedy}"
        )
    image = to_channels(image, task.channels, path=file)  # as the datasets do
    return Sample(image, name, name, "", spacing=picture.spacing, affine=picture.affine, path=file)


def _labels(file: Path, task: Task) -> torch.Tensor:
    label_map = read_label_map(file).array
    wrong = sorted(set(label_map.unique().tolist()) - set(range(task.num_classes)))
    if wrong:
        raise DataError(
            f"{file}: values {wrong[:5]}; a predicted label map holds labels 0 … {task.num_classes - 1} "
            f"({', '.join(task.classes)}). Write labels, not grey levels."
        )
    return label_map


def _expand(images: Sequence[Path]) -> list[Path]:
    """Files as given; a folder of DICOM files is one series, any other folder stands for the files in it."""
    files: list[Path] = []
    if images and not any(image.exists() for image in images):
        raise ConfigError(f"{', '.join(map(str, images))}: no such file or folder. Check the path.")
    for image in images:
        if not image.is_dir():  # one that is not there is named when its turn comes, and the others go on
            files.append(image)
            continue
        inside = sorted(p for p in image.iterdir() if p.is_file() and not p.name.startswith("."))
        series = bool(inside) and all(p.suffix.lower() in ("", ".dcm", ".ima") for p in inside)
        files += [image] if series else inside
    return files


def _stem(file: Path) -> str:
    name = file.name
    return name[: -len(".nii.gz")] if name.lower().endswith(".nii.gz") else file.stem


def _find(folder: Path, name: str) -> Path | None:
    return next((folder / f"{name}{ending}" for ending in _ENDINGS if (folder / f"{name}{ending}").is_file()), None)
