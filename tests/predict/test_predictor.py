from __future__ import annotations

import dataclasses
from typing import Literal

import pytest
import torch
from torch import nn

from unshift.contracts import Normalization
from unshift.errors import ConfigError, NumericalError, ShapeMismatch
from unshift.geometry import InputConfig
from unshift.predict.predictor import Predictor, evaluating, fast_layout
from unshift.predict.settings import PredictConfig
from unshift.sample import Reference, Sample, Task

TASK = Task(channels=1, classes=("background", "organ", "lesion"))
WINDOW = InputConfig(mode="window", size=(16, 16))
RESIZE = InputConfig(size=(16, 16))


class Threshold(nn.Module):
    """Background below 1/3, organ to 2/3, lesion above: what it sees is what it says."""

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        return -200 * (images - torch.tensor([1 / 6, 3 / 6, 5 / 6]).view(1, 3, *(1,) * (images.ndim - 2))) ** 2


def network(channels: int = 1) -> nn.Module:
    torch.manual_seed(0)
    return nn.Sequential(
        nn.Conv2d(channels, 8, 3, padding=1),
        nn.BatchNorm2d(8),
        nn.ReLU(),
        nn.Dropout(0.5),
        nn.Conv2d(8, 3, 3, padding=1),
    )


def sample(*space: int, seed: int = 0, **fields: object) -> Sample:
    image = torch.rand(1, *space, generator=torch.Generator().manual_seed(seed))
    return Sample(image, case=f"case {seed}", patient="p", domain="d", **fields)


def expected_labels(image: torch.Tensor) -> torch.Tensor:
    return (image[0] > 1 / 3).long() + (image[0] > 2 / 3).long()


@pytest.mark.parametrize("space", [(1, 1), (16, 16), (7, 45), (33, 20)])
def test_a_known_model_gives_the_known_label_map(space: tuple[int, int]) -> None:
    example = sample(*space, spacing=(0.5, 0.7))
    found = Predictor(Threshold(), TASK, input=WINDOW).predict(example)
    assert torch.equal(found.label_map, expected_labels(example.image)) and found.label_map.dtype == torch.int64
    assert (found.case, found.patient, found.domain, found.spacing) == ("case 0", "p", "d", (0.5, 0.7))
    assert found.probabilities is None and found.notes == ()


@pytest.mark.parametrize("size", [(16, 16), (8, 8, 8)])
def test_volumes_by_slices_and_as_a_whole(size: tuple[int, ...]) -> None:
    example = sample(5, 18, 9, affine=torch.eye(4, dtype=torch.float64))
    found = Predictor(Threshold(), TASK, input=InputConfig(mode="window", size=size)).predict(example)
    assert torch.equal(found.label_map, expected_labels(example.image))
    assert found.affine is example.affine


@pytest.mark.parametrize("space", [(1, 1), (9, 50), (40, 40), (6, 12, 20)])
@pytest.mark.parametrize("mode", ["resize", "window"])
def test_predictions_lie_on_the_original_grid(space: tuple[int, ...], mode: str) -> None:
    config = PredictConfig(probabilities=True, mirror=True)
    example = sample(*space)
    found = Predictor(network(), TASK, input=InputConfig(mode=mode, size=(16, 16)), config=config).predict(example)
    assert found.label_map.shape == example.space and found.probabilities is not None
    torch.testing.assert_close(found.probabilities.sum(0), torch.ones(space))
    assert torch.equal(found.probabilities.argmax(0), found.label_map)


@pytest.mark.parametrize("mode", ["resize", "window"])
def test_neither_batch_size_nor_order_nor_history_matters(mode: str) -> None:
    model, size_config = network(3), InputConfig(mode=mode, size=(16, 16), neighbours=1)
    examples = [sample(7, 20, 24, seed=seed) for seed in range(3)]

    def run(batch_size: int, order: list[int]) -> dict[int, torch.Tensor]:
        config = PredictConfig(batch_size=batch_size, probabilities=True)
        predictor = Predictor(model, TASK, input=size_config, config=config)
        return {index: predictor.predict(examples[index]).probabilities for index in order}  # type: ignore[misc]

    reference = run(1, [0, 1, 2])
    for batch_size in (2, 5, 64):
        other = run(batch_size, [2, 0, 1])
        for index in range(3):
            torch.testing.assert_close(other[index], reference[index], atol=1e-6, rtol=0)
            assert torch.equal(other[index].argmax(0), reference[index].argmax(0))
    again = run(1, [1, 2, 0])
    assert all(torch.equal(again[index], reference[index]) for index in range(3))


