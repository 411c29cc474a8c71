"""The networks of ``robustify_families.py``: built by their libraries, trained a little, saved as their users do."""

from __future__ import annotations

import importlib
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy

SIZE, MEAN, DEVIATION = (64, 96), 0.2, 0.2


@dataclass(frozen=True)
class Entry:
    """A network: where its class is, and what it is built with."""

    family: str
    builder: str
    arguments: Mapping[str, Any] = field(default_factory=dict)

    @property
    def name(self) -> str:
        return self.builder.rpartition(":")[2]

    @property
    def is_nnunet(self) -> bool:
        return self.family == "nnU-Net results"


SMP = {"encoder_name": "resnet18", "encoder_weights": None, "in_channels": 1, "classes": 2}
TWO = {"spatial_dims": 2, "in_channels": 1, "out_channels": 2}
STAGES = {
    "n_stages": 4,
    "features_per_stage": [8, 16, 32, 64],
    "kernel_sizes": [[3, 3]] * 4,
    "strides": [[1, 1], [2, 2], [2, 2], [2, 2]],
    "n_conv_per_stage_decoder": [1] * 3,
    "conv_bias": True,
    "norm_op_kwargs": {"eps": 1e-5, "affine": True},
    "nonlin_kwargs": {"inplace": True},
}
LAYERS = {"conv_op": "torch.nn.Conv2d", "norm_op": "torch.nn.InstanceNorm2d", "nonlin": "torch.nn.LeakyReLU"}
ARCHITECTURES = "dynamic_network_architectures.architectures.unet"
ENTRIES = (
    *(
        Entry("segmentation_models_pytorch", f"segmentation_models_pytorch:{name}", SMP)
        for name in ("Unet", "UnetPlusPlus", "FPN", "DeepLabV3Plus", "MAnet")
    ),
    Entry("MONAI", "monai.networks.nets:UNet", {**TWO, "channels": [8, 16, 32, 64], "strides": [2, 2, 2]}),
    Entry("MONAI", "monai.networks.nets:SegResNet", {**TWO, "init_filters": 8}),
    Entry(
        "MONAI",
        "monai.networks.nets:FlexibleUNet",
        {"in_channels": 1, "out_channels": 2, "backbone": "efficientnet-b0", "pretrained": False},
    ),
    Entry("MONAI", "monai.networks.nets:SwinUNETR", {**TWO, "feature_size": 12}),
    Entry("nnU-Net results", f"{ARCHITECTURES}:PlainConvUNet", {**STAGES, "n_conv_per_stage": [1] * 4}),
    Entry("nnU-Net results", f"{ARCHITECTURES}:ResidualEncoderUNet", {**STAGES, "n_blocks_per_stage": [1, 1, 2, 2]}),
)


def build(entry: Entry) -> nn.Module:
    """The network as its own library builds it."""
    package, _, name = entry.builder.partition(":")
    arguments = dict(entry.arguments)
    if entry.is_nnunet:
        layers = {key: getattr(nn, value.rpartition(".")[2]) for key, value in LAYERS.items()}
        arguments |= {"input_channels": 1, "num_classes": 2, "deep_supervision": False, **layers}
    torch.manual_seed(0)
    network: nn.Module = getattr(importlib.import_module(package), name)(**arguments)
    return network


def seen(entry: Entry, images: Tensor) -> Tensor:
    """Images as the network takes them: nnU-Net's z-score of each image, else a fixed mean and deviation."""
    if entry.is_nnunet:
        axes = (1, 2, 3)
        return (images - images.mean(axes, keepdim=True)) / images.std(axes, keepdim=True, unbiased=False)
    return (images - torch.full((1, 1, 1, 1), MEAN)) / torch.full((1, 1, 1, 1), DEVIATION)  # a number rounds otherwise


def train(network: nn.Module, images: Tensor, labels: Tensor, steps: int) -> None:
    optimizer = torch.optim.Adam(network.parameters(), lr=3e-3)
    generator = torch.Generator().manual_seed(0)
    network.train()
    for _ in range(steps):
        some = torch.randperm(len(images), generator=generator)[:8]
        optimizer.zero_grad()
        cross_entropy(network(images[some]), labels[some]).backward()
        optimizer.step()
    network.eval()


def save(entry: Entry, network: nn.Module, folder: Path) -> tuple[str, list[str]]:
    """Write the network's files as its users have them; returns the model and the options that describe it."""
    if entry.is_nnunet:
        return write_results(entry, network, folder), []
    torch.save(network.state_dict(), folder / "state.pt")
    options = ["--weights", "state.pt", "--classes", "background,head", "--channels", "1", "--size", "64,96"]
    options += ["--mean", str(MEAN), "--deviation", str(DEVIATION)]
    for key, value in entry.arguments.items():
        options += ["--argument", f"{key}={value if isinstance(value, str) else json.dumps(value)}"]
    return entry.builder, options


def write_results(entry: Entry, network: nn.Module, folder: Path) -> str:
    """A results folder of nnU-Net v2; returns its name."""
    place = folder / "nnUNetTrainer__nnUNetPlans__2d"
    (place / "fold_0").mkdir(parents=True)
    name = f"{ARCHITECTURES}.{entry.name}"
    architecture = {"network_class_name": name, "arch_kwargs": {**entry.arguments, **LAYERS}}
    plan = {"patch_size": SIZE, "spacing": [0.5, 0.5], "normalization_schemes": ["ZScoreNormalization"]}
    plan |= {"use_mask_for_norm": [False], "architecture": architecture | {"_kw_requires_import": list(LAYERS)}}
    intensities = {"0": {"mean": 0.2, "std": 0.2, "percentile_00_5": 0.0, "percentile_99_5": 1.0}}
    plans = {"transpose_forward": [0, 1, 2], "original_median_shape_after_transp": [1, *SIZE]}
    plans |= {"foreground_intensity_properties_per_channel": intensities, "configurations": {"2d": plan}}
    dataset = {"channel_names": {"0": "US"}, "labels": {"background": 0, "head": 1}, "file_ending": ".png"}
    (place / "plans.json").write_text(json.dumps(plans), encoding="utf-8")
    (place / "dataset.json").write_text(json.dumps(dataset), encoding="utf-8")
    content = {"network_weights": network.state_dict(), "trainer_name": "nnUNetTrainer", "current_epoch": 1}
    torch.save({**content, "inference_allowed_mirroring_axes": None}, place / "fold_0" / "checkpoint_final.pth")
    return place.name
