from __future__ import annotations

import json
import signal
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

from unshift.errors import ConfigError, NumericalError
from unshift.experiment import pretraining
from unshift.experiment.events import Event, Listener
from unshift.experiment.pretraining import PretrainConfig, draw, finish, pretrain
from unshift.train.devices import Devices

CONFIG = PretrainConfig(steps=12, batch=2, size=32, learning_rate=1e-2, seed=3)
CPU = Devices(accelerator="cpu")


class Noisy(nn.Module):
    """A small model whose loss also depends on the step's own randomness."""

    def __init__(self) -> None:
        super().__init__()
        self.layer = nn.Conv2d(3, 3, 3)
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(0)
            nn.init.normal_(self.layer.weight, std=0.1)
        nn.init.zeros_(self.layer.bias)
        self.frozen = nn.Parameter(torch.ones(()), requires_grad=False)

    def forward(self, images: Tensor, generator: torch.Generator) -> dict[str, Tensor]:
        noise = torch.rand(images.shape, generator=generator)
        error = self.layer((images + 0.1 * noise).to(self.layer.weight)) - images[..., 1:-1, 1:-1]
        return {"error": error.float().square().mean(), "size": 1e-3 * self.layer.weight.float().square().sum()}


@pytest.fixture(autouse=True)
def float32(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pretraining, "candidate_precision", lambda devices: ("32", "asked for by the test"))


def images(count: int = 5) -> list[Tensor]:
    return list(torch.rand(count, 3, 40, 44, generator=torch.Generator().manual_seed(1)))


def lines(output: Path) -> list[dict[str, float]]:
    return [json.loads(line) for line in Path(f"{output}.jsonl").read_text(encoding="utf-8").splitlines()]


def stop_at(step: int) -> Listener:
    def listener(event: Event) -> None:
        if event.done == step:
            signal.raise_signal(signal.SIGINT)

    return listener


def test_it_learns_and_leaves_frozen_parameters(tmp_path: Path) -> None:
    model = Noisy()
    config = CONFIG.model_copy(update={"steps": 60})
    pretrain(model, images(), config, output=tmp_path / "w", devices=CPU)
    errors = [line["error"] for line in lines(tmp_path / "w")]
    assert [line["step"] for line in lines(tmp_path / "w")] == [10, 20, 30, 40, 50, 60]
    assert errors[-1] < 0.5 * errors[0]
    assert float(model.frozen) == 1
    assert not model.training


@pytest.mark.parametrize("stop", [1, 7, 11])
def test_interrupted_it_ends_with_the_same_weights(stop: int, tmp_path: Path) -> None:
    whole, parts = Noisy(), Noisy()
    pretrain(whole, images(), CONFIG, output=tmp_path / "whole", devices=CPU)
    with pytest.raises(KeyboardInterrupt):
        pretrain(parts, images(), CONFIG, output=tmp_path / "parts", devices=CPU, listener=stop_at(stop))
    seen: list[int] = []
    fresh = Noisy()
    pretrain(
        fresh, images(), CONFIG, output=tmp_path / "parts", devices=CPU, listener=lambda event: seen.append(event.done)
    )
    assert seen == list(range(stop + 1, 13))
    for name, value in whole.state_dict().items():
        assert torch.equal(fresh.state_dict()[name], value), name
    assert lines(tmp_path / "parts") == lines(tmp_path / "whole")


def test_a_log_that_was_cut_off_does_not_stop_it(tmp_path: Path) -> None:
    """A machine that loses power while a line is written leaves half of it."""
    config = CONFIG.model_copy(update={"steps": 60})
    with pytest.raises(KeyboardInterrupt):
        pretrain(Noisy(), images(), config, output=tmp_path / "w", devices=CPU, listener=stop_at(25))
    with Path(f"{tmp_path / 'w'}.jsonl").open("a", encoding="utf-8") as log:
        log.write('{"step": 30, "err')
    pretrain(Noisy(), images(), config, output=tmp_path / "w", devices=CPU)
    assert [line["step"] for line in lines(tmp_path / "w")] == [10, 20, 30, 40, 50, 60]


def test_progress_of_another_training_is_refused(tmp_path: Path) -> None:
    output = tmp_path / "w"
    with pytest.raises(KeyboardInterrupt):
        pretrain(Noisy(), images(), CONFIG, output=output, devices=CPU, listener=stop_at(4))
    others = [
        (Noisy(), images(4), CONFIG),
        (Noisy(), images(), CONFIG.model_copy(update={"seed": 4})),
        (Noisy(), images(), CONFIG.model_copy(update={"steps": 13})),
    ]
    for model, content, config in others:
        with pytest.raises(ConfigError, match="other settings or images"):
            pretrain(model, content, config, output=output, devices=CPU)
    (tmp_path / ".w.progress").write_bytes(b"broken")
    with pytest.raises(ConfigError, match="Delete it to begin again"):
        pretrain(Noisy(), images(), CONFIG, output=output, devices=CPU)
    finish(output, CONFIG, {"psnr": 30.0})
    assert not (tmp_path / ".w.progress").exists()
    assert lines(output)[-1] == {"step": 12, "settings": CONFIG.model_dump(), "held_out": {"psnr": 30.0}}


def test_a_loss_that_is_not_finite_is_an_error(tmp_path: Path) -> None:
    broken = [torch.full((3, 32, 32), torch.nan)]
    with pytest.raises(NumericalError, match="Lower the learning rate"):
        pretrain(Noisy(), broken, CONFIG, output=tmp_path / "w", devices=CPU)


def test_mixed_precision_follows_float32(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    config = CONFIG.model_copy(update={"steps": 30})
    plain, mixed = Noisy(), Noisy()
    pretrain(plain, images(), config, output=tmp_path / "plain", devices=CPU)
    monkeypatch.setattr(pretraining, "candidate_precision", lambda devices: ("bf16-mixed", "asked for"))
    pretrain(mixed, images(), config, output=tmp_path / "mixed", devices=CPU)
    assert mixed.layer.weight.dtype == torch.float32
    assert not torch.equal(mixed.layer.weight, plain.layer.weight)
    torch.testing.assert_close(mixed.layer.weight, plain.layer.weight, atol=0.02, rtol=0.05)


def test_batches_are_a_function_of_the_step() -> None:
    first, again, other = (draw(images(), CONFIG, step) for step in (4, 4, 5))
    assert first.shape == (2, 3, 32, 32)
    assert torch.equal(first, again)
    assert not torch.equal(first, other)


def test_batches_are_crops_under_a_power_some_of_them_gray_or_mirrored() -> None:
    """Each crop of a ramp whose channels differ, undone by its power, is a piece of the ramp or its mirror."""
    ramp = torch.linspace(0.2, 0.9, 44).expand(40, 44)
    image = torch.stack([ramp, ramp / 2, ramp / 4])
    config = CONFIG.model_copy(update={"batch": 60})
    crops = draw([image], config, 0)
    gray = (crops[:, 0] == crops[:, 1]).all(2).all(1)
    assert 8 <= int(gray.sum()) <= 28  # 30 % of 60
    rising = crops[:, 0, 0, -1] > crops[:, 0, 0, 0]
    assert 18 <= int(rising.sum()) <= 42
    for crop in crops[~gray]:
        power = (crop[0].log() - crop[1].log()) / torch.tensor(2.0).log()  # a ratio of 2 became 2 ** power
        assert 0.5 <= float(power.mean()) <= 2
        steps = (crop[0] ** (1 / power.mean())).diff(dim=1).abs()
        torch.testing.assert_close(steps, torch.full_like(steps, 0.7 / 43), atol=1e-4, rtol=0)
