"""Who is trained on, who validates, who is tested: folds of a dataset by domain and patient.

A fold trains on its source domains and is tested on held-out patients of the same domains (*seen*) and on all cases
of its target domains (*unseen*); with ``same_patients``, on those of held-out patients; with ``declared_test``, on
those that the owners declare for testing. All images of a patient lie on one side. A domain's split depends on the seed
and on the domain alone, so that every fold, pipeline and training seed is tested on the same cases.

Where an objective of adaptation takes part, targets also give unlabeled images. ``adapt`` says which: of patients who
are not tested (``held_out``), or of the tested ones themselves (``transductive``). Either way all pipelines of the
recipe, those that do not adapt among them, are tested on the same cases.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import replace
from typing import Literal

from pydantic import Field, model_validator

from unshift.config import Config
from unshift.contracts import Dataset, Setting
from unshift.errors import ProtocolError, UnknownName
from unshift.evaluate.fold import UPPER_BOUND, Fold
from unshift.evaluate.split import Division, divide, divide_target, read_split, write_split

__all__ = ["UPPER_BOUND", "Fold", "ProtocolConfig", "folds", "read_split", "require", "write_split"]


class ProtocolConfig(Config):
    """Which domains are trained on and which are held out.

    Give sources, targets or both; what is not given is all other domains. ``leave_one_out`` makes one fold for each
    domain (of ``sources``, if given), with that domain as its target.
    """

    sources: tuple[str, ...] | None = Field(None, min_length=1, description="domains that are trained on")
    targets: tuple[str, ...] | None = Field(None, min_length=1, description="domains that are held out")
    leave_one_out: bool = Field(False, description="one fold for each domain, which is held out")
    validation: float = Field(0.15, ge=0, lt=1, description="share of each source's patients that selects weights")
    test: float = Field(0.15, ge=0, lt=1, description="share of each source's patients that is tested in-domain")
    same_patients: bool = Field(
        False, description="targets show the sources' patients again (simulated vendors): test those held out alone"
    )
    declared_test: bool = Field(False, description="of targets, test only what the dataset's owners declare as test")
    upper_bound: bool = Field(False, description="also train on each target's own patients, for gap recovery")
    adapt: Literal["held_out", "transductive"] = Field(
        "held_out", description="whose images adaptation sees unlabeled: patients who are not tested, or those tested"
    )
    adapt_share: float = Field(0.5, gt=0, lt=1, description="held_out: share of a target's patients seen unlabeled")

    @model_validator(mode="after")
    def _check(self) -> ProtocolConfig:
        if self.leave_one_out and self.targets is not None:
            raise ValueError("leave_one_out holds out each domain in turn; remove targets, or list domains in sources")
        if self.same_patients and self.test == 0:
            raise ValueError("same_patients tests the held-out patients of the sources; test must be above 0")
        if self.validation + self.test >= 1:
            raise ValueError(f"validation + test is {self.validation + self.test:g}; patients must be left to train on")
        if self.upper_bound and self.test == 0:
            raise ValueError("upper_bound tests on held-out patients of the target; test must be above 0")
        return self


def folds(dataset: Dataset, config: ProtocolConfig, *, seed: int, adapts: bool = False) -> list[Fold]:
    """The plan of an experiment.

    Args:
        dataset: its declared splits are kept: a case declared ``test`` is never trained on.
        config: sources, targets, shares.
        seed: of the division of patients.
        adapts: whether an objective of adaptation takes part, so that targets are divided as ``config.adapt`` says.

    Raises:
        UnknownName: a domain that the dataset does not have.
        ProtocolError: no source or no target is left; a domain is both; a source has too few patients or nothing but
            test cases; a target has no cases; a patient would be on two sides.
    """
    if adapts and config.upper_bound and config.adapt == "held_out" and config.adapt_share > 1 - config.test:
        raise ProtocolError(
            f"protocol: adapt_share is {config.adapt_share:g} and test {config.test:g}; the upper bound is tested on "
            "patients that no training sees, so the two may sum to 1 at most. Lower one of them."
        )
    pairs = list(_pairs(dataset, config))
    _require_divisible(dataset, {name for sources, _ in pairs for name in sources}, config, seed=seed)
    plan = [_held_out(dataset, *pair, config=config, seed=seed) for pair in pairs]
    if adapts:
        plan = [_adapted(dataset, fold, config=config, seed=seed) for fold in plan]
    if config.upper_bound:
        targets = dict.fromkeys(target for fold in plan for target in fold.targets)
        plan += [_upper_bound(dataset, target, config=config, seed=seed) for target in targets]
    return plan


def require(setting: Setting, fold: Fold, *, objective: str = "The objective") -> None:
    """Check that a fold has what an objective needs.

    Raises:
        ProtocolError: fewer source domains than the objective's least number; no target to adapt to.
    """
    if len(fold.sources) < setting.least_sources:
        raise ProtocolError(
            f"Fold {fold.name!r}: trains on {len(fold.sources)} domain(s) ({', '.join(fold.sources)}); {objective} "
            f"needs at least {setting.least_sources}. Name more sources, or choose an objective that needs fewer."
        )
    if setting.kind == "adaptation" and not fold.unlabeled:
        raise ProtocolError(
            f"Fold {fold.name!r}: has no unlabeled images of a target; {objective} adapts to one. A fold that trains "
            "on the target itself (upper_bound) runs the recipe's baseline alone: let that be an objective such as erm."
        )


def _pairs(dataset: Dataset, config: ProtocolConfig) -> Iterable[tuple[tuple[str, ...], tuple[str, ...]]]:
    """(sources, targets) of each fold, checked against the dataset's domains."""
    domains = tuple(dataset.domains)
    for name in (*(config.sources or ()), *(config.targets or ())):
        if name not in domains:
            _require_images(dataset, name)
            raise UnknownName("domain", name, domains, where="protocol")
    for field, names in (("sources", config.sources), ("targets", config.targets)):
        if names is not None and len(set(names)) < len(names):
            raise ProtocolError(f"protocol.{field}: {', '.join(names)}; each domain may stand once. Remove the second.")
    if config.leave_one_out:
        pool = config.sources or domains
        _some(pool[1:], "leave_one_out: needs two or more domains", dataset)
        return [(tuple(d for d in pool if d != target), (target,)) for target in pool]
    if config.sources is None and config.targets is None:
        raise ProtocolError(
            f"protocol: neither sources nor targets are named; domains are {', '.join(domains)}. "
            "Name the domains to train on, or those to hold out, or set leave_one_out: true."
        )
    sources = config.sources or tuple(d for d in domains if d not in (config.targets or ()))
    targets = config.targets or tuple(d for d in domains if d not in sources)
    both = [d for d in sources if d in targets]
    if both:
        raise ProtocolError(
            f"protocol: {', '.join(both)} is source and target; a domain can be held out only if it is not trained on. "
            "Remove it from one of the two."
        )
    _some(sources, "no domain is left to train on", dataset)
    _some(targets, "no domain is left to hold out", dataset)
    return [(sources, targets)]


