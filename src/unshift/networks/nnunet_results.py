"""A folder of nnU-Net v2 results as a network: plans, dataset and checkpoint read, nnU-Net itself not needed.

``PlainConvUNet`` and ``ResidualEncoderUNet`` of the package dynamic-network-architectures, every configuration but
cascades, plans of all 2.x versions. What nnU-Net does around the network and unshift does not is said in
``limits``.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import prod
from pathlib import Path
from pickle import UnpicklingError  # the class alone: torch raises it for a file that its safe loader refuses
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from unshift.config import MemberRef, parse
from unshift.errors import BundleError, ConfigError
from unshift.geometry import InputConfig
from unshift.networks.own import Own, OwnConfig
from unshift.sample import Task
from unshift.weights import load_exactly

BUILDERS = {
    name: f"dynamic_network_architectures.architectures.unet:{name}"
    for name in ("PlainConvUNet", "ResidualEncoderUNet")
}
CHECKPOINTS = ("checkpoint_final.pth", "checkpoint_best.pth")
_BLOCKS = {"PlainConvUNet": "n_conv_per_stage", "ResidualEncoderUNet": "n_blocks_per_stage"}
_NUMBERS = (np.float16, np.float32, np.float64, np.int32, np.int64, np.bool_)


@dataclass(frozen=True)
class NnunetResults:
    """What a folder of results says, in unshift's words.

    Args:
        settings: of the network ``own``, without weights.
        checkpoint: the file of the weights.
        task: channels and classes; of its dimensions those of the images.
        input: windows of the patch's size, as nnU-Net predicts.
        preprocessing: of intensities, as nnU-Net's scheme does it.
        mirror: whether nnU-Net averages predictions over flips.
        spacing: mm in array axis order that the network was trained at; images must have it.
        limits: what nnU-Net does and unshift does not, for people to read.
    """

    settings: Mapping[str, Any]
    checkpoint: Path
    task: Task
    input: InputConfig
    preprocessing: tuple[MemberRef, ...]
    mirror: bool
    spacing: tuple[float, ...]
    limits: tuple[str, ...]

    def network(self) -> Own:
        """The network with its weights, in evaluation mode.

        Raises:
            MissingDependency: dynamic-network-architectures is not installed.
            BundleError: the checkpoint cannot be read safely, or its weights do not fit the plans.
        """
        config = parse(OwnConfig, dict(self.settings), where="nnU-Net results")
        task = Task(self.task.channels, self.task.classes, self.task.regions, len(self.input.size))
        network = Own(config, task)
        load_exactly(network.body, _weights(read_checkpoint(self.checkpoint)), where=str(self.checkpoint))
        network.origin = f"nnU-Net, {self.checkpoint.parent.parent.name}/{self.checkpoint.parent.name}"
        return network.eval()


def read_nnunet_results(folder: Path, *, fold: str | None = None, configuration: str | None = None) -> NnunetResults:
    """Read ``folder`` (``nnUNetTrainer__nnUNetPlans__3d_fullres``).

    Args:
        fold: ``0`` … ``4`` or ``all``; default: the first that is there.
        configuration: of the plans; default: the end of the folder's name.

    Raises:
        ConfigError: a file is missing or not as nnU-Net writes it; something that unshift cannot do: a cascade,
            overlapping labels (regions), permuted axes, an unknown architecture or normalization.
    """
    plans, dataset = _json(folder / "plans.json"), _json(folder / "dataset.json")
    name = configuration or folder.name.rpartition("__")[2]
    where = str(folder / "plans.json")
    try:
        plan = _inherited(plans["configurations"], name, where)
        if plan.get("previous_stage"):
            raise ConfigError(f"{where}: {name} is a cascade's second stage; it needs the first one's prediction.")
        classes, channels = _classes(dataset, folder), _channels(dataset)
        patch = tuple(plan["patch_size"])
        builder, arguments, layers = _architecture(plan, len(patch), where)
        arguments |= {"input_channels": len(channels), "num_classes": len(classes), "deep_supervision": False}
        preprocessing, numbers = _intensities(plan, plans, len(channels), where)
        checkpoint, folds = _checkpoint(folder, fold)
        flat = plans["original_median_shape_after_transp"][0] == 1
        transposed = plans["transpose_forward"]
        spacing = tuple(float(value) for value in plan["spacing"])
        masked = any(plan["use_mask_for_norm"])
    except KeyError as error:
        raise ConfigError(f"{folder}: plans.json or dataset.json has no {error}. Is it of nnU-Net v2?") from None
    if list(transposed) != sorted(transposed):
        raise ConfigError(f"{where}: nnU-Net permutes the images' axes by {transposed}; unshift does not. Retrain.")
    settings = {"builder": builder, "arguments": arguments, "classes": layers, **numbers}
    return NnunetResults(
        settings={**settings, "size_divisor": _divisors(arguments["strides"], len(patch))},
        checkpoint=checkpoint,
        task=Task(len(channels), classes, spatial_dims=2 if flat else 3),
        input=InputConfig.model_validate({"mode": "window", "size": patch}),
        preprocessing=preprocessing,
        mirror=bool(read_checkpoint(checkpoint).get("inference_allowed_mirroring_axes")),
        spacing=spacing,
        limits=_limits(spacing, flat=flat, folds=folds, masked=masked),
    )


def read_checkpoint(path: Path) -> dict[str, Any]:
    """A checkpoint of nnU-Net, read without running code: beside plain values it may hold NumPy's numbers.

    Raises:
        BundleError: missing, damaged, or it holds anything else.
    """
    scalar = np.float64(0).__reduce__()[0]
    places = [(scalar, f"numpy.{core}.multiarray.scalar") for core in ("core", "_core")]
    allowed: list[Any] = [np.dtype, *(type(np.dtype(number)) for number in _NUMBERS), *places]
    try:
        with torch.serialization.safe_globals(allowed):
            content = torch.load(path, map_location="cpu", weights_only=True)
    except (UnpicklingError, RuntimeError, EOFError, OSError, KeyError) as error:
        reason = " ".join(str(error).split())[:300]
        raise BundleError(f"{path}: cannot be read without running code ({reason}). Give nnU-Net's own file.") from None
    if not isinstance(content, dict) or not isinstance(content.get("network_weights"), Mapping):
        raise BundleError(f"{path}: has no network_weights; that is no checkpoint of nnU-Net v2.")
    return content


def _weights(checkpoint: Mapping[str, Any]) -> dict[str, Tensor]:
    weights = checkpoint["network_weights"]
    for wrapper in ("module.", "_orig_mod."):
        if weights and all(name.startswith(wrapper) for name in weights):
            weights = {name.removeprefix(wrapper): value for name, value in weights.items()}
    return dict(weights)


# ------------------------------------------------------------------------------------------------------ the parts


def _json(path: Path) -> dict[str, Any]:
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise ConfigError(
            f"{path}: no such file. Give the folder that nnU-Net wrote: <trainer>__<plans>__<configuration>."
        ) from None
    except (OSError, ValueError) as error:
        raise ConfigError(f"{path}: cannot be read as JSON ({error}). Copy it again.") from None
    if not isinstance(content, dict):
        raise ConfigError(f"{path}: holds {type(content).__name__}; nnU-Net writes names with values. Copy it again.")
    return content


def _inherited(configurations: Mapping[str, Any], name: str, where: str, seen: tuple[str, ...] = ()) -> dict[str, Any]:
    """The configuration with what it takes over from others."""
    if name not in configurations or name in seen:
        raise ConfigError(f"{where}: no configuration {name!r}; there are {sorted(configurations)}. Name one of them.")
    own = dict(configurations[name])
    parent = own.get("inherits_from")
    return {**_inherited(configurations, parent, where, (*seen, name)), **own} if parent else own


def _classes(dataset: Mapping[str, Any], folder: Path) -> tuple[str, ...]:
    labels = {name: value for name, value in dataset["labels"].items() if name != "ignore"}
    if any(isinstance(value, list | tuple) for value in labels.values()):
        raise ConfigError(
            f"{folder / 'dataset.json'}: labels are regions that overlap ({labels}); its network gives one sigmoid a "
            "region, which unshift cannot turn into classes. Train it on labels that exclude each other."
        )
    names = sorted(labels, key=lambda name: int(labels[name]))
    if [int(labels[name]) for name in names] != list(range(len(names))):
        raise ConfigError(f"{folder / 'dataset.json'}: labels are {labels}; 0, 1, 2, … without gaps are required.")
    return tuple(names)


def _channels(dataset: Mapping[str, Any]) -> list[str]:
    names = dataset["channel_names"] if "channel_names" in dataset else dataset["modality"]
    return [str(names[key]) for key in sorted(names, key=int)]


def _architecture(plan: Mapping[str, Any], dims: int, where: str) -> tuple[str, dict[str, Any], dict[str, str]]:
    """Builder, plain arguments, and arguments that are layers."""
    told = plan["architecture"] if "architecture" in plan else _old_architecture(plan, dims)
    name = str(told["network_class_name"]).rpartition(".")[2]
    if name not in BUILDERS:
        raise ConfigError(f"{where}: architecture {told['network_class_name']!r}; {', '.join(BUILDERS)} can be built.")
    arguments, layers = dict(told["arch_kwargs"]), {}
    for key in told["_kw_requires_import"]:
        value = arguments.get(key)
        if value is None:
            continue
        package, _, layer = str(value).rpartition(".")
        if package.partition(".")[0] != "torch" or not _is_layer(layer):
            raise ConfigError(f"{where}: {key} is {value!r}; a layer of torch.nn is required. Other code is not run.")
        layers[key] = layer
        del arguments[key]
    return BUILDERS[name], arguments, layers


def _is_layer(name: str) -> bool:
    found = getattr(nn, name, None)
    return isinstance(found, type) and issubclass(found, nn.Module)


def _old_architecture(plan: Mapping[str, Any], dims: int) -> dict[str, Any]:
    """Plans from before version 2.3 give numbers only; the layers were always these."""
    name, stages = plan["UNet_class_name"], len(plan["n_conv_per_stage_encoder"])
    widths = [min(plan["UNet_base_num_features"] * 2**i, plan["unet_max_num_features"]) for i in range(stages)]
    return {
        "network_class_name": name,
        "arch_kwargs": {
            "n_stages": stages,
            "features_per_stage": widths,
            "conv_op": f"torch.nn.Conv{dims}d",
            "kernel_sizes": plan["conv_kernel_sizes"],
            "strides": plan["pool_op_kernel_sizes"],
            _BLOCKS.get(name, "n_conv_per_stage"): plan["n_conv_per_stage_encoder"],
            "n_conv_per_stage_decoder": plan["n_conv_per_stage_decoder"],
            "conv_bias": True,
            "norm_op": f"torch.nn.InstanceNorm{dims}d",
            "norm_op_kwargs": {"eps": 1e-5, "affine": True},
            "nonlin": "torch.nn.LeakyReLU",
            "nonlin_kwargs": {"inplace": True},
        },
        "_kw_requires_import": ["conv_op", "norm_op", "nonlin"],
    }


def _divisors(strides: Sequence[Any], dims: int) -> list[int]:
    each = [[stride] * dims if isinstance(stride, int) else list(stride) for stride in strides]
    return [prod(axis) for axis in zip(*each, strict=True)]


def _intensities(
    plan: Mapping[str, Any], plans: Mapping[str, Any], channels: int, where: str
) -> tuple[tuple[MemberRef, ...], dict[str, Any]]:
    """Normalizations, and mean and deviation in the network, that do together what nnU-Net's scheme does."""
    schemes = set(plan["normalization_schemes"])
    scheme = schemes.pop()
    plain = {
        "ZScoreNormalization": ({"name": "zscore"},),
        "RescaleTo01Normalization": ({"name": "min_max", "low": 0.0, "high": 100.0},),
        "RGBTo01Normalization": (),  # photographs are read as [0, 1]
        "NoNormalization": (),
    }
    if not schemes and scheme in plain:
        return tuple(MemberRef.model_validate(each) for each in plain[scheme]), {}
    key = "foreground_intensity_properties_per_channel"
    told = plans[key] if key in plans else plans["foreground_intensity_properties_by_modality"]
    windows = {(told[str(i)]["percentile_00_5"], told[str(i)]["percentile_99_5"]) for i in range(channels)}
    if schemes or scheme != "CTNormalization" or len(windows) > 1:
        raise ConfigError(
            f"{where}: normalization {plan['normalization_schemes']}; unshift does one scheme for all channels: "
            f"{', '.join(plain)}, or CTNormalization with one window."
        )
    low, high = windows.pop()
    window = MemberRef.model_validate({"name": "ct_window", "level": (low + high) / 2, "width": high - low})
    values = [(told[str(i)]["mean"], max(told[str(i)]["std"], 1e-8)) for i in range(channels)]
    # ct_window gives (x - low) / width: mean and deviation are those of HU on that scale.
    mean, deviation = ([(m - low) / (high - low) for m, _ in values], [s / (high - low) for _, s in values])
    return (window,), {"mean": mean, "deviation": deviation}


def _checkpoint(folder: Path, fold: str | None) -> tuple[Path, int]:
    """The file of the weights, and how many folds there are."""
    folds = sorted(path.name for path in folder.glob("fold_*") if path.is_dir())
    wanted = f"fold_{fold}" if fold is not None else next(iter(folds), "fold_0")
    files = [folder / wanted / name for name in CHECKPOINTS if (folder / wanted / name).is_file()]
    if not files:
        raise ConfigError(f"{folder / wanted}: has no {' or '.join(CHECKPOINTS)}; there are {folds or 'no folds'}.")
    return files[0], len(folds)


def _limits(spacing: Sequence[float], *, flat: bool, folds: int, masked: bool) -> tuple[str, ...]:
    found = []
    if not flat:
        mm = " × ".join(f"{value:g}" for value in spacing)
        found.append(f"Images are not resampled; give them at {mm} mm, the spacing that the network was trained at.")
    found.append("Images are not cropped to what is not 0, and intensities are counted over the whole image.")
    if masked:
        found.append("nnU-Net normalized inside of what is not 0; give a field of view for the same statistics.")
    if folds > 1:
        found.append(f"One of {folds} folds is used; nnU-Net averages all of them.")
    return tuple(found)
