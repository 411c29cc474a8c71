"""Patient ids by a declared rule: splits and bootstraps are by patient, so a guess here would be a leak there."""

from __future__ import annotations

import re
from typing import Literal

from pydantic import field_validator

from unshift.config import Config
from unshift.errors import DataError


class PatientPattern(Config):
    """A regular expression on the file's stem; the first group that matched is the patient.

    Args:
        pattern: matched at the start of the stem, with at least one group: ``^([A-Z]{4})_``.
        scope: ``dataset``: one id is one patient wherever it stands. ``domain``: the domains number their patients
            independently, so that ``03`` of one hospital is not ``03`` of another.
    """

    pattern: str
    scope: Literal["dataset", "domain"] = "dataset"

    @field_validator("pattern")
    @classmethod
    def _check(cls, pattern: str) -> str:
        try:
            groups = re.compile(pattern).groups
        except re.error as error:
            raise ValueError(f"{pattern!r} is not a regular expression ({error}); correct it") from None
        if not groups:
            raise ValueError(f"{pattern!r} has no group; put the part that names the patient in parentheses")
        return pattern


PatientRule = Literal["stem"] | PatientPattern
"""``stem``: nothing is known, each image is its own patient. Otherwise a :class:`PatientPattern`."""


def patient_of(stem: str, domain: str, rule: PatientRule) -> str:
    """The id of the patient whose image is ``stem``.

    Ids that hold in one domain only carry the domain's name (``HRF/01_dr``), so that equal file names in two domains
    are not taken for one patient.

    Raises:
        DataError: the pattern does not match.
    """
    if rule == "stem":
        return f"{domain}/{stem}"
    match = re.match(rule.pattern, stem)
    found = [group for group in match.groups() if group] if match else []
    if not found:
        raise DataError(
            f"Image {stem!r} of domain {domain!r}: the patient pattern {rule.pattern!r} does not match; every image "
            "needs a patient. Extend the pattern, or set patient: stem if no ids are known."
        )
    return found[0] if rule.scope == "dataset" else f"{domain}/{found[0]}"