def test_the_label_map_is_never_looked_at() -> None:
    class Sealed(Sample):
        def __getattribute__(self, name: str) -> object:
            if name == "label_map" and "opened" in vars(self):
                raise AssertionError("the label map was read")
            return super().__getattribute__(name)

    plain = sample(16, 16)
    sealed = Sealed(plain.image, "case 0", "p", "d", label_map=torch.ones(16, 16, dtype=torch.int64))
    object.__setattr__(sealed, "opened", False)
    with pytest.raises(AssertionError, match="was read"):
        _ = sealed.label_map
    predictor = Predictor(network(), TASK, input=RESIZE)
    assert torch.equal(predictor.predict(sealed).label_map, predictor.predict(plain).label_map)


def test_modes_and_weights_of_the_model_are_left_as_they_were() -> None:
    model = network().train()
    model[1].eval()
    state = {key: value.clone() for key, value in model.state_dict().items()}
    Predictor(model, TASK, input=RESIZE).predict(sample(16, 16))
    assert [module.training for module in model] == [True, False, True, True, True] and model.training
    assert all(torch.equal(state[key], value) for key, value in model.state_dict().items())
    with pytest.raises(RuntimeError, match="inside"), evaluating(model):  # noqa: PT012
        assert not model.training and not model[3].training
        raise RuntimeError("inside")
    assert model.training and not model[1].training


def test_views_are_averaged_on_probabilities() -> None:
    class Shift(Normalization):
        def views(self, given: Sample) -> list[Sample]:
            return [given.replace(image=given.image + amount) for amount in (0.0, 0.3)]

    example, config = sample(16, 16), PredictConfig(probabilities=True)
    found = Predictor(Threshold(), TASK, input=RESIZE, config=config, normalizations=[Shift(None)]).predict(example)
    logits = [Threshold()(example.image[None] + amount).softmax(1)[0] for amount in (0.0, 0.3)]
    torch.testing.assert_close(found.probabilities, (logits[0] + logits[1]) / 2)


class Tinted(Normalization):
    """Views of other brightness; the second one says which picture it was made after."""

    def views(self, given: Sample) -> list[Sample]:
        brighter = given.replace(image=given.image * 3, reference=Reference("local", "src/1", 0.5))
        return [given, brighter, given.replace(image=given.image - 1)]


@pytest.mark.parametrize("average", ["probabilities", "logits"])
def test_several_views_by_hand(average: Literal["probabilities", "logits"]) -> None:
    """The mean of softmax outputs of all views; or, as the color-quality paper's code, the softmax of mean logits."""
    model, example = network().eval(), sample(16, 16)
    config = PredictConfig(probabilities=True, average=average)
    found = Predictor(model, TASK, input=RESIZE, config=config, normalizations=[Tinted(None)]).predict(example)
    with torch.no_grad():
        logits = torch.stack([model(i[None])[0] for i in (example.image, example.image * 3, example.image - 1)])
    mean = logits.softmax(1).mean(0) if average == "probabilities" else logits.mean(0).softmax(0)
    torch.testing.assert_close(found.probabilities, mean)
    assert torch.equal(found.label_map, mean.argmax(0))
    assert found.references == (Reference("local", "src/1", 0.5),)
    assert (logits.softmax(1).mean(0) - logits.mean(0).softmax(0)).abs().max() > 1e-3


def test_outside_the_field_of_view_is_background() -> None:
    example = sample(16, 16)
    field = torch.zeros(16, 16, dtype=torch.bool)
    field[4:12] = True
    predictor = Predictor(Threshold(), TASK, input=WINDOW, config=PredictConfig(probabilities=True))
    found, free = predictor.predict(example.replace(field_of_view=field)), predictor.predict(example)
    assert not found.label_map[~field].any() and free.label_map[~field].any()
    assert torch.equal(found.label_map[field], free.label_map[field])
    assert found.probabilities is not None and float(found.probabilities[0][~field].min()) == 1.0


