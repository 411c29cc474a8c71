"""A bundle: all that prediction needs in one folder or zip, to leave the place where it was trained.

``bundle.yaml`` says what is in it; ``*.safetensors`` hold the numbers. No pickle, no code, no patients' pixels, no path
of the machine that wrote it. Every file's SHA-256 is in ``bundle.yaml`` and is verified on loading. A network of a
foreign builder names code, which is run only when the caller trusts it.
"""

from __future__ import annotations

import hashlib
import tempfile
import zipfile
from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, cast

import torch
from pydantic import Field
from safetensors.torch import save
from torch import Tensor, nn

from unshift import __version__, discover
from unshift.config import Config, MemberRef, parse, read_yaml, to_yaml
from unshift.contracts import Network, Normalization, Plugin
from unshift.errors import BundleError, ConfigError
from unshift.export.content import Content, tensors, verified
from unshift.geometry import InputConfig
from unshift.networks.builders import trusted
from unshift.networks.building import build_network
from unshift.networks.pretrained import from_scratch
from unshift.predict.predictor import Predictor, fast_layout
from unshift.predict.settings import PredictConfig
from unshift.sample import Task
from unshift.weights import load_exactly

FORMAT = 1
MANIFEST = "bundle.yaml"
WEIGHTS = "network.safetensors"
MOST_BYTES = {"manifest": 2**24, "all": 2**34}
"""What is read into memory at most: the manifest, and all other files together. A hostile archive might hold more."""


class BundleCard(Config):
    """What a person who gets the bundle must know; free text, and figures by name."""

    title: str = ""
    intended_use: str = ""
    trained_on: str = ""
    recipe: str = ""
    code_version: str = ""
    limits: str = ""
    figures: dict[str, str | int | float] = Field(default_factory=dict)


@dataclass(frozen=True)
class Bundle:
    """A trained network with everything around it that turns an image into a label map.

    Args:
        network: in evaluation mode; it brings its own channels and standardization.
        task: of the images as they come; ``network.task`` has the dimensions that the network sees.
        input: what the network sees of an image.
        predict: how logits become a label map.
        preprocessing, normalizations: fitted; applied as in training, and after it at test time, bound to the network.
        plugins: fitted on this network; one at most.
        card: for people.
    """

    network: Network
    task: Task
    input: InputConfig
    predict: PredictConfig = field(default_factory=PredictConfig)
    preprocessing: tuple[Normalization, ...] = ()
    normalizations: tuple[Normalization, ...] = ()
    plugins: tuple[Plugin, ...] = ()
    card: BundleCard = field(default_factory=BundleCard)

    def __post_init__(self) -> None:
        for place, member in enumerate(self.normalizations):
            member.bind(self.network, self.input.size, (*self.preprocessing, *self.normalizations[:place]))

    def predictor(self, device: torch.device | str = "cpu", *, precision: str = "32") -> Predictor:
        """Sample -> prediction, on ``device``."""
        return Predictor(
            fast_layout(with_plugins(self.network, self.plugins), self.input.size),
            self.task,
            input=self.input,
            config=self.predict,
            preprocessing=self.preprocessing,
            normalizations=self.normalizations,
            size_divisor=self.network.size_divisor,
            uses_field_of_view=bool(self.plugins),
            device=device,
            precision=precision,
        )


def with_plugins(network: Network, plugins: Sequence[Plugin]) -> nn.Module:
    """The network, or what the plugin makes of it.

    Raises:
        ConfigError: more than one plugin; the units of the second would undo the first's.
    """
    if len(plugins) > 1:
        raise ConfigError(f"{len(plugins)} plugins on one network; one is the most. Choose one.")
    return plugins[0].attach(network) if plugins else network


class _Task(Config):
    channels: int
    classes: tuple[str, ...]
    regions: dict[str, tuple[int, ...]]
    spatial_dims: int


class _Fitted(Config):
    """A normalization or plugin and the file of its state; None where it learned nothing."""

    member: MemberRef
    state: str | None = None
    origin: str = ""


class _Manifest(Config):
    """``bundle.yaml``."""

    format: int
    unshift: str
    network: MemberRef
    origin: str
    task: _Task
    input: InputConfig
    predict: PredictConfig
    preprocessing: tuple[_Fitted, ...] = ()
    normalizations: tuple[_Fitted, ...] = ()
    plugins: tuple[_Fitted, ...] = ()
    card: BundleCard = BundleCard()
    sha256: dict[str, str]


# ------------------------------------------------------------------------------------------------------- saving