def _require_images(dataset: Dataset, name: str) -> None:
    """Raise for a domain that is no more than its folder."""
    folder = None if dataset.root is None else dataset.root / name
    if folder is not None and folder.is_dir() and not (folder / "images").is_dir():
        raise ProtocolError(
            f"protocol: domain {name!r}: the folder {folder} is there, but it has no folder images/ in it. Put the "
            f"images into {folder / 'images'}; the domains found are {', '.join(dataset.domains)}."
        )


def _some(names: Sequence[str], problem: str, dataset: Dataset) -> None:
    if not names:
        for name in dataset.domains:
            dataset.cases(name)  # a domain's folder that is empty or incomplete says so, which is nearer to the cause
        raise ProtocolError(
            f"protocol: {problem}; the dataset's domains are {', '.join(dataset.domains)}. "
            "A test on unseen images needs at least one source and one target."
        )


def _require_divisible(dataset: Dataset, sources: set[str], config: ProtocolConfig, *, seed: int) -> None:
    """Raise for domains that cannot be divided into train, validation and test, all of them at once."""
    wrong: list[ProtocolError] = []
    for domain in (name for name in dataset.domains if name in sources):
        try:
            _divided(dataset, domain, config=config, seed=seed)
        except ProtocolError as error:
            wrong.append(error)
    if len(wrong) == 1:
        raise wrong[0]
    if wrong:
        listed = "\n".join(f"  {error}" for error in wrong)
        raise ProtocolError(f"protocol: {len(wrong)} domains cannot be trained on as they are.\n{listed}")


