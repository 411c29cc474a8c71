from __future__ import annotations

import hashlib
import http.server
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch
from torch import nn

from unshift.config import parse
from unshift.errors import ConfigError, DataError
from unshift.networks.pretrained import (
    EncoderWeightsConfig,
    begin_from_file,
    begin_standardized,
    download,
    fit_stem,
    from_scratch,
    unreachable,
)
from unshift.networks.unet import UNet, UNetConfig
from unshift.sample import Task

STATE = {"weight": torch.arange(6.0).reshape(2, 3), "bias": torch.tensor([1.0, 2.0])}


@pytest.fixture
def server(tmp_path: Path) -> Iterator[str]:
    """A local publisher of files in ``tmp_path``."""

    class Quiet(http.server.SimpleHTTPRequestHandler):
        def log_message(self, *_: object) -> None: ...

    handler = lambda *a: Quiet(*a, directory=str(tmp_path))  # noqa: E731
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as publisher:
        threading.Thread(target=publisher.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{publisher.server_port}"
        publisher.shutdown()


# ---------------------------------------------------------------------------------------------------- settings


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"weights": "a.pth"}, "weights needs mean and deviation"),
        ({"mean": [0.5]}, "give weights, or remove them"),
        ({"weights_of": "network"}, "give weights, or remove them"),
        ({"pretrained": "imagenet", "weights": "a.pth", "mean": [0], "deviation": [1]}, "keep one"),
        ({"weights": "a.pth", "mean": [0], "deviation": [0]}, "every entry must be above 0"),
        ({"pretrained": "imagnet"}, "pretrained: Input should be 'none' or 'imagenet'"),
    ],
)
def test_settings_that_contradict(settings: dict[str, object], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        parse(EncoderWeightsConfig, settings, where="network")


def test_from_scratch_forgets_where_weights_came_from_and_nothing_else() -> None:
    assert from_scratch(UNetConfig(widths=(2, 4), weights=Path("a"))) == UNetConfig(widths=(2, 4))
    full = EncoderWeightsConfig(weights=Path("a"), weights_of="network", mean=(0.0,), deviation=(1.0,))
    assert from_scratch(full) == EncoderWeightsConfig()


# ---------------------------------------------------------------------------------------------------- loading


@pytest.mark.parametrize("channels", [1, 2, 3, 5])
def test_a_fitted_stem_answers_gray_images_as_before(channels: int) -> None:
    kernel = torch.rand(4, 3, 3, 3)
    fitted = fit_stem({"stem": kernel, "other": torch.ones(1)}, "stem", channels)
    gray = torch.rand(1, 1, 8, 8)
    before = nn.functional.conv2d(gray.expand(-1, 3, -1, -1), kernel)
    after = nn.functional.conv2d(gray.expand(-1, channels, -1, -1), fitted["stem"])
    torch.testing.assert_close(after, before)
    assert fitted["other"].tolist() == [1.0]
    if channels == 1:
        torch.testing.assert_close(fitted["stem"], kernel.sum(1, keepdim=True))


def test_begin_from_file_and_begin_standardized(tmp_path: Path) -> None:
    network = UNet(UNetConfig(widths=(2, 4)), Task(1, ("background", "organ")))
    begin_from_file(network, None)
    assert network.origin == "from scratch"
    begin_standardized(network, "somewhere", (0.3, 0.4, 0.5), (0.1, 0.2, 0.3))
    assert network.origin == "somewhere"
    torch.testing.assert_close(network.input_mean, torch.tensor([0.4]))
    torch.testing.assert_close(network.input_deviation, torch.tensor([0.2]))


# ------------------------------------------------------------------------------------------------- downloading


def published(folder: Path, name: str = "net") -> str:
    """Write STATE as a publisher does: with the beginning of its hash in its name."""
    torch.save(STATE, folder / "w.pth")
    digest = hashlib.sha256((folder / "w.pth").read_bytes()).hexdigest()[:8]
    (folder / "w.pth").rename(folder / f"{name}-{digest}.pth")
    return f"{name}-{digest}.pth"


def test_a_published_file_is_fetched_and_verified(server: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TORCH_HOME", str(tmp_path / "cache"))
    name = published(tmp_path)
    assert torch.equal(download(f"{server}/{name}", encoder="net")["weight"], STATE["weight"])
    assert list((tmp_path / "cache").rglob(name))


def test_a_changed_file_is_refused(server: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TORCH_HOME", str(tmp_path / "cache"))
    name = published(tmp_path)
    (tmp_path / name).write_bytes(b"something else")
    with pytest.raises(DataError, match="invalid hash value"):
        download(f"{server}/{name}", encoder="net")


def test_a_publisher_that_is_away(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TORCH_HOME", str(tmp_path / "cache"))
    with pytest.raises(DataError, match=r"ImageNet weights of net: could not be fetched .* `pretrained: none`"):
        download("http://127.0.0.1:9/net-12345678.pth", encoder="net")


def test_the_error_tells_the_ways_on() -> None:
    text = str(unreachable("net", "there", OSError("no route")))
    for way in ("no route", "`weights: PATH`", "efficientnet-lite0", "`pretrained: none`"):
        assert way in text
