"""Networks around another network of this package: how the inner one is built, and named in a bundle."""

from __future__ import annotations

from unshift import discover
from unshift.config import MemberRef, parse
from unshift.contracts import Network
from unshift.errors import ConfigError
from unshift.networks.pretrained import from_scratch
from unshift.sample import Task

REFUSED = ("own", "dual_norm", "local_mask")


def built(ref: MemberRef | None, task: Task, channels: int | None, *, who: str) -> Network:
    """The network that ``ref`` names.

    Raises:
        ConfigError: none is named, one that runs foreign code, or one that is itself around another.
    """
    if ref is None or ref.name in REFUSED:
        found = "no network" if ref is None else f"`of` {ref.name}"
        raise ConfigError(
            f"{who}: {found}; another one of this package is required, which a bundle can build without running "
            "foreign code. Set `of`."
        )
    member = discover.load("networks", ref.name, where=f"{who}: of")
    network: Network = member(parse(member.Config, ref.settings, where=f"{who}: {ref.name}"), task, channels)
    return network


def reference(network: Network, *, who: str) -> MemberRef | None:
    """The name and all settings of a member, less those that say where weights came from; None of no member.

    Raises:
        ConfigError: the network runs foreign code, or is itself around another.
    """
    name = type(network).__module__.rpartition(".")[2]
    if name in REFUSED:
        raise ConfigError(
            f"{who}: the network is {name!r}; a network of this package is required, which a bundle can build without "
            "running foreign code. Choose another network."
        )
    if name not in discover.names("networks") or discover.load("networks", name) is not type(network):
        return None
    return MemberRef.model_validate({"name": name, **from_scratch(network.config).model_dump(mode="json")})


def take_standardization(outer: Network, inner: Network) -> None:
    """``outer`` standardizes from now on; ``inner`` leaves images as they are."""
    outer.input_mean.copy_(inner.input_mean)
    outer.input_deviation.copy_(inner.input_deviation)
    inner.input_mean.zero_()
    inner.input_deviation.fill_(1)
