"""From a recipe's words to a network that fits the task and the input."""

from __future__ import annotations

from dataclasses import replace

from unshift import discover
from unshift.config import MemberRef, parse
from unshift.contracts import Network
from unshift.errors import ConfigError
from unshift.geometry import InputConfig, network_channels
from unshift.networks.pretrained import from_scratch
from unshift.networks.sizing import least_factor, nearest_size, times
from unshift.sample import Task


def build_network(ref: MemberRef, task: Task, input: InputConfig, *, pretrained: bool = True) -> Network:  # noqa: A002
    """The network that ``ref`` names.

    Its ``task`` has as many spatial dimensions as the input's size: a network on slices of volumes is 2-D. Its
    channels count the neighbouring slices.

    Args:
        pretrained: False builds the architecture alone, for a checkpoint or a bundle that brings all weights.

    Raises:
        UnknownName: no such network, or an unknown name in its settings.
        ConfigError: a setting is wrong; the input's size has more axes than the task or does not suit the network.
        DataError, MissingDependency, BundleError: pretrained weights that cannot be had or do not fit.
    """
    builder = discover.load("networks", ref.name, where="network")
    config = parse(builder.Config, ref.settings, where=f"network {ref.name}")
    if not pretrained:
        config = from_scratch(config)
    dims = len(input.size)
    if dims > task.spatial_dims:
        raise ConfigError(
            f"input size is {times(input.size)}; the task's images have {task.spatial_dims} spatial dimensions. "
            "Give as many sides as the images have axes, or two for slices of volumes."
        )
    network: Network = builder(config, replace(task, spatial_dims=dims), network_channels(task.channels, input))
    good = nearest_size(input.size, network.size_divisor, least=least_factor(network))
    if good != tuple(input.size):
        raise ConfigError(
            f"input size is {times(input.size)}; {ref.settings.get('builder') or ref.name} needs multiples of "
            f"{network.size_divisor}. "
            f"The nearest good size is {times(good)}."
        )
    return network
