"""A report with known effects: vendor B costs the baseline 30 points, `augmented` recovers 20, `equalized` harms."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from scipy import ndimage, stats

from unshift.contracts import Card
from unshift.report.content import Curve, Distribution, GalleryItem, Report

EFFECTS = {
    ("baseline", "vendor A"): 0.91,
    ("baseline", "vendor B"): 0.60,
    ("baseline", "vendor C"): 0.83,
    ("augmented", "vendor A"): 0.905,
    ("augmented", "vendor B"): 0.81,
    ("augmented", "vendor C"): 0.875,
    ("equalized", "vendor A"): 0.64,
    ("equalized", "vendor B"): 0.49,
    ("equalized", "vendor C"): 0.825,
}
KEYS = ["pipeline", "domain", "region", "metric", "unit", "seen"]


def scores_of(effects: Mapping[tuple[str, str], float], *, cases: int = 24, noise: float = 0.07) -> pd.DataFrame:
    """Long-form scores; a case's difficulty is shared by the pipelines, so that differences are paired."""
    rows = []
    for (pipeline, domain), mean in effects.items():
        # The draws depend on the domain alone (difficulty) and on both (noise); never on the order of the table.
        difficulty = np.random.default_rng([1, *domain.encode()]).normal(0, noise, cases)
        spread = np.random.default_rng([2, *pipeline.encode(), *domain.encode()]).normal(0, 0.025, cases)
        for k in range(cases):
            dice = float(np.clip(mean + difficulty[k] + spread[k], 0.02, 0.985))
            shared = {
                "run": "r",
                "pipeline": pipeline,
                "dataset": "phantom",
                "domain": domain,
                "patient": f"p{k // 2 if domain == 'vendor A' else k}",
                "case": f"{domain[-1].lower()}_{k:03d}",
                "reference_voxels": 900,
                "prediction_voxels": 880,
                "note": "",
                "fold": "0",
                "seed": 0,
                "seen": domain == "vendor A",
            }
            for metric, value, unit in (("dice", dice, "1"), ("nsd", dice**1.4, "1"), ("hd95", 40 * (1 - dice), "mm")):
                rows.append(shared | {"region": "head", "metric": metric, "value": value, "unit": unit})
    return pd.DataFrame(rows)


def summary_of(scores: pd.DataFrame) -> pd.DataFrame:
    rows = []
    for key, part in scores.groupby(KEYS, sort=False):
        values = part["value"].dropna().to_numpy()
        half = stats.sem(values) * 1.96 if len(values) > 1 else np.nan
        mean = values.mean() if len(values) else np.nan
        counts = {"n_scored": len(values), "n_undefined": len(part) - len(values), "n_missing": 0}
        rows.append(
            dict(zip(KEYS, key, strict=True)) | {"mean": mean, "low": mean - half, "high": mean + half} | counts
        )
    return pd.DataFrame(rows)


def comparisons_of(scores: pd.DataFrame, baseline: str) -> pd.DataFrame:
    wide = scores.pivot_table(
        index=["domain", "region", "metric", "patient", "case"], columns="pipeline", values="value", sort=False
    )
    rows = []
    others = [name for name in scores["pipeline"].unique() if name != baseline]
    for (domain, region, metric), part in wide.groupby(level=[0, 1, 2], sort=False):
        for name in others:
            gains = (part[name] - part[baseline]).dropna().to_numpy()
            half = 1.96 * stats.sem(gains)
            p = min(1.0, len(others) * float(stats.wilcoxon(gains).pvalue))
            rows.append(
                {"pipeline": name, "baseline": baseline, "domain": domain, "region": region, "metric": metric}
                | {"difference": gains.mean(), "low": gains.mean() - half, "high": gains.mean() + half}
                | {"p": p / len(others), "p_holm": p, "n": len(gains), "wins": int((gains > 0).sum())}
            )
    columns = ["pipeline", "baseline", "domain", "region", "metric", "difference", "low", "high", "p", "p_holm", "n"]
    return pd.DataFrame(rows, columns=[*columns, "wins"])


def speckled(seed: int, *, brightness: float, size: int = 224) -> tuple[np.ndarray, np.ndarray]:
    """An ultrasound-like picture of an ellipse, float [1, h, w] in 0 … 1, and its label map."""
    generator = np.random.default_rng(seed)
    y, x = np.mgrid[:size, : int(size * 1.25)]
    angle, center = generator.uniform(0, 3), np.array([size / 2, size * 0.62]) + generator.normal(0, 9, 2)
    u = (x - center[1]) * np.cos(angle) + (y - center[0]) * np.sin(angle)
    v = (y - center[0]) * np.cos(angle) - (x - center[1]) * np.sin(angle)
    radius = np.hypot(u / (size * 0.36), v / (size * 0.27))
    echo = 0.16 + 0.85 * np.exp(-(((radius - 1) / 0.045) ** 2)) + 0.1 * (radius < 1)
    noise = ndimage.gaussian_filter(generator.normal(0, 1, (2, *echo.shape)), (0, 1.1, 1.8))
    speckle = np.hypot(*noise) / np.hypot(*noise).mean()
    picture = np.clip(brightness * np.log1p(6 * echo * speckle) / 2.2, 0, 1) * np.exp(-y / size * 0.5)
    return picture[None].astype(np.float32), (radius < 1).astype(np.int64)