def save_bundle(path: Path, bundle: Bundle) -> None:
    """Write ``bundle`` to the folder ``path``, or to one file where ``path`` ends in ``.zip``.

    It is written under a temporary name beside ``path`` and renamed. An earlier bundle there is replaced.

    Raises:
        BundleError: ``path`` is something other than a bundle; a member is not one of unshift's.
    """
    if path.exists() and not _is_bundle(path):
        raise BundleError(
            f"{path}: exists and is no bundle, so it is not overwritten. Give another path, or remove it."
        )
    files = _files(bundle)
    path.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=path.parent, prefix=f".{path.name}.") as temporary:
        written = Path(temporary) / "bundle"
        if path.suffix == ".zip":
            with zipfile.ZipFile(written, "w") as archive:
                for name, content in files.items():
                    entry = zipfile.ZipInfo(name)  # its date is fixed: the same bundle gives the same bytes
                    entry.external_attr = 0o644 << 16
                    archive.writestr(entry, content)
        else:
            written.mkdir()
            for name, content in files.items():
                (written / name).write_bytes(content)
        if path.is_dir() or (path.exists() and written.is_dir()):
            path.rename(Path(temporary) / "replaced")
        written.replace(path)


def _files(bundle: Bundle) -> dict[str, bytes]:
    """Name -> content of every file, the manifest last."""
    files = {WEIGHTS: _bytes(bundle.network.state_dict())}
    preprocessing = tuple(_store("preprocessing", i, m, files) for i, m in enumerate(bundle.preprocessing))
    normalizations = tuple(_store("normalizations", i, m, files) for i, m in enumerate(bundle.normalizations))
    plugins = tuple(_store("plugins", i, m, files) for i, m in enumerate(bundle.plugins))
    task = bundle.task
    manifest = _Manifest(
        format=FORMAT,
        unshift=__version__,
        network=_reference("networks", bundle.network),
        origin=bundle.network.origin,
        task=_Task(
            channels=task.channels,
            classes=task.classes,
            regions={name: tuple(sorted(labels)) for name, labels in task.regions.items()},
            spatial_dims=task.spatial_dims,
        ),
        input=bundle.input,
        predict=bundle.predict,
        preprocessing=preprocessing,
        normalizations=normalizations,
        plugins=plugins,
        card=bundle.card,
        sha256={name: hashlib.sha256(content).hexdigest() for name, content in files.items()},
    )
    return {**files, MANIFEST: to_yaml(manifest).encode()}


def _store(stage: str, index: int, member: Normalization | Plugin, files: dict[str, bytes]) -> _Fitted:
    state = member.state_dict()
    name = f"{stage}_{index}.safetensors" if state else None
    if name:
        files[name] = _bytes(state)
    family = "plugins" if stage == "plugins" else "normalizations"
    return _Fitted(member=_reference(family, member), state=name, origin=getattr(member, "origin", ""))


def _reference(family: str, member: Any) -> MemberRef:
    """The family name and all settings of ``member``, less those that say where weights once came from."""
    name = type(member).__module__.rpartition(".")[2]
    if name not in discover.names(family) or discover.load(family, name) is not type(member):
        raise BundleError(
            f"bundle: {type(member).__name__} is no member of {family}, so nobody could load it. Use one."
        )
    settings = from_scratch(member.config).model_dump(mode="json")
    if settings.get("builder", "") is None:
        raise BundleError(
            f"bundle: {type(member).__name__} holds an object, which nobody could build again. Give its network a "
            "`builder` (package.module:function) and its `arguments`."
        )
    return MemberRef.model_validate({"name": name, **settings})


def _bytes(state: Mapping[str, Tensor]) -> bytes:
    return save({name: value.detach().cpu().contiguous().clone() for name, value in state.items()})


def _is_bundle(path: Path) -> bool:
    if path.is_dir():
        return (path / MANIFEST).is_file() or not any(path.iterdir())
    if not zipfile.is_zipfile(path):
        return False
    with zipfile.ZipFile(path) as archive:
        return MANIFEST in archive.namelist()


# ------------------------------------------------------------------------------------------------------ loading


def load_bundle(path: Path | str, *, trust: Sequence[str] = ()) -> Bundle:
    """The bundle in the folder or zip ``path``. Of a zip, only the named files are read, and nothing is unpacked.

    Args:
        path: folder or zip.
        trust: builders (``package.module:function``) and packages of foreign networks whose code may be run. Network
            classes of MONAI, segmentation_models_pytorch and dynamic-network-architectures need none.

    Raises:
        BundleError: no bundle there; another format version; a file is missing, damaged or changed; a key of
            ``bundle.yaml`` is unknown; weights or states do not fit; the network is built by code that is not trusted.
        MissingDependency: the network needs an optional package.
    """
    path = Path(path)
    with _opened(path) as source:
        if not (source / MANIFEST).is_file():
            raise BundleError(f"{path}: no {MANIFEST} in it; that is no bundle. Give the folder or zip that one is in.")
        try:
            _refuse_oversize(source / MANIFEST, MOST_BYTES["manifest"])
            manifest = _manifest(source / MANIFEST)
            content = _contents(source, manifest.sha256)
            return _bundle(manifest, content, trust=trust, where=str(path))
        except ConfigError as error:
            blame = "" if trust else " The bundle was changed, or is of another version of unshift."
            raise BundleError(f"{error}{blame}") from None
        except zipfile.BadZipFile as error:
            raise BundleError(f"{path}: damaged ({error}). Copy it again.") from None
        except RecursionError:
            raise BundleError(f"{path}: {MANIFEST} is nested too deeply. That is no bundle of unshift.") from None


