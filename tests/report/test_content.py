from __future__ import annotations

from typing import Any

import pandas as pd
import pytest

from unshift.errors import DataError, UnknownName


def test_columns_put_in_domain_first_and_sources_in_their_order(make_report: Any, make_scores: Any) -> None:
    scores = make_scores({("baseline", "vendor B"): 0.5, ("baseline", "vendor A"): 0.9}, cases=3)
    assert make_report(scores=scores).columns() == [("vendor A", True), ("vendor B", False)]
    assert make_report(scores=scores).unseen() == ["vendor B"]


def test_headline_region_is_the_first_or_the_one_asked_for(make_report: Any) -> None:
    report = make_report()
    rim = report.summary.assign(region="rim")

    both = pd.concat([report.summary, rim])
    assert report.headline_region == make_report(summary=both).headline_region == "head"
    assert make_report(summary=both, region="rim").headline_region == "rim"
    assert make_report(summary=both).regions == ["head", "rim"]


def test_a_frame_without_its_columns_is_refused(make_report: Any) -> None:
    with pytest.raises(DataError, match=r"Report: summary lack low, unit; all of .* needed"):
        make_report(summary=make_report().summary.drop(columns=["low", "unit"]))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"baseline": "basline"}, "Report: baseline: unknown pipeline 'basline'. Did you mean 'baseline'"),
        ({"metric": "dise"}, "unknown metric 'dise'. Did you mean 'dice'"),
        ({"region": "heart"}, "unknown region 'heart'"),
        ({"pipelines": {"baseline": ""}}, "unknown pipeline 'augmented'"),
    ],
)
def test_names_that_nothing_bears_are_refused(make_report: Any, change: dict[str, Any], message: str) -> None:
    with pytest.raises(UnknownName, match=message):
        make_report(**change)


def test_what_is_said_of_all_unseen_domains_may_be_missing(make_report: Any) -> None:
    means, changes = make_report().together("dice")
    assert means.empty and changes.empty
    rows = pd.DataFrame({"pipeline": "baseline", "region": "head", "metric": ["dice", "nsd"], "unit": "1"})
    means, changes = make_report(pooled=rows).together("nsd")
    assert means["metric"].tolist() == ["nsd"] and changes.empty