def gallery_of(scores: pd.DataFrame) -> list[GalleryItem]:
    """Worst, median and best case of each domain under the baseline; every pipeline on the same cases."""
    dice = scores[scores["metric"] == "dice"].dropna(subset=["value"])
    value = {tuple(key): v for *key, v in dice[["pipeline", "domain", "case", "value"]].itertuples(index=False)}
    items = []
    for domain in dice["domain"].unique():
        ordered = sorted((v, case) for (name, place, case), v in value.items() if (name, place) == ("baseline", domain))
        for rank, place in (("worst", 0), ("median", len(ordered) // 2), ("best", len(ordered) - 1)):
            case = ordered[place][1]
            picture, reference = speckled(sum(map(ord, case)), brightness=1.5 if domain == "vendor B" else 0.9)
            for pipeline in dice["pipeline"].unique():
                score = value[pipeline, domain, case]
                moved = int(60 * (1 - score))
                prediction = ndimage.shift(reference, (moved, -moved // 2), order=0)
                items.append(GalleryItem(pipeline, domain, case, rank, score, picture, reference, prediction))
    return items


def histograms_of(domains: list[str]) -> list[Distribution]:
    edges = np.linspace(0, 1, 65)
    shapes = {"vendor A": (2, 5), "vendor B": (4, 3), "vendor C": (2.4, 4.6)}
    found = []
    for domain in domains:
        density = stats.beta(*shapes.get(domain, (3, 3))).pdf((edges[1:] + edges[:-1]) / 2)
        density = density / (density * np.diff(edges)).sum()
        found.append(Distribution(domain, domain != "vendor A", "intensity", edges, density))
    return found


def report_of(effects: Mapping[tuple[str, str], float] = EFFECTS, **changes: Any) -> Report:
    scores = changes.pop("scores", None)
    scores = scores_of(effects) if scores is None else scores
    names = list(dict.fromkeys(scores["pipeline"]))
    steps = list(range(0, 2001, 50))
    settings: dict[str, Any] = {
        "title": "Fetal heads of three vendors",
        "card": Card(
            title="Phantom, fetal head",
            source="Simulated ultrasound, drawn by unshift.",
            licence="Apache-2.0.",
            patients="One case each.",
            layout="None.",
            citation="The unshift developers. Phantom.",
        ),
        "sources": ("vendor A",),
        "protocol": "Trained on 70 % of the patients of vendor A; tested on 15 % held out, and on all of B and C.",
        "selection": "The step with the best Dice on held-out validation patients of the sources.",
        "is_oracle": False,
        "recipe": "name: demo\ndataset: phantom\nseeds: [0]\n",
        "environment": {"python": "3.11.2", "torch": "2.13.0", "machine": "a CPU, 2 cores"},
        "code_version": "0.1.0",
        "seeds": (0,),
        "data_hashes": {
            "vendor A": "24 cases, sha256 9f86d081884c7d65",
            "vendor B": "24 cases, sha256 60303ae22b998861",
        },
        "command": "unshift demo",
        "scores": scores,
        "summary": summary_of(scores),
        "comparisons": comparisons_of(scores, names[0]),
        "baseline": names[0],
        "pipelines": {name: f"What {name} does." for name in names},
        "distributions": histograms_of(list(dict.fromkeys(scores["domain"]))),
        "curves": [
            Curve(n, "total loss", steps, [1 / (1 + s / (90 + 40 * k)) for s in steps]) for k, n in enumerate(names[:2])
        ],
        "citations": ("Zou & Donner (2008). Statistics in Medicine 27:1693.",),
    }
    return Report(**settings | changes)


@pytest.fixture(scope="session")
def make_report() -> Callable[..., Report]:
    return report_of


@pytest.fixture(scope="session")
def make_scores() -> Callable[..., pd.DataFrame]:
    return scores_of


@pytest.fixture(scope="session")
def full_report() -> Report:
    scores = scores_of(EFFECTS)
    return report_of(scores=scores, gallery=gallery_of(scores))


@pytest.fixture(scope="session")
def browser() -> Iterator[Any]:
    """Headless Chromium: UNSHIFT_CHROMIUM, or ``chromium`` on the path. Missing, it is a failure, not a skip."""
    from playwright.sync_api import sync_playwright

    place = os.environ.get("UNSHIFT_CHROMIUM") or shutil.which("chromium")
    assert place and Path(place).is_file(), "No Chromium. Install it (apt install chromium) or set UNSHIFT_CHROMIUM."
    quiet = ["--disable-background-networking", "--disable-component-update", "--disable-sync", "--no-first-run"]
    with sync_playwright() as playwright:
        chromium = playwright.chromium.launch(
            executable_path=place, args=["--no-sandbox", "--disable-gpu", "--disable-quic", *quiet]
        )
        yield chromium
        chromium.close()
