"""The model that a user gives, whatever it is, as a bundle: of unshift, a run's, an nnU-Net folder, any module."""

from __future__ import annotations

import zipfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from unshift.config import MemberRef, parse
from unshift.datasets.opening import open_dataset
from unshift.errors import ConfigError, DataError
from unshift.evaluate.protocol import Fold
from unshift.evaluate.split import read_split
from unshift.experiment.record import read_run
from unshift.experiment.source import LEAST_PATIENTS, Source, at_most
from unshift.experiment.testing import bundle_path
from unshift.experiment.training import fit_normalizations
from unshift.export.bundle import MANIFEST, Bundle, BundleCard, load_bundle
from unshift.geometry import InputConfig
from unshift.networks.building import build_network
from unshift.networks.nnunet_results import read_nnunet_results
from unshift.predict.settings import PredictConfig
from unshift.sample import Task

USE = "Research; not a medical device."
KNOWN = """\
  BUNDLE                    a bundle of unshift: a folder with bundle.yaml, or a zip
  RUN                       a run folder of unshift: its baseline's bundle is taken
  RESULTS                   an nnU-Net results folder: plans.json, dataset.json and fold_*/checkpoint_*.pth
  package.module:function   what builds a torch.nn.Module; with --weights, --classes and --size"""


@dataclass(frozen=True)
class Given:
    """A model and where it is from.

    Args:
        bundle: with everything that prediction needs.
        subject: what it is, in words, for the report.
        place: of the files that it was read from, or None.
        run: the run folder that it came from, or None.
    """

    bundle: Bundle
    subject: str
    place: Path | None = None
    run: Path | None = None


@dataclass(frozen=True)
class ModuleOptions:
    """What must be said of a module of one's own, because nothing in it says so.

    Args:
        weights: its state, safetensors or a checkpoint of tensors alone; None only with ``as_built``.
        as_built: the function returns it trained.
        arguments: for the function that builds it.
        classes: names in label order, background first.
        channels: of the images that it takes.
        size: of its input.
        volumes: images are volumes even where ``size`` has two sides, and it sees their slices.
        mode: whole images resized to ``size``, or windows of it at full resolution.
        settings: of the network ``own``: mean, deviation, output, taps, select, prefix, size_divisor, probe.
    """

    weights: Path | None = None
    as_built: bool = False
    arguments: Mapping[str, Any] = field(default_factory=dict)
    classes: Sequence[str] = ()
    channels: int = 3
    size: Sequence[int] = ()
    volumes: bool = False
    mode: str = "resize"
    settings: Mapping[str, Any] = field(default_factory=dict)

    @property
    def are_given(self) -> bool:
        """Whether anything was said."""
        said = (self.weights, self.as_built, self.arguments, self.classes, self.size, self.volumes, self.settings)
        return any(said) or (self.channels, self.mode) != (3, "resize")


def open_model(model: str, options: ModuleOptions | None = None, *, trust: Sequence[str] = ()) -> Given:
    """Whatever ``model`` names, as a bundle; nothing of it is changed.

    Args:
        options: of a module of one's own; the other kinds know themselves.
        trust: builders whose code may be run for a bundle that names them.

    Raises:
        ConfigError: no known model, or a setting is missing or wrong.
        BundleError: damaged files, or weights that do not fit; names the first that differ.
    """
    path, options = Path(model), options or ModuleOptions()
    is_there = path.exists()
    if ":" in model and not is_there:
        return from_module(model, options)
    if options.are_given:
        raise ConfigError(f"{model}: options that describe a module of your own were given; only one needs them.")
    if is_there and is_bundle(path):
        return from_bundle(path, trust)
    if path.is_dir() and is_run(path):
        return from_run(path, trust)
    if (path / "plans.json").is_file():
        return from_nnunet(path)
    raise unknown(model)


def is_bundle(path: Path) -> bool:
    """Whether a bundle lies there: a folder that holds its manifest, or a zip file."""
    return (path / MANIFEST).is_file() if path.is_dir() else zipfile.is_zipfile(path)


def is_run(path: Path) -> bool:
    """Whether a run folder lies there."""
    return (path / "recipe.yaml").is_file() and (path / "run.json").is_file()


def unknown(model: str) -> ConfigError:
    """The error for something that is no model."""
    path = Path(model)
    found = "no such file or folder" if not path.exists() else "a folder" if path.is_dir() else "a file"
    return ConfigError(f"{model}: {found}, and none of the models that are known:\n{KNOWN}")


def from_bundle(path: Path, trust: Sequence[str] = ()) -> Given:
    """The bundle at ``path``; units in it are taken out when others are looked for."""
    bundle = load_bundle(path, trust=trust)
    return Given(bundle, f"The bundle {path.name}{_held(bundle)}", path)


