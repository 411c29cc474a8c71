"""What the contact sheet draws, asked of the figure itself."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from matplotlib.colors import to_hex

from unshift.audit.distribution import distribution
from unshift.audit.sheet import OUTLINES, Row, draw, is_thin, plane
from unshift.sample import Case, Sample, Task

TASK = Task(1, ("background", "ventricle", "heart_muscle"))


def disc(size: int, low: float, high: float) -> np.ndarray:
    rows, columns = np.mgrid[:size, :size] - size / 2
    distance = np.hypot(rows, columns)
    return (distance >= low) & (distance < high)


def sample(label_map: torch.Tensor | None = None, channels: int = 1) -> Sample:
    image = torch.rand(channels, 64, 64, generator=torch.Generator().manual_seed(0))
    return Sample(image=image, case="c", patient="p", domain="A", label_map=label_map)


def row(*examples: Sample | str, channels: int = 1) -> Row:
    cases = [Case(f"case_{i}", f"p{i // 2}", "A") for i in range(len(examples))]
    shown = distribution([s for s in examples if isinstance(s, Sample)], (0.0, 1.0), channels)
    return Row("A", cases, list(zip(cases, examples, strict=True)), shown)


def texts(figure) -> str:
    figure.canvas.draw()
    found = [text.get_text() for text in figure.texts]
    for axes in figure.axes:
        found += [axes.get_title(), *(text.get_text() for text in axes.texts)]
    legends = [text.get_text() for legend in figure.legends for text in legend.get_texts()]
    return "\n".join(found + legends)


def test_it_says_domain_cases_patients_and_classes() -> None:
    labels = torch.from_numpy(disc(64, 0, 10) + 2 * disc(64, 10, 16)).long()
    text = texts(draw("Hearts", [row(sample(labels), sample(torch.zeros_like(labels)), sample())], TASK))
    for piece in ("Hearts: 1 domain, 3 cases", "A\n", "3 cases\n2 patients", "heart muscle", "mean of 3 images"):
        assert piece in text
    assert "case_1  (empty)" in text
    assert "case_2\n" in text


def test_the_inner_structure_is_drawn_last() -> None:
    labels = torch.from_numpy(disc(64, 0, 20) + 2 * disc(64, 20, 22)).long()
    figure = draw("Hearts", [row(sample(labels))], TASK)
    outlines = figure.axes[1].collections
    assert [to_hex(lines.get_edgecolor()[0]).upper() for lines in outlines] == [OUTLINES[1], OUTLINES[0]]


def test_an_outline_is_closed_at_the_images_edge_and_on_its_pixels() -> None:
    labels = torch.zeros(64, 64, dtype=torch.int64)
    labels[:4, 10:20] = 1
    (lines,) = draw("x", [row(sample(labels))], TASK).axes[1].collections
    (path,) = lines.get_paths()
    assert path.vertices.min(axis=0).tolist() == [9.5, -0.5]
    assert path.vertices.max(axis=0).tolist() == [19.5, 3.5]
    assert path.vertices[0].tolist() == path.vertices[-1].tolist()


def test_nets_of_lines_are_filled_and_blobs_outlined() -> None:
    net = np.zeros((512, 512), dtype=bool)
    net[::16] = net[:, ::16] = True
    assert is_thin(net)
    assert not is_thin(disc(64, 0, 20))
    assert not is_thin(disc(512, 0, 4))
    assert not is_thin(np.zeros((8, 8), dtype=bool))


def test_a_volume_shows_its_fullest_slice_in_its_proportions() -> None:
    image = torch.arange(3.0).view(1, 3, 1, 1).expand(1, 3, 4, 5) * 100 + torch.arange(5.0)
    labels = torch.zeros(3, 4, 5, dtype=torch.int64)
    labels[2, 1:3] = 1
    volume = Sample(image=image, case="c", patient="p", domain="A", label_map=labels, spacing=(5.0, 1.0, 0.5))
    shown = plane(volume)
    assert (shown.place, shown.aspect) == ("  slice 3/3", 2.0)
    assert shown.label_map is not None and shown.label_map.sum() == 10
    assert (shown.picture.min(), shown.picture.max()) == (0, 1)
    assert plane(volume.unlabeled()).place == "  slice 2/3"


def test_pictures_in_range_are_shown_as_they_are() -> None:
    picture = sample(channels=3)
    assert np.array_equal(plane(picture).picture, picture.image.permute(1, 2, 0).numpy())


def test_a_case_without_image_shows_the_reason() -> None:
    assert "truncated" in texts(draw("x", [row("A/images/1.png: truncated. Copy it again.")], TASK))


@pytest.mark.parametrize(("channels", "kind"), [(1, "intensity: mean"), (3, "color: mean"), (4, "channels: mean")])
def test_histograms_by_channel(channels: int, kind: str) -> None:
    figure = draw("x", [row(sample(channels=channels), channels=channels)], Task(channels, ("background", "a")))
    histogram = figure.axes[-1]
    assert len(histogram.lines) == channels
    assert kind in histogram.get_title()


def test_a_bin_that_stands_out_is_cut_and_marked() -> None:
    image = torch.rand(1, 64, 64, generator=torch.Generator().manual_seed(0))
    image[:, :32] = 0
    dark = Sample(image=image, case="c", patient="p", domain="A")
    histogram = draw("x", [row(dark)], TASK).axes[-1]
    assert [text.get_text().strip() for text in histogram.texts] == ["← 51 %"]
    assert histogram.get_ylim()[1] < 0.2