def test_repairs_are_applied_and_noted_and_guarded() -> None:
    image = torch.zeros(1, 16, 16)
    image[0, 2:7, 2:7], image[0, 4, 4], image[0, 12, 12] = 0.5, 0.0, 0.5
    example = sample(16, 16).replace(image=image)
    config = PredictConfig(largest_component=True, fill_holes=True)
    predictor = Predictor(Threshold(), TASK, input=WINDOW, config=config)
    found = predictor.predict(example)
    assert int(found.label_map.sum()) == 25 and found.label_map[4, 4] == 1 and found.label_map[12, 12] == 0
    assert found.notes == (
        "largest_component: removed 1 voxels of 'organ' in 1 component(s)",
        "fill_holes: added 1 voxels to 'organ'",
    )
    empty = predictor.predict(example.replace(image=torch.zeros(1, 16, 16)))
    assert not empty.label_map.any() and empty.notes == ()


def test_bfloat16_stays_close_and_gives_float32() -> None:
    example, config = sample(16, 16), PredictConfig(probabilities=True)
    half = Predictor(network(), TASK, input=RESIZE, config=config, precision="bf16-mixed").predict(example)
    full = Predictor(network(), TASK, input=RESIZE, config=config).predict(example)
    assert half.probabilities is not None and half.probabilities.dtype == torch.float32
    torch.testing.assert_close(half.probabilities, full.probabilities, atol=0.02, rtol=0)
    assert not torch.equal(half.probabilities, full.probabilities)


def test_errors_say_what_is_wrong() -> None:
    with pytest.raises(ConfigError, match=r"\[16, 16\].*multiples of 32.*nearest size is \[32, 32\]"):
        Predictor(network(), TASK, input=RESIZE, size_divisor=32)
    with pytest.raises(ConfigError, match="precision: 'fp8'.*32, bf16-mixed"):
        Predictor(network(), TASK, input=RESIZE, precision="fp8")
    two = dataclasses.replace(TASK, classes=("background", "organ"), regions={})
    with pytest.raises(ShapeMismatch, match=r"'case 0': the model returned \[1, 3, 16, 16\].*\[1, 2, 16, 16\]"):
        Predictor(network(), two, input=RESIZE).predict(sample(16, 16))
    with pytest.raises(ShapeMismatch, match="'case 0': image has 1 channel.* task has 3"):
        Predictor(network(3), dataclasses.replace(TASK, channels=3), input=RESIZE).predict(sample(16, 16))


def test_logits_that_are_not_finite_name_the_case_and_the_cause() -> None:
    example = sample(16, 16, seed=4)
    image = example.image.clone()
    image[0, 3, 3] = torch.nan
    with pytest.raises(NumericalError, match="'case 4': .* not finite.*Check the image"):
        Predictor(network(), TASK, input=RESIZE).predict(example.replace(image=image))
    model = network()
    with torch.no_grad():
        model[0].weight.fill_(torch.inf)
    with pytest.raises(NumericalError, match="'case 4': .* not finite.*Check the model's weights"):
        Predictor(model, TASK, input=RESIZE).predict(example)


def test_fast_layout_keeps_values_and_predictions() -> None:
    model, image = network(), torch.rand(1, 1, 16, 16)
    model.eval()
    before, weights = model(image), [p.clone() for p in model.parameters()]
    fast = fast_layout(model, (16, 16))
    assert fast[0].weight.is_contiguous(memory_format=torch.channels_last)
    assert all(torch.equal(a, b) for a, b in zip(weights, fast.parameters(), strict=True))
    assert torch.allclose(fast(image), before, atol=1e-5)
    volume = nn.Conv3d(1, 2, 3)
    assert fast_layout(volume, (8, 8, 8)) is volume


class Masked(nn.Module):
    """Says 'organ' wherever its mask is set: what reaches a plugin can be read off the label map."""

    def __init__(self) -> None:
        super().__init__()
        self.seen: list[tuple[int, ...] | None] = []

    def forward(self, images: torch.Tensor, fields_of_view: torch.Tensor | None = None) -> torch.Tensor:
        self.seen.append(None if fields_of_view is None else tuple(fields_of_view.shape))
        mask = torch.zeros_like(images[:, 0]) if fields_of_view is None else fields_of_view.float()
        return torch.stack([0.5 - mask, mask - 0.5, torch.full_like(mask, -9)], dim=1) * 50


