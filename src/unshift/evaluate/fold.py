"""One training and its tests: cases by side, no patient on two sides."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from unshift.errors import ProtocolError
from unshift.sample import Case

UPPER_BOUND = "upper-bound-"
"""Names of folds that train on the target itself begin so; their scores serve gap recovery and no other table."""


@dataclass(frozen=True)
class Fold:
    """One training and its tests.

    Args:
        name: unique in a plan; usable as a folder name where the domains' names are.
        sources, targets: domains.
        train, validation: cases of the sources; their labels may be read before scoring.
        test: held-out cases of the sources, and cases of the targets: all, or those of held-out patients.
        unlabeled: cases of the targets whose images objectives of adaptation see; empty where nobody adapts. Their
            labels may be read in scoring alone, and only where the fold is transductive.
        transductive: the unlabeled cases may be tested too; otherwise no patient of theirs is.
        kind: ``held_out``, or ``upper_bound``: trained on the domain that it is tested on.
    """

    name: str
    sources: tuple[str, ...]
    targets: tuple[str, ...]
    train: tuple[Case, ...]
    validation: tuple[Case, ...]
    test: tuple[Case, ...]
    kind: Literal["held_out", "upper_bound"] = "held_out"
    unlabeled: tuple[Case, ...] = ()
    transductive: bool = False

    def __post_init__(self) -> None:
        sides: dict[str, str] = {}
        for side in ("train", "validation", "test"):
            for case in getattr(self, side):
                known = sides.setdefault(case.patient, side)
                if known != side:
                    raise ProtocolError(
                        f"Fold {self.name!r}: patient {case.patient!r} is in {known} and, with case {case.key!r}, in "
                        f"{side}; a patient must be on one side. Move the patient's cases to one split or domain, or "
                        "correct the rule that makes patient ids; where targets show the sources' patients once more "
                        "(simulated vendors), set protocol.same_patients: true."
                    )
        tested = {case.patient for case in self.test}
        for case in () if self.transductive else self.unlabeled:
            if case.patient in tested:
                raise ProtocolError(
                    f"Fold {self.name!r}: patient {case.patient!r} is tested and, with case {case.key!r}, seen "
                    "unlabeled in training; adapt: held_out keeps the two apart. Correct the rule that makes patient "
                    "ids, or set protocol.adapt: transductive."
                )

    def seen(self, case: Case) -> bool:
        """Whether the case's domain was trained on."""
        return case.domain in self.sources


def domain_order(plan: Sequence[Fold]) -> tuple[str, ...]:
    """Domains in the order of tables: as the recipe lists them or, where it does not, the dataset; sources first.

    Where each domain is left out in turn, the first fold's sources are all domains but its own target; the folds'
    targets, one after another, then have the order.
    """
    plan = [fold for fold in plan if fold.kind == "held_out"]
    sources = [domain for fold in plan for domain in fold.sources]
    targets = [domain for fold in plan for domain in fold.targets]
    return tuple(dict.fromkeys([*targets, *sources] if len(plan) > 1 else [*sources, *targets]))
