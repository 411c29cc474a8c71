"""The wording of errors is part of the interface."""

from __future__ import annotations

import inspect

from unshift import errors


def test_unknown_name_offers_the_nearest_and_all() -> None:
    error = errors.UnknownName("objective", "augmneted", ["erm", "augmented"], where="recipe.yaml")
    assert str(error) == (
        "recipe.yaml: unknown objective 'augmneted'. Did you mean 'augmented'? Known: augmented, erm."
    )


def test_unknown_name_without_a_near_one_lists_all() -> None:
    assert str(errors.UnknownName("objective", "zzz", ["erm"])) == "unknown objective 'zzz'. Known: erm."


def test_every_error_descends_from_the_base_and_stands_in_the_tree() -> None:
    classes = [c for _, c in inspect.getmembers(errors, inspect.isclass) if c.__module__ == errors.__name__]
    assert len(classes) >= 9
    for cls in classes:
        assert issubclass(cls, errors.UnshiftError)
        assert cls.__name__ in (errors.__doc__ or "")
