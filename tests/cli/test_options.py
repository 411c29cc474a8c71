"""Errors speak of options, not of settings: every message that a declared module can meet."""

from __future__ import annotations

import pytest

from unshift.cli.options import PREDICT, ROBUSTIFY, as_options, speaking_of_options
from unshift.errors import ConfigError, UnknownName


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("For one logit of the foreground class set `output: sigmoid`.", "give --output-kind sigmoid."),
        ("`output: softmax` of 2 classes needs [2, 2].", "--output-kind softmax of 2 classes needs"),
        ("See `select` and the task's `classes`.", "See --set select=out and --classes."),
        ("Set `select` to the key or index of the logits, or", "--set select=out (a key or an index), or"),
        ("Set `prefix: 'model.'` to leave those out.", "Set --set prefix=model. to leave"),
        ("change the task's `channels`; if so, set `probe` to one of them.", "give --channels; if so, say one: --set probe="),
        ("net:build: `mean` has 2 entries", "net:build: --mean has 2 entries"),
        ("name it: `trust=['net:build']`. Built", "name it: --trust net:build. Built"),
        ("input size is 33×48; net:build needs multiples of 2.", "--size is 33×48; net:build needs"),
        ("network own: 1 problem(s).\n  outptu: unknown key. Did you mean 'output'?", "--set outptu: unknown key. Did you mean --output-kind?"),
        ("robustify: 1 problem(s).\n  gates.0: Input should be", "1 problem(s) in the options.\n  --gates.0: Input"),
        ("`strengths`: [2.0]; numbers", "--strengths: [2.0]; numbers"),
        ("Add source images, or set `gates` to none.", "set --gates to none"),
        ("plugin: levels: unknown tap 'x'.", "--levels: unknown tap 'x'."),
        ("x.pt: no such file. Check the setting `weights`.", "Check --weights."),
        ("builder: no module 'net' (net:build).", "no module 'net' (net:build)."),
        ("Correct the mask, or declare its `values` in the dataset's settings.", "in the order of --classes."),
        ("Set `channels` to the file's number, or", "Give --channels as in the file, or"),
        ("Check the task's `channels` and the input's `neighbours`.", "Check --channels."),
        ("Give labeled source images, or set `supervision: network`.", "or give images without masks."),
        ("(`content.count`; textures), or set `objective: task`.", "(--content; textures), or give --objectives task."),
    ],
)  # fmt: skip
def test_settings_become_options(text: str, expected: str) -> None:
    assert expected in as_options(text, ROBUSTIFY)


def test_other_words_stay_as_they_are() -> None:
    text = "runs/mean: has no output; choose among `unshift bench` and select: levels of trust."
    assert as_options(text, ROBUSTIFY) == text


def test_errors_keep_their_cause() -> None:
    with pytest.raises(ConfigError, match="--levels: unknown tap 'a'") as caught, speaking_of_options(ROBUSTIFY):
        raise UnknownName("tap", "a", ["b"], where="plugin: levels")
    assert isinstance(caught.value.__cause__, UnknownName)


@pytest.mark.parametrize(
    "path",
    [
        "/data/robust/output: softmax of 2 classes.png",
        "/data/output",
        "the task's classes/mean has 2.png",
        "x: mean has 2/trust=['a'].png",
        "/data/the setting weights, set probe/select.nii",
        "/data/set supervision: network/input size is 3.png",
        "D:\\trust=['net:build']\\Did you mean 'output'?.png",
    ],
)
def test_paths_stay_as_they_are(path: str) -> None:
    for text in (f"{path}: cannot be read.", f"Case 'a': {path} is missing.", f"2 problems.\n{path}: no picture"):
        assert as_options(text, ROBUSTIFY) == text == as_options(text, PREDICT)


def test_every_pattern_has_a_backquote_or_an_anchor() -> None:
    """Only so a path, which has no backquote and stands behind no indentation, can never be taken for a setting."""
    for pattern, _ in ROBUSTIFY:
        assert "`" in pattern or pattern.startswith(("(?m)^  ", "^")), pattern


def test_predicting_offers_no_option_that_it_lacks() -> None:
    text = "Set `probe`, the task's `channels`, `output: softmax`, `size_divisor`; name it: `trust=['net:build']`."
    assert as_options(text, PREDICT) == text.replace("`trust=['net:build']`", "--trust net:build")
