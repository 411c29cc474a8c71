"""A name or a path becomes a dataset, and what was guessed is said."""

from __future__ import annotations

import json
import logging
from pathlib import Path

import numpy as np
import pytest

from unshift.datasets.opening import guess, open_dataset, recognize
from unshift.errors import ConfigError, DataError, UnknownName


def test_a_name_takes_a_root_and_settings(pairs) -> None:
    root = pairs({"A": ["1"], "B": ["1"]})
    dataset = open_dataset("folder", root, {"domains": ["B"], "channels": 1})
    assert (type(dataset).__name__, dataset.domains, dataset.task.channels) == ("Folder", ("B",), 1)


def test_a_published_dataset_is_recognized_by_its_domains(pairs) -> None:
    root = pairs({f"PolypGen-C{i}": ["1"] for i in range(1, 7)})
    assert recognize(root) == ("polyp", {})
    (root / "another" / "images").mkdir(parents=True)
    assert recognize(root)[0] == "folder"


def test_a_folder_that_is_called_as_a_member_is_the_folder(
    pairs, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pairs({"mine": ["1", "2"], "theirs": ["1"]}).rename(tmp_path / "polyp")
    monkeypatch.chdir(tmp_path)
    assert open_dataset(Path("polyp")).domains == ("mine", "theirs")
    with pytest.raises(DataError, match="no folder was given"):
        open_dataset("polyp")


def test_dataset_json_makes_it_nnunet(tmp_path: Path) -> None:
    (tmp_path / "dataset.json").write_text(json.dumps({}), encoding="utf-8")
    assert recognize(tmp_path) == ("nnunet", {})


def test_a_folder_is_opened_by_guesses_that_are_logged(pairs, caplog: pytest.LogCaptureFixture) -> None:
    root = pairs({"A": ["1", "2"], "B": ["1"]}, shape=(8, 10), labels=(0, 128, 255))
    with caplog.at_level(logging.INFO):
        dataset = open_dataset(root)
    assert dataset.task.channels == 1
    assert dataset.task.classes == ("background", "label_128", "label_255")
    assert dataset.read(dataset.cases("A")[0]).label_map.unique().tolist() == [0, 1, 2]
    assert "settings guessed from 3 image(s) and 3 mask(s)" in caplog.text
    named = open_dataset(root, None, {"classes": ["background", "cup", "rim"], "values": {"128": 2, "255": 1}})
    assert named.task.classes == ("background", "cup", "rim")


@pytest.mark.parametrize("labels", [(0, 1), (0, 255), (0,)])
def test_two_classes_need_no_declaration(pairs, labels: tuple[int, ...]) -> None:
    assert guess(pairs({"A": ["1", "2"]}, labels=labels)) == {"spatial_dims": 2, "channels": 3}


def test_a_stray_value_is_no_class(pairs, write) -> None:
    root = pairs({"A": [str(i) for i in range(6)]})
    write("A/masks/3.png", np.resize(np.array([0, 255, 7]), (8, 10)))
    assert "classes" not in guess(root)


def test_unreadable_files_do_not_hinder_opening(pairs) -> None:
    root = pairs({"A": ["1", "2"]})
    (root / "A" / "images" / "1.png").write_bytes(b"broken")
    (root / "A" / "masks" / "2.png").write_bytes(b"broken")
    assert guess(root) == {"spatial_dims": 2, "channels": 3}


def test_a_photograph_of_a_mask_is_not_made_a_thousand_classes(write, tmp_path: Path, caplog) -> None:
    write("A/images/1.png", np.zeros((20, 20)))
    write("A/masks/1.png", np.arange(400).reshape(20, 20) % 256)
    assert guess(tmp_path / "data") == {"spatial_dims": 2, "channels": 1}
    assert "255 values, which are no labels" in caplog.text


def test_what_is_neither_name_nor_dataset(tmp_path: Path, pairs) -> None:
    with pytest.raises(UnknownName, match=r"unknown dataset 'polip'\. Did you mean 'polyp'"):
        open_dataset("polip")
    with pytest.raises(DataError, match="gone: no such folder"):
        open_dataset(tmp_path / "gone")
    with pytest.raises(DataError, match=r"(?s)neither dataset.json nor a <domain>/images was found.*Expected layout"):
        open_dataset(tmp_path)
    with pytest.raises(ConfigError, match="is a path, and the root"):
        open_dataset(pairs({"A": ["1"]}), tmp_path)
    with pytest.raises(ConfigError, match="dataset folder: 1 problem"):
        open_dataset("folder", pairs({"A": ["1"]}), {"chanels": 3})


def test_images_right_in_the_folder_are_one_domain(pairs) -> None:
    root = pairs({"A": ["1", "2"], "B": ["1"]}, labels=(0, 1, 2))
    dataset = open_dataset(root / "A")
    assert dataset.domains == ("A",)
    assert dataset.task.num_classes == 3
    assert len(dataset.cases("A")) == 2
    with pytest.raises(DataError, match="neither dataset.json nor a <domain>/images"):
        open_dataset(root / "A" / "images")
