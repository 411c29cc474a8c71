"""What a recipe's members will be built with: given settings and defaults, one entry for pipelines that agree."""

from __future__ import annotations

from experiment_recipes import tiny
from unshift.config import MemberRef
from unshift.experiment.members import cited_as, own_settings, used_members
from unshift.report.citation import works_of


def test_one_entry_for_pipelines_that_use_a_member_alike() -> None:
    pipelines = {
        "baseline": {"objective": "erm"},
        "a": {"objective": "cqg", "normalizations": ["dcin"]},
        "b": {"objective": {"name": "cqg", "passes": "one"}, "normalizations": [{"name": "dcin", "nearest": 2}]},
    }
    found = {(used.family, used.name, used.pipelines): used for used in used_members(tiny(pipelines=pipelines))}
    assert [key for key in found if key[0] != "datasets"] == [
        ("networks", "unet", ("baseline", "a", "b")),
        ("objectives", "erm", ("baseline",)),
        ("objectives", "cqg", ("a", "b")),
        ("normalizations", "dcin", ("a",)),
        ("normalizations", "dcin", ("b",)),
    ]
    assert found["objectives", "cqg", ("a", "b")].settings["agreement_weight"] == 1.0
    assert found["normalizations", "dcin", ("a",)].settings["nearest"] == 1
    assert found["normalizations", "dcin", ("b",)].settings["nearest"] == 2
    assert found["networks", "unet", ("baseline", "a", "b")].settings["widths"] == [4, 8]


def test_what_stands_behind_a_member_is_cited_with_it() -> None:
    pipelines = {
        "baseline": {"objective": {"name": "augmented", "augmentations": [{"name": "rand_conv"}]}},
        "a": {"objective": "ram_dsir", "normalizations": [{"name": "color_transfer", "method": "macenko"}]},
    }
    cited = [one for used in used_members(tiny(pipelines=pipelines)) for one in cited_as(used)]
    assert {("objectives", "ram_dsir"), ("augmentations", "rand_conv"), ("augmentations", "amplitude_mix")} <= set(
        cited
    )
    assert ("color methods", "macenko") in cited and ("color methods", "lab") not in cited
    works = works_of(cited, cited=())
    assert any(work.startswith("Macenko") for work in works) and not any("Reinhard" in work for work in works)


def test_own_settings_are_those_that_differ_from_the_defaults() -> None:
    given = {"name": "style_translation", "translator": {"width": 4, "code": 8}, "judges": {}}
    assert own_settings("objectives", MemberRef.model_validate("erm"), where="x") == {}
    known = own_settings("objectives", MemberRef.model_validate({"name": "fact", "weight": 2.0}), where="x")
    assert known == {}, "given, and the default"
    found = own_settings("objectives", MemberRef.model_validate(given), where="x")
    assert found == {"translator": {"width": 4}}