def _opened(path: Path) -> AbstractContextManager[Path]:
    """A folder as it is; a zip as what behaves like a folder."""
    if path.is_dir():
        return nullcontext(path)
    if not path.exists():
        raise BundleError(f"{path}: no such bundle. Give the folder or zip that save_bundle wrote.")
    if not zipfile.is_zipfile(path):
        raise BundleError(f"{path}: neither a folder nor a whole zip file. If it was copied, copy it again.")
    return _Zip(path)


class _Zip(AbstractContextManager[Path]):
    """``zipfile.Path`` reads as ``pathlib.Path`` does. A bundle may lie in the zip's one folder that holds one."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __enter__(self) -> Path:
        self.archive = zipfile.ZipFile(self.path)
        root = zipfile.Path(self.archive)
        inner = [] if (root / MANIFEST).is_file() else [each for each in root.iterdir() if (each / MANIFEST).is_file()]
        return cast(Path, inner[0] if len(inner) == 1 else root)

    def __exit__(self, *_: object) -> None:
        self.archive.close()


def _manifest(file: Path) -> _Manifest:
    data = read_yaml(file)
    version = data.get("format") if isinstance(data, Mapping) else None
    if version != FORMAT:
        raise BundleError(
            f"{file}: format is {version!r}; this version of unshift ({__version__}) reads format {FORMAT}. "
            f"Use the unshift that wrote it{_writer(data)}."
        )
    manifest = parse(_Manifest, data, where=str(file))
    fitted = (*manifest.preprocessing, *manifest.normalizations, *manifest.plugins)
    names = {WEIGHTS, *(f.state for f in fitted if f.state)}
    if names != manifest.sha256.keys():
        raise BundleError(f"{file}: needs the files {sorted(names)} but sha256 lists {sorted(manifest.sha256)}.")
    strange = [name for name in names if not name.endswith(".safetensors") or Path(name).name != name or "\\" in name]
    if strange:
        raise BundleError(f"{file}: names {strange}; a bundle's files lie beside {MANIFEST} and end in .safetensors.")
    return manifest


def _writer(data: Any) -> str:
    return f", {data['unshift']}" if isinstance(data, Mapping) and "unshift" in data else ""


def _refuse_oversize(file: Path, most: int) -> None:
    """Look at the size that a file has, or that an archive says it unpacks to, before anything is read."""
    size = _size(file)
    if size > most:
        raise BundleError(f"{file}: {size} bytes; at most {most} are read. That is no bundle of unshift.")


def _size(file: Path) -> int:
    return file.root.getinfo(file.at).file_size if isinstance(file, zipfile.Path) else file.stat().st_size


def _contents(source: Path, digests: Mapping[str, str]) -> dict[str, Content]:
    """Name -> content of every file that the manifest names; none is read unless memory allows all of them."""
    left = MOST_BYTES["all"]
    for name in digests:
        if not (source / name).is_file():
            raise BundleError(f"{source / name}: missing from the bundle. Copy the whole bundle again.")
        _refuse_oversize(source / name, left)
        left -= _size(source / name)
    return {name: verified(source / name, digest) for name, digest in digests.items()}


def _bundle(manifest: _Manifest, content: Mapping[str, Content], *, trust: Sequence[str], where: str) -> Bundle:
    told = manifest.task
    regions = {name: frozenset(labels) for name, labels in told.regions.items()}
    task = Task(told.channels, told.classes, regions, told.spatial_dims)
    network = build_network(trusted(manifest.network, trust), task, manifest.input, pretrained=False)
    load_exactly(network, tensors(content[WEIGHTS], f"{where}/{WEIGHTS}"), where=f"{where}/{WEIGHTS}")
    network.origin = manifest.origin
    return Bundle(
        network=network.eval(),
        task=task,
        input=manifest.input,
        predict=manifest.predict,
        preprocessing=_members("normalizations", manifest.preprocessing, content, where=where),
        normalizations=_members("normalizations", manifest.normalizations, content, where=where),
        plugins=_members("plugins", manifest.plugins, content, where=where),
        card=manifest.card,
    )


def _members(family: str, fitted: Sequence[_Fitted], content: Mapping[str, Content], *, where: str) -> tuple[Any, ...]:
    members = []
    for item in fitted:
        builder = discover.load(family, item.member.name, where=where)
        member = builder(parse(builder.Config, item.member.settings, where=f"{where}: {item.member.name}"))
        member.load_state_dict(tensors(content[item.state], f"{where}/{item.state}") if item.state else {})
        if item.origin:
            member.origin = item.origin
        members.append(member)
    return tuple(members)
