"""Errors speak of options, not of settings: every message that a declared module can meet."""

from __future__ import annotations

import pytest

from unshift.cli.options import as_options, speaking_of_options
from unshift.errors import ConfigError, UnknownName


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("For one logit of the foreground class set `output: sigmoid`.", "give --output-kind sigmoid."),
        ("output: softmax of 2 classes needs [2, 2].", "--output-kind softmax of 2 classes needs"),
        ("See `select` and the task's classes.", "See --set select=out and --classes."),
        ("Set `select` to the key or index of the logits, or", "--set select=out (a key or an index), or"),
        ("Set `prefix: 'model.'` to leave those out.", "Set --set prefix=model. to leave"),
        ("change the task's channels; if so, set `probe` to one of them.", "give --channels; if so, say one: --set probe="),
        ("net:build: mean has 2 entries", "net:build: --mean has 2 entries"),
        ("name it: trust=['net:build']. Built", "name it: --trust net:build. Built"),
        ("input size is 33×48; net:build needs multiples of 2.", "--size is 33×48; net:build needs"),
        ("network own: 1 problem(s).\n  outptu: unknown key. Did you mean 'output'?", "--set outptu: unknown key. Did you mean --output-kind?"),
        ("robustify: 1 problem(s).\n  gates.0: Input should be", "1 problem(s) in the options.\n  --gates.0: Input"),
        ("`strengths`: [2.0]; numbers", "--strengths: [2.0]; numbers"),
        ("Add source images, or set `gates` to none.", "set --gates to none"),
        ("plugin: levels: unknown tap 'x'.", "--levels: unknown tap 'x'."),
        ("x.pt: no such file. Check the setting `weights`.", "Check --weights."),
        ("builder: no module 'net' (net:build).", "no module 'net' (net:build)."),
        ("Correct the mask, or declare its values in the dataset's settings.", "in the order of --classes."),
    ],
)  # fmt: skip
def test_settings_become_options(text: str, expected: str) -> None:
    assert expected in as_options(text)


def test_other_words_stay_as_they_are() -> None:
    text = "runs/mean: has no output; choose among `unshift bench` and select: levels of trust."
    assert as_options(text) == text


def test_errors_keep_their_cause() -> None:
    with pytest.raises(ConfigError, match="--levels: unknown tap 'a'") as caught, speaking_of_options():
        raise UnknownName("tap", "a", ["b"], where="plugin: levels")
    assert isinstance(caught.value.__cause__, UnknownName)
