"""A file is a member, its file name is its name."""

from __future__ import annotations

import subprocess
import sys

import pytest

from unshift import discover
from unshift.errors import UnknownName


@pytest.mark.parametrize("family", discover.FAMILIES)
def test_every_member_loads_and_has_one_sentence(family: str) -> None:
    for name in discover.names(family):
        if name == "smp":
            continue  # behind an extra; loaded in its own environment
        assert discover.load(family, name).__name__
        assert 10 < len(discover.summary(family, name)) < 200


def test_members_of_the_first_families_are_there() -> None:
    assert set(discover.names("objectives")) >= {"erm", "augmented"}
    assert set(discover.names("networks")) >= {"unet", "ram_unet", "monai_net", "smp"}
    assert set(discover.names("formats")) == {"photo", "nifti", "dicom"}


def test_unknown_member_and_family() -> None:
    with pytest.raises(UnknownName, match="here: unknown objective 'emr'. Did you mean 'erm'"):
        discover.load("objectives", "emr", where="here")
    with pytest.raises(UnknownName, match="unknown family 'objectivs'. Did you mean 'objectives'"):
        discover.names("objectivs")
    with pytest.raises(UnknownName, match="unknown network 'unett'"):
        discover.summary("networks", "unett")


def test_listing_imports_nothing_heavy() -> None:
    code = (
        "import sys; from unshift import discover; "
        "[discover.summary(f, n) for f in discover.FAMILIES for n in discover.names(f)]; "
        "assert 'torch' not in sys.modules and 'numpy' not in sys.modules"
    )
    subprocess.run([sys.executable, "-c", code], check=True)
