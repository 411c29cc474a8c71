"""Patients by a declared rule."""

from __future__ import annotations

import pytest

from unshift.config import parse
from unshift.datasets.patients import PatientPattern, patient_of
from unshift.errors import ConfigError, DataError


def test_a_stem_is_its_own_patient_in_its_own_domain() -> None:
    assert patient_of("001", "A", "stem") == "A/001"
    assert patient_of("001", "A", "stem") != patient_of("001", "B", "stem")


def test_the_first_group_that_matched_is_the_patient() -> None:
    rule = PatientPattern(pattern=r"^([A-Z]{4})_\d+$|^(\d+)$")
    assert patient_of("ALWI_003", "A", rule) == patient_of("ALWI_009", "B", rule) == "ALWI"
    assert patient_of("12", "A", rule) == "12"
    scoped = PatientPattern(pattern=r"^(\d+)_", scope="domain")
    assert (patient_of("12_a", "A", scoped), patient_of("12_b", "B", scoped)) == ("A/12", "B/12")


def test_an_image_without_patient_is_an_error() -> None:
    with pytest.raises(DataError, match=r"Image 'x' of domain 'A': the patient pattern .* does not match"):
        patient_of("x", "A", PatientPattern(pattern=r"^(\d+)"))
    with pytest.raises(DataError, match="does not match"):
        patient_of("x", "A", PatientPattern(pattern=r"^(\d*)"))


@pytest.mark.parametrize(("pattern", "message"), [("^abc", "has no group"), ("^(abc", "not a regular expression")])
def test_a_pattern_that_cannot_name_a_patient_is_refused(pattern: str, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        parse(PatientPattern, {"pattern": pattern}, where="test")
