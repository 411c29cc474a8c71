"""nnU-Net's dataset.json, read strictly."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from unshift.datasets.manifest import read_manifest
from unshift.errors import DataError

PLAIN = {
    "channel_names": {"0": "T2", "1": "ADC"},
    "labels": {"background": 0, "PZ": 1, "TZ": 2},
    "file_ending": ".nii.gz",
    "numTraining": 3,
}


def read(tmp_path: Path, **changes):
    content = {key: value for key, value in {**PLAIN, **changes}.items() if value is not None}
    (tmp_path / "dataset.json").write_text(json.dumps(content), encoding="utf-8")
    return read_manifest(tmp_path / "dataset.json")


def test_plain_labels(tmp_path: Path) -> None:
    manifest = read(tmp_path)
    assert (manifest.channels, manifest.ending) == (("T2", "ADC"), ".nii.gz")
    task = manifest.task(3)
    assert (task.channels, task.classes, task.spatial_dims) == (2, ("background", "PZ", "TZ"), 3)
    assert task.regions == {"PZ": {1}, "TZ": {2}}


def test_labels_as_lists_are_regions(tmp_path: Path) -> None:
    labels = {"background": 0, "whole": [1, 2, 3], "core": [2, 3], "enhancing": 3}
    manifest = read(tmp_path, labels=labels, regions_class_order=[1, 2, 3])
    assert manifest.classes == ("background", "label_1", "label_2", "enhancing")
    assert manifest.regions == {"whole": {1, 2, 3}, "core": {2, 3}, "enhancing": {3}}


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"labels": None}, "lacks labels; channel_names, labels, file_ending are required"),
        ({"channel_names": None, "modality": {"0": "MR"}}, "version 1: run nnUNetv2_convert_old_nnUNet_dataset"),
        ({"labels": {"0": "background", "1": "PZ"}}, "version 1, run nnUNetv2_convert_old_nnUNet_dataset"),
        ({"labels": {"background": 0, "PZ": 1, "ignore": 2}}, r"declares an ignore label \(\[2\]\)"),
        ({"labels": {"PZ": 1, "TZ": 2}}, "'background': 0 is required"),
        ({"labels": {"background": 0, "PZ": 2}}, r"values \[0, 2\]; 0, 1, 2, … without gaps"),
        ({"labels": {"background": 0}}, r"values \[0\]"),
        ({"labels": {"background": 0, "PZ": "1"}}, "label 'PZ' is '1'; an integer from 0"),
        ({"labels": {"background": 0, "PZ": True}}, "label 'PZ' is True"),
        ({"labels": {"background": 0, "PZ": []}}, r"label 'PZ' is \[\]"),
        ({"labels": [0, 1]}, r"labels is \[0, 1\]"),
        ({"channel_names": {"1": "T2"}}, "channel_names is .* is required"),
        ({"channel_names": ["T2"]}, "channel_names is"),
        ({"file_ending": "png"}, "file_ending is 'png'; an ending with its dot"),
        ({"dataset": {"a": {}}}, "lists its files under 'dataset'"),
    ],
)
def test_what_cannot_be_honored_is_refused(tmp_path: Path, changes: dict, message: str) -> None:
    with pytest.raises(DataError, match=message):
        read(tmp_path, **changes)


@pytest.mark.parametrize(
    ("text", "message"), [("{", "cannot be read"), ("[]", "lacks channel_names, labels"), ("", "cannot be read")]
)
def test_what_is_no_manifest_is_refused(tmp_path: Path, text: str, message: str) -> None:
    (tmp_path / "dataset.json").write_text(text, encoding="utf-8")
    with pytest.raises(DataError, match=message):
        read_manifest(tmp_path / "dataset.json")
    with pytest.raises(DataError, match="no such file"):
        read_manifest(tmp_path / "gone.json")
