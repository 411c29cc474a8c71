"""Folds: what is trained on, what is held out, and what is refused."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from unshift.config import parse
from unshift.contracts import Setting
from unshift.datasets.folder import MEMBER as Folder
from unshift.errors import ConfigError, DataError, ProtocolError, UnknownName
from unshift.evaluate.protocol import UPPER_BOUND, Fold, ProtocolConfig, folds, require
from unshift.evaluate.split import divide
from unshift.sample import Case


def patients(cases: tuple[Case, ...]) -> set[str]:
    return {case.patient for case in cases}


def test_targets_are_tested_whole_and_sources_in_part(dataset) -> None:
    data = dataset(A=10, B=20, C=5, D=4)
    (fold,) = folds(data, ProtocolConfig(sources=("A", "B"), targets=("C",)), seed=0)
    assert (fold.name, fold.sources, fold.targets, fold.kind) == ("C", ("A", "B"), ("C",), "held_out")
    assert {c.key for c in fold.test if not fold.seen(c)} == {c.key for c in data.cases("C")}
    seen = [c for c in fold.test if fold.seen(c)]
    assert len(patients(tuple(c for c in seen if c.domain == "A"))) == 2  # round(0.15 · 10)
    assert len(patients(tuple(c for c in seen if c.domain == "B"))) == 3
    sides = [patients(fold.train), patients(fold.validation), patients(fold.test)]
    assert sum(map(len, sides)) == len(set.union(*sides)) == 10 + 20 + 5
    assert data.labels_read == []


def test_targets_may_be_tested_on_their_declared_cases_alone(dataset) -> None:
    data = dataset(A=["train", "train", "test"], B=["train", "test", "test"], C=3)
    protocol = {"sources": ("A",), "targets": ("B",), "test": 0.0, "validation": 0.3}
    for declared, patients_of_b in ((False, 3), (True, 2)):
        (fold,) = folds(data, ProtocolConfig(**protocol, declared_test=declared), seed=0)
        tested = [c for c in fold.test if not fold.seen(c)]
        assert len(patients(tuple(tested))) == patients_of_b
        assert ({c.split for c in tested} == {"test"}) is declared
    with pytest.raises(
        ProtocolError, match=r"Domain 'C': none of its 6 cases is declared as test; declared_test needs"
    ):
        folds(data, ProtocolConfig(**{**protocol, "targets": ("C",)}, declared_test=True), seed=0)


def test_what_is_not_named_is_all_other_domains(dataset) -> None:
    data = dataset(A=4, B=4, C=4)
    (by_source,) = folds(data, ProtocolConfig(sources=("B",)), seed=0)
    (by_target,) = folds(data, ProtocolConfig(targets=("B",)), seed=0)
    assert (by_source.sources, by_source.targets) == (("B",), ("A", "C"))
    assert (by_target.sources, by_target.targets) == (("A", "C"), ("B",))


def test_leave_one_out_holds_out_each_domain_and_splits_each_the_same_way(dataset) -> None:
    plan = folds(dataset(A=6, B=6, C=6), ProtocolConfig(leave_one_out=True), seed=3)
    assert [(f.name, f.sources) for f in plan] == [("A", ("B", "C")), ("B", ("A", "C")), ("C", ("A", "B"))]
    of_c = [{c.key for c in fold.train if c.domain == "C"} for fold in plan[:2]]
    assert of_c[0] == of_c[1] != set()


def test_leave_one_out_of_some(dataset) -> None:
    plan = folds(dataset(A=6, B=6, C=6), ProtocolConfig(leave_one_out=True, sources=("A", "C")), seed=3)
    assert [(f.sources, f.targets) for f in plan] == [(("C",), ("A",)), (("A",), ("C",))]


def test_upper_bound_trains_on_the_target_and_tests_on_its_held_out_patients(dataset) -> None:
    config = ProtocolConfig(sources=("A",), targets=("B", "C"), upper_bound=True)
    held_out, *upper = folds(dataset(A=6, B=6, C=6), config, seed=0)
    assert [f.name for f in upper] == [UPPER_BOUND + "B", UPPER_BOUND + "C"]
    for fold, domain in zip(upper, "BC", strict=True):
        assert fold.kind == "upper_bound"
        assert {c.domain for c in (*fold.train, *fold.validation, *fold.test)} == {domain}
        assert {c.key for c in fold.test} < {c.key for c in held_out.test}
        assert all(fold.seen(c) for c in fold.test)


@given(st.integers(3, 30), st.integers(0, 2**31))
def test_three_patients_are_enough_for_three_sides(number: int, seed: int) -> None:
    cases = [Case(f"{p}-{i}", f"P{p}", "A") for p in range(number) for i in range(1 + p % 3)]
    parts = divide(cases, domain="A", validation=0.15, test=0.15, seed=seed)
    sides = [patients(parts.train), patients(parts.validation), patients(parts.test)]
    assert all(sides)
    assert sum(map(len, sides)) == len(set.union(*sides)) == number


def test_another_seed_is_another_split_and_the_same_seed_the_same(dataset) -> None:
    config = ProtocolConfig(sources=("A",), targets=("B",))
    plans = [folds(dataset(A=30, B=2), config, seed=seed)[0].train for seed in (0, 0, 1)]
    assert plans[0] == plans[1] != plans[2]


def test_test_only_domains_can_be_targets_but_no_sources(dataset) -> None:
    data = dataset(A=5, B=["test", "test", "test"])
    (fold,) = folds(data, ProtocolConfig(targets=("B",)), seed=0)
    assert len(fold.test) == 2 + 6
    with pytest.raises(ProtocolError, match=r"Domain 'B': all 3 patient\(s\) are for testing.*Use it as a target"):
        folds(data, ProtocolConfig(sources=("B",)), seed=0)


def test_too_few_patients(dataset) -> None:
    data = dataset(A=2, B=2)
    with pytest.raises(
        ProtocolError, match=r"Domain 'A': 2 patient\(s\), of which 1 would test and 1 validate.*least 3"
    ):
        folds(data, ProtocolConfig(sources=("A",)), seed=0)
    (fold,) = folds(data, ProtocolConfig(sources=("A",), test=0.0), seed=0)
    assert (len(fold.train), len(fold.validation)) == (2, 2)


def test_a_patient_in_source_and_target_is_named(dataset) -> None:
    data = dataset(A=3, B=3)
    data.listed.append(Case("again", "A/p01", "B"))
    with pytest.raises(ProtocolError, match="patient 'A/p01' is in .* with case 'B/again', in test"):
        folds(data, ProtocolConfig(sources=("A",), targets=("B",), test=0.0), seed=0)


def shown_again(dataset):
    """Domain B shows the patients of A as another vendor would."""
    data = dataset(A=10)
    data.listed = [Case(f"p{p}", f"P{p}", d) for d in "AB" for p in range(10)]
    return data


def test_targets_that_show_the_sources_patients_again_are_tested_on_those_held_out(dataset) -> None:
    data = shown_again(dataset)
    with pytest.raises(ProtocolError, match="a patient must be on one side"):
        folds(data, ProtocolConfig(sources=("A",), targets=("B",), test=0.3), seed=0)
    (fold,) = folds(data, ProtocolConfig(sources=("A",), targets=("B",), test=0.3, same_patients=True), seed=0)
    seen = {case.patient for case in fold.test if case.domain == "A"}
    assert len(seen) == 3 and seen == {case.patient for case in fold.test if case.domain == "B"}
    assert len(fold.test) == 6


def test_a_target_whose_patients_are_all_trained_on(dataset) -> None:
    data = shown_again(dataset)
    config = ProtocolConfig(sources=("A",), targets=("B",), test=0.3, same_patients=True)
    (fold,) = folds(data, config, seed=0)
    data.listed = [c for c in data.listed if c.domain == "A" or c.patient in {t.patient for t in fold.train}]
    with pytest.raises(ProtocolError, match=r"Domain 'B': all its patients are trained on.*Raise protocol.test"):
        folds(data, config, seed=0)


def test_a_patient_in_two_sources_stays_on_one_side(dataset) -> None:
    data = dataset(A=0)
    data.listed = [Case(f"{d}{p}", f"P{p}", d) for d in "AB" for p in range(9)] + [Case("t", "T", "C")]
    (fold,) = folds(data, ProtocolConfig(targets=("C",)), seed=0)
    assert len(patients(fold.train)) == len(fold.train) / 2 == 7


@pytest.mark.parametrize(
    ("settings", "error", "message"),
    [
        ({}, ProtocolError, "neither sources nor targets are named; domains are A, B"),
        ({"sources": ("A", "B")}, ProtocolError, "no domain is left to hold out"),
        ({"targets": ("A", "B")}, ProtocolError, "no domain is left to train on"),
        ({"sources": ("A",), "targets": ("A", "B")}, ProtocolError, "A is source and target"),
        ({"sources": ("A", "A")}, ProtocolError, "protocol.sources: A, A; each domain may stand once"),
        ({"sources": ("Aa",)}, UnknownName, "unknown domain 'Aa'. Did you mean 'A'"),
        ({"leave_one_out": True, "sources": ("A",)}, ProtocolError, "needs two or more domains"),
    ],
)
def test_impossible_plans(dataset, settings: dict, error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=message):
        folds(dataset(A=5, B=5), ProtocolConfig(**settings), seed=0)


@pytest.mark.parametrize("settings", [{"leave_one_out": True}, {"sources": ("a",)}, {"targets": ("a",)}])
def test_an_empty_folder_is_named_where_domains_lack(tmp_path: Path, settings: dict) -> None:
    (tmp_path / "a" / "images").mkdir(parents=True)
    data = Folder(Folder.Config(), tmp_path)
    with pytest.raises(DataError, match=r"(?s)1 problem in its files.*a/images: holds no image; one or more are req"):
        folds(data, ProtocolConfig(**settings), seed=0)


def test_all_domains_that_cannot_be_divided_are_named(dataset) -> None:
    data = dataset(A=1, B=9, C=2)
    with pytest.raises(ProtocolError, match=r"^Domain 'A': all 1 patient"):
        folds(data, ProtocolConfig(sources=("A", "B"), targets=("C",)), seed=0)
    with pytest.raises(
        ProtocolError, match=r"(?s)^protocol: 2 domains cannot.*Domain 'A': .*\n  Domain 'C': "
    ) as found:
        folds(data, ProtocolConfig(leave_one_out=True), seed=0)
    assert "Domain 'B'" not in str(found.value)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"leave_one_out": True, "targets": ["A"]}, "remove targets"),
        ({"validation": 0.5, "test": 0.5}, "patients must be left to train on"),
        ({"upper_bound": True, "test": 0.0}, "test must be above 0"),
        ({"same_patients": True, "test": 0.0}, "test must be above 0"),
        ({"targets": []}, "at least 1 item"),
        ({"holdout": 1}, "unknown key"),
    ],
)
def test_settings_that_contradict(settings: dict, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        parse(ProtocolConfig, settings, where="protocol")


def test_require() -> None:
    fold = Fold("C", ("A", "B"), ("C",), (), (), ())
    require(Setting(least_sources=2), fold)
    with pytest.raises(ProtocolError, match=r"trains on 2 domain\(s\) \(A, B\); ram_dsir needs at least 3"):
        require(Setting(least_sources=3), fold, objective="ram_dsir")


def test_adaptation_divides_the_targets_by_patient(dataset) -> None:
    data = dataset(A=10, B=9, C=2)
    config = ProtocolConfig(sources=("A",), targets=("B", "C"))
    (plain,), (fold,) = folds(data, config, seed=0), folds(data, config, seed=0, adapts=True)
    assert plain.unlabeled == () and len(patients(plain.test)) == 2 + 11
    tested = tuple(case for case in fold.test if not fold.seen(case))
    assert {c.domain for c in fold.unlabeled} == {c.domain for c in tested} == {"B", "C"}
    assert (len(patients(fold.unlabeled)), len(patients(tested))) == (5 + 1, 4 + 1)  # round(4.5) = 4 tested
    assert {c.key for c in (*fold.unlabeled, *tested)} == {c.key for d in "BC" for c in data.cases(d)}
    assert not patients(fold.unlabeled) & patients(fold.test)
    assert [c for c in fold.test if fold.seen(c)] == [c for c in plain.test if plain.seen(c)]
    assert (fold.train, fold.validation) == (plain.train, plain.validation) and not fold.transductive
    (more,) = folds(data, ProtocolConfig(sources=("A",), targets=("B",), adapt_share=0.8), seed=0, adapts=True)
    assert len(patients(more.unlabeled)) == 7
    assert data.labels_read == []


def test_transductive_adaptation_sees_the_tested_images_and_says_so(dataset) -> None:
    config = ProtocolConfig(sources=("A",), targets=("B",), adapt="transductive")
    (fold,) = folds(dataset(A=10, B=1), config, seed=0, adapts=True)
    assert fold.transductive
    assert fold.unlabeled == tuple(case for case in fold.test if case.domain == "B") != ()


def test_the_upper_bound_is_tested_among_the_cases_that_adaptation_is_tested_on(dataset) -> None:
    for patients_of_b, share in ((4, 0.5), (9, 0.7), (20, 0.85)):
        config = ProtocolConfig(sources=("A",), targets=("B",), upper_bound=True, adapt_share=share)
        held_out, upper = folds(dataset(A=6, B=patients_of_b), config, seed=4, adapts=True)
        assert {c.key for c in upper.test} <= {c.key for c in held_out.test} and upper.unlabeled == ()
    config = ProtocolConfig(sources=("A",), targets=("B",), upper_bound=True, adapt_share=0.9)
    with pytest.raises(ProtocolError, match=r"adapt_share is 0.9 and test 0.15; the upper bound"):
        folds(dataset(A=6, B=6), config, seed=0, adapts=True)


def test_adaptation_keeps_the_declared_test(dataset) -> None:
    data = dataset(A=5, B=["test", "train", None, "test"])
    (fold,) = folds(data, ProtocolConfig(sources=("A",), targets=("B",)), seed=0, adapts=True)
    assert {c.split for c in fold.test if c.domain == "B"} == {"test"}
    assert {c.split for c in fold.unlabeled} == {"train", None}


def test_of_patients_shown_again_those_trained_on_are_seen_unlabeled(dataset) -> None:
    config = ProtocolConfig(sources=("A",), targets=("B",), test=0.3, same_patients=True)
    (fold,) = folds(shown_again(dataset), config, seed=0, adapts=True)
    assert patients(fold.unlabeled) == patients(fold.train) and {c.domain for c in fold.unlabeled} == {"B"}


def test_a_target_too_small_to_be_divided(dataset) -> None:
    config = ProtocolConfig(sources=("A",), targets=("B",))
    with pytest.raises(ProtocolError, match=r"'B': 1 patient\(s\), which cannot be on both sides; adapt: held_out"):
        folds(dataset(A=5, B=1), config, seed=0, adapts=True)
    with pytest.raises(ProtocolError, match=r"'B': 2 patient\(s\), all of them declared for testing"):
        folds(dataset(A=5, B=["test", "test"]), config, seed=0, adapts=True)
    data = dataset(A=5, B=0, C=1)
    data.__class__ = type("Empty", (type(data),), {"domains": ("A", "B")})
    with pytest.raises(ProtocolError, match="Domain 'B': it has no cases"):
        folds(data, config, seed=0, adapts=True)


def test_an_objective_of_adaptation_needs_unlabeled_images() -> None:
    fold = Fold("C", ("A",), ("C",), (), (), ())
    with pytest.raises(ProtocolError, match="no unlabeled images of a target; advent adapts to one"):
        require(Setting("adaptation"), fold, objective="advent")
    require(Setting("adaptation"), Fold("C", ("A",), ("C",), (), (), (), unlabeled=(Case("x", "P", "C"),)))