def from_run(folder: Path, trust: Sequence[str] = ()) -> Given:
    """The bundle of a run's baseline, of its first fold and seed.

    Raises:
        ConfigError: the run has no such bundle yet.
    """
    recipe, _ = read_run(folder)
    splits = sorted((folder / "bundles").glob("*")) if (folder / "bundles").is_dir() else []
    names = [f.name for f in splits if bundle_path(folder, recipe.baseline, f.name, recipe.seeds[0]).is_dir()]
    if not names:
        raise ConfigError(
            f"{folder}: the run has no bundle of its baseline {recipe.baseline!r} yet. Let `unshift bench` finish it."
        )
    path = bundle_path(folder, recipe.baseline, names[0], recipe.seeds[0])
    words = f"Run {folder.name}: the bundle of its baseline {recipe.baseline}, fold {names[0]}, seed {recipe.seeds[0]}"
    bundle = load_bundle(path, trust=trust)
    return Given(bundle, words + _held(bundle), path, folder)


def from_nnunet(folder: Path) -> Given:
    """An nnU-Net results folder, its first fold.

    Raises:
        ConfigError, BundleError: a file is missing, damaged, or of a kind that unshift cannot do.
        MissingDependency: the package of its architectures is not installed.
    """
    results = read_nnunet_results(folder)
    card = BundleCard(title=f"nnU-Net {folder.name}", intended_use=USE, limits=" ".join(results.limits))
    bundle = Bundle(
        network=results.network(),
        task=results.task,
        input=results.input,
        predict=PredictConfig(mirror=results.mirror),
        preprocessing=fit_normalizations(results.preprocessing, lambda: ()),
        card=card,
    )
    words = f"The nnU-Net results {folder.name}, {results.checkpoint.parent.name}/{results.checkpoint.name}"
    return Given(bundle, words, folder)


def from_module(builder: str, options: ModuleOptions) -> Given:
    """A module of one's own, with its weights.

    Raises:
        ConfigError: classes, size or weights are missing; the function, its arguments or the output do not fit.
        BundleError: the weights do not fit; names the first that differ.
    """
    _required(options)
    dims = 3 if options.volumes else len(options.size)
    task = Task(options.channels, tuple(options.classes), spatial_dims=dims)
    size = {"mode": options.mode, "size": list(options.size)}
    settings = {"builder": builder, "arguments": dict(options.arguments), **options.settings}
    settings |= {"weights": str(options.weights)} if options.weights else {}
    reference = MemberRef.model_validate({"name": "own", **settings})
    input = parse(InputConfig, size, where="--size")  # noqa: A001
    network = build_network(reference, task, input).eval()
    name = builder.partition(":")[2]
    kind = type(getattr(network, "body", network)).__name__
    weights = f"weights of {options.weights.name}" if options.weights else "as its function returns it"
    card = BundleCard(title=name if name == kind else f"{name} ({kind})", intended_use=USE)
    return Given(Bundle(network, task, input, card=card), f"{builder}, {weights}")


def _required(options: ModuleOptions) -> None:
    missing = {
        "--classes": len(options.classes) < 2 and "names in label order, such as background,lesion",
        "--size": len(options.size) not in (2, 3) and "of its input, such as 224,224",
        "--weights": not (options.weights or options.as_built) and "its state; or --as-built, if it comes trained",
    }
    lines = [f"  {option}: {words}." for option, words in missing.items() if words]
    if lines:
        raise ConfigError("\n".join(["A module of your own: settings are missing.", *lines]))
    if options.weights and options.as_built:
        raise ConfigError("--weights and --as-built: both were given. Keep one.")


def source_of_run(folder: Path, fold: str, *, most: int = 24) -> Source:
    """The run's own source images: fitted on what its network was trained on, compared on its in-domain test cases.

    Args:
        most: held-out cases; further ones are left out.

    Raises:
        DataError: the images are not where they were, or the run tests too few source patients.
    """
    recipe, record = read_run(folder)
    root = Path(record["root"]) if record["root"] else None
    dataset = open_dataset(recipe.dataset.name, root, recipe.dataset.settings)
    plan: Fold = next(f for f in read_split(folder / "split.json", dataset) if f.name == fold)
    held_out = at_most(most, [case for case in plan.test if plan.seen(case)])
    patients = {case.patient for case in (*plan.train, *held_out)}
    if len({case.patient for case in held_out}) < 2 or len(patients) < LEAST_PATIENTS:
        raise DataError(
            f"{folder}: the run tests {len(held_out)} case(s) of its sources; two patients or more are required to "
            "compare on. Give source images with --images."
        )
    words = (
        f"those of the run, {', '.join(plan.sources)}: {len(plan.train)} that the network was trained on and "
        f"{len(held_out)} held-out ones, with labels"
    )
    return Source(dataset, plan.train, held_out, is_labeled=True, description=words)


def _held(bundle: Bundle) -> str:
    names = [type(plugin).__module__.rpartition(".")[2] for plugin in bundle.plugins]
    return f" (the units in it, {', '.join(names)}, were taken out)" if names else ""
