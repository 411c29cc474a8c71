"""Your own images: one folder per domain with images, masks and, if known, fields of view.

Nothing is guessed: the classes, the stored values, the channels and the rule that names patients are settings, and
their defaults are a task of two classes on colour photographs in which every image is its own patient. (The command
line guesses for a bare path, and says what it guessed.)

A domain with no folder ``masks`` is unlabeled: its cases have no label map, and asking for one is an error.
"""

from __future__ import annotations

from pathlib import Path

from unshift.contracts import Card
from unshift.datasets.paired import TREE, PairedFolders, PairedRules


class Config(PairedRules):
    """How the files are read, and which domains are used."""

    domains: tuple[str, ...] | None = None


class Folder(PairedFolders):
    """Pairs of files below ``<root>/<domain>``."""

    Config = Config
    card = Card(
        title="a folder of your own",
        source="Yours.",
        licence="Yours.",
        patients="By the setting patient: stem (each image its own patient), or {pattern: regex, scope: …}.",
        layout=TREE,
        defects="`unshift data check` lists them.",
    )

    def __init__(self, config: Config, root: Path | None = None) -> None:
        self.rules = config
        super().__init__(config, root)


MEMBER = Folder