@pytest.mark.parametrize("size", [InputConfig(mode="window", size=(16, 16)), InputConfig(size=(40, 48))])
@pytest.mark.parametrize("mirror", [False, True])
def test_the_field_of_view_travels_with_the_image(size: InputConfig, mirror: bool) -> None:
    field = torch.zeros(20, 24, dtype=torch.bool)
    field[3:11, 5:20] = True
    example = sample(20, 24, field_of_view=field)
    config = PredictConfig(mirror=mirror)
    found = Predictor(Masked(), TASK, input=size, config=config, uses_field_of_view=True).predict(example)
    assert torch.equal(found.label_map, field.long())


def test_a_model_that_takes_no_field_of_view_gets_none_and_a_sample_without_one_sends_none() -> None:
    model = Masked()
    Predictor(model, TASK, input=RESIZE, uses_field_of_view=True).predict(sample(20, 24))
    field = torch.ones(20, 24, dtype=torch.bool)
    Predictor(model, TASK, input=RESIZE).predict(sample(20, 24, field_of_view=field))
    assert model.seen == [None, None]


def test_the_field_of_view_of_a_stack_is_the_middle_slices() -> None:
    field = torch.zeros(5, 16, 16, dtype=torch.bool)
    for index in range(5):
        field[index, : 2 + 3 * index] = True
    size = InputConfig(size=(16, 16), neighbours=1)
    found = Predictor(Masked(), TASK, input=size, uses_field_of_view=True).predict(
        sample(5, 16, 16, field_of_view=field)
    )
    assert torch.equal(found.label_map, field.long())


def test_batch_norm_of_the_batch_replays_a_published_protocol_and_depends_on_the_company() -> None:
    model, resized = network(1), InputConfig(size=(16, 16))
    samples = [sample(16, 16, seed=1), sample(20, 12, seed=2)]
    for changes in ({}, {"batch_norm": "batch"}):
        predictor = Predictor(model, TASK, input=resized, config=PredictConfig(probabilities=True, **changes))
        alone = [predictor.predict(one).probabilities for one in samples]
        together = [found.probabilities for found in predictor.predict_together(samples)]
        same = all(torch.allclose(a, b, atol=1e-6) for a, b in zip(alone, together, strict=True))
        assert same is (not changes)
        assert [tuple(p.shape[1:]) for p in together] == [(16, 16), (20, 12)]
        (single,) = predictor.predict_together(samples[:1])
        torch.testing.assert_close(single.probabilities, alone[0])
    assert all(module.training for module in model.modules())
    with pytest.raises(ConfigError, match="'batch' for a network with units in it"):
        Predictor(model, TASK, input=resized, config=PredictConfig(batch_norm="batch"), uses_field_of_view=True)


def test_volumes_use_the_statistics_of_their_own_slices() -> None:
    model, volume = network(1), sample(6, 16, 16)
    found = {}
    for size in (3, 6):
        config = PredictConfig(batch_norm="batch", batch_size=size, probabilities=True)
        predictor = Predictor(model, TASK, input=InputConfig(size=(16, 16)), config=config)
        found[size] = predictor.predict(volume).probabilities
        (again,) = predictor.predict_together([volume])
        assert torch.equal(again.probabilities, found[size])
    assert not torch.allclose(found[3], found[6], atol=1e-6)


def test_a_threshold_in_place_of_the_most_probable_class() -> None:
    task = Task(1, ("background", "rim", "cup"), {"disc": frozenset({1, 2}), "cup": frozenset({2})})
    model, example = network(1), sample(16, 16)
    shown = {}
    for threshold in (None, 0.4):
        config = PredictConfig(threshold=threshold, probabilities=True)
        shown[threshold] = Predictor(model, task, input=InputConfig(size=(16, 16)), config=config).predict(example)
    probabilities = shown[None].probabilities
    assert torch.equal(shown[None].label_map, probabilities.argmax(0))
    assert torch.equal(shown[0.4].label_map > 0, probabilities[1:].sum(0) > 0.4)
    assert torch.equal(shown[0.4].label_map == 2, probabilities[2] > 0.4)
    with pytest.raises(ConfigError, match="do not contain one another"):
        Predictor(model, TASK, input=InputConfig(size=(16, 16)), config=PredictConfig(threshold=0.4))