def _held_out(
    dataset: Dataset, sources: tuple[str, ...], targets: tuple[str, ...], *, config: ProtocolConfig, seed: int
) -> Fold:
    parts = [_divided(dataset, domain, config=config, seed=seed) for domain in sources]
    tested = [case for part in parts for case in part.test]
    trained = {case.patient for part in parts for case in (*part.train, *part.validation)}
    for target in targets:
        cases = dataset.cases(target)
        if not cases:
            raise ProtocolError(f"Domain {target!r}: it has no cases; a target needs one or more. Choose another.")
        left = [case for case in cases if case.patient not in trained] if config.same_patients else cases
        if not left:
            raise ProtocolError(
                f"Domain {target!r}: all its patients are trained on; same_patients needs some that are held out. "
                "Raise protocol.test, or choose another target."
            )
        tested += _declared_test(left, target) if config.declared_test else left
    return Fold(
        "+".join(targets),
        sources,
        targets,
        train=tuple(case for part in parts for case in part.train),
        validation=tuple(case for part in parts for case in part.validation),
        test=tuple(tested),
    )


def _adapted(dataset: Dataset, fold: Fold, *, config: ProtocolConfig, seed: int) -> Fold:
    """The fold with unlabeled cases of its targets, and without the tests that they replace."""
    seen, tested = [case for case in fold.test if fold.seen(case)], [case for case in fold.test if not fold.seen(case)]
    if config.adapt == "transductive":
        return replace(fold, unlabeled=tuple(tested), transductive=True)
    if config.same_patients:  # the tested are held out already; those trained on are shown as the target sees them
        trained = {case.patient for case in fold.train}
        shown = [case for target in fold.targets for case in dataset.cases(target) if case.patient in trained]
        return replace(fold, unlabeled=tuple(shown))
    unlabeled: list[Case] = []
    kept: list[Case] = []
    for target in fold.targets:
        given, left = divide_target(dataset.cases(target), domain=target, share=config.adapt_share, seed=seed)
        unlabeled, kept = [*unlabeled, *given], [*kept, *left]
    keys = {case.key for case in kept}
    return replace(fold, test=(*seen, *(c for c in tested if c.key in keys)), unlabeled=tuple(unlabeled))


def _declared_test(cases: Sequence[Case], target: str) -> list[Case]:
    found = [case for case in cases if case.split == "test"]
    if not found:
        raise ProtocolError(
            f"Domain {target!r}: none of its {len(cases)} cases is declared as test; declared_test needs some. "
            "Set protocol.declared_test: false, which tests all of them."
        )
    return found


def _upper_bound(dataset: Dataset, target: str, *, config: ProtocolConfig, seed: int) -> Fold:
    part = _divided(dataset, target, config=config, seed=seed)
    return Fold(UPPER_BOUND + target, (target,), (), part.train, part.validation, part.test, kind="upper_bound")


def _divided(dataset: Dataset, domain: str, *, config: ProtocolConfig, seed: int) -> Division:
    cases = dataset.cases(domain)
    return divide(cases, domain=domain, validation=config.validation, test=config.test, seed=seed)
