"""Errors in the words of a command: what a library calls a setting, a person typed as an option.

Messages name settings in backquotes, and paths never (``errors.py``). So each pattern has a backquote in it or is
anchored to the beginning of a message or of an indented line of :func:`unshift.config.parse`; words in a path stay.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

from unshift.errors import ConfigError, UnshiftError

Words = Sequence[tuple[str, str]]
_OPTIONS = "plugins|levels|gates|objectives|normalizations|strengths|steps|simulator|tolerance|choose|content|seed"
_DESCRIBED = "mean|deviation|taps"
_SET = "select|prefix|size_divisor|probe"
PREDICT: Words = ((r"`trust=\['([^']+)'\]`", r"--trust \1"),)
"""`unshift predict` takes a bundle, whose settings are in it; all that can be said is whom to trust."""
ROBUSTIFY: Words = (
    *PREDICT,
    (r"^(?:network own|robustify): (\d+) problem\(s\)\.", r"\1 problem(s) in the options."),
    (rf"(?m)^  ({_OPTIONS}|{_DESCRIBED})\b", r"  --\1"),
    (r"(?m)^  output\b", "  --output-kind"),
    (rf"(?m)^  ({_SET})\b", r"  --set \1"),
    (
        r"(?m)^  (\w+): unknown key\.(?: Did you mean 'output'\?)",
        r"  --set \1: unknown key. Did you mean --output-kind?",
    ),
    (r"(?m)^  (\w+): unknown key\.", r"  --set \1: unknown key."),
    (r"^builder: ", ""),
    (r"^plugin: levels\b", "--levels"),
    (r"^input size is (?=[0-9×]+;)", "--size is "),
    (r"[Ss]et `select` to the key or index of the logits", "Say which with --set select=out (a key or an index)"),
    (r"set `probe` to one of them", "say one: --set probe=[224,224]"),
    (r"change the task's `channels`", "give --channels"),
    (r"[Ss]et `channels` to the file's number", "Give --channels as in the file"),
    (r"the task's `channels` and the input's `neighbours`", "--channels"),
    (r"the task's `(classes|channels)`", r"--\1"),
    (r"declare its `values` in the dataset's settings", "store labels 0, 1, 2, … in the order of --classes"),
    (r"set `supervision: network`", "give images without masks"),
    (r"set `objective: ([\w+]+)`", r"give --objectives \1"),
    (r"`content\.count`", "--content"),
    (r"the setting `weights`", "--weights"),
    (r"\bset `output: (\w+)`", r"give --output-kind \1"),
    (r"`output: (\w+)`", r"--output-kind \1"),
    (r"`output`", "--output-kind"),
    (rf"`({_OPTIONS}|{_DESCRIBED})`", r"--\1"),
    (rf"`({_OPTIONS}|{_DESCRIBED}): ([^`]*)`", r"--\1 \2"),
    (r"`prefix: '([^'`]*)'`", r"--set prefix=\1"),
    (rf"`({_SET})` is", r"--set \1 is"),
    (r"`select`", "--set select=out"),
    (r"`prefix`", "--set prefix=model."),
    (r"`size_divisor`", "--set size_divisor=32"),
    (r"`probe`", "--set probe=[224,224]"),
)
"""`unshift robustify`: its options, and with ``--set`` further settings of the network ``own``."""


def as_options(text: str, words: Words) -> str:
    """``text`` with options in place of settings' names."""
    for pattern, option in words:
        text = re.sub(pattern, option, text)
    return text


@contextmanager
def speaking_of_options(words: Words) -> Iterator[None]:
    """Errors that leave the block speak of options."""
    try:
        yield
    except UnshiftError as error:
        raise ConfigError(as_options(str(error), words)) from error
