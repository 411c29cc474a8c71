"""Errors in the words of the command line: what a library calls a setting, a person typed as an option."""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager

from unshift.errors import ConfigError, UnshiftError

_OPTIONS = "plugins|levels|gates|objectives|normalizations|strengths|steps|simulator|tolerance|choose|content|seed"
_DESCRIBED = "mean|deviation|taps"
_SET = "select|prefix|size_divisor|probe"
_EXAMPLES = {"select": "out", "prefix": "model.", "size_divisor": "32", "probe": "[224,224]"}
_WORDS: tuple[tuple[str, str], ...] = (
    (r"\b(?:network own|robustify): (\d+) problem\(s\)\.", r"\1 problem(s) in the options."),
    (rf"(?m)^  ({_OPTIONS}|{_DESCRIBED})\b", r"  --\1"),
    (r"(?m)^  output\b", "  --output-kind"),
    (rf"(?m)^  ({_SET})\b", r"  --set \1"),
    (r"(?m)^  (\w+): unknown key\.", r"  --set \1: unknown key."),
    (r"Did you mean 'output'\?", "Did you mean --output-kind?"),
    (rf"`({_OPTIONS}|{_DESCRIBED})`", r"--\1"),
    (rf"`({_OPTIONS}|{_DESCRIBED}): ([^`]*)`", r"--\1 \2"),
    (r"`output`", "--output-kind"),
    (r"`output: (\w+)`", r"--output-kind \1"),
    (r"output: (\w+) of (\d+) classes", r"--output-kind \1 of \2 classes"),
    (r"`prefix: '([^'`]*)'`", r"--set prefix=\1"),
    (r"`(size_divisor|probe)` is", r"--set \1 is"),
    (r"set `probe` to one of them", "say one: --set probe=[224,224]"),
    (r"Set `select` to the key or index of the logits", "Say which with --set select=out (a key or an index)"),
    (r": (mean|deviation) has (\d+)", r": --\1 has \2"),
    (r"(?:trust: )?trust=\['([^']+)'\]", r"--trust \1"),
    (r"set --output-kind", "give --output-kind"),
    (r"change the task's channels", "give --channels"),
    (r"the order of the task's classes", "the order of --classes"),
    (r"the task's classes", "--classes"),
    (r"the task's channels", "--channels"),
    (r"Set channels to the file's number", "Give --channels as in the file"),
    (r"or declare its values in the dataset's settings", "or store labels 0, 1, 2, … in the order of --classes"),
    (r"the setting `weights`", "--weights"),
    (r"\binput size is\b", "--size is"),
    (r"^builder: ", ""),
    (r"\bplugin: levels: ", "--levels: "),
)


def as_options(text: str) -> str:
    """``text`` with options in place of settings' names."""
    for pattern, words in _WORDS:
        text = re.sub(pattern, words, text)
    return re.sub(rf"`({_SET})`", lambda found: f"--set {found[1]}={_EXAMPLES[found[1]]}", text)


@contextmanager
def speaking_of_options() -> Iterator[None]:
    """Errors that leave the block speak of options."""
    try:
        yield
    except UnshiftError as error:
        raise ConfigError(as_options(str(error))) from error
