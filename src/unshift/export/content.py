"""The numbers in a bundle's files: compared with their SHA-256, and left on the disk where they can be.

A bundle may carry the embeddings of every source image it was trained on. Files of a folder are mapped, so that these
take no memory until they are looked at, and then memory that the system may take back; what lies in a zip is read.
"""

from __future__ import annotations

import hashlib
import zipfile
import zlib
from pathlib import Path

from safetensors import SafetensorError, safe_open
from safetensors.torch import load
from torch import Tensor

from unshift.errors import BundleError

Content = bytes | Path


def verified(file: Path, digest: str) -> Content:
    """A file in a folder, or what one in a zip (``zipfile.Path``) holds.

    Raises:
        BundleError: it cannot be read, or its SHA-256 is not ``digest``.
    """
    try:
        if isinstance(file, Path):
            with file.open("rb") as stream:
                content: Content = file
                found = hashlib.file_digest(stream, "sha256").hexdigest()
        else:
            content = file.read_bytes()
            found = hashlib.sha256(content).hexdigest()
    except (OSError, RuntimeError, EOFError, zlib.error, zipfile.BadZipFile) as error:
        raise BundleError(f"{file}: cannot be read ({error}). Copy the bundle again.") from None
    if found != digest:
        raise BundleError(
            f"{file}: SHA-256 is {found[:12]}… but bundle.yaml says {digest[:12]}…; it is damaged or was changed. "
            "Copy the bundle again."
        )
    return content


def tensors(content: Content, where: str) -> dict[str, Tensor]:
    """Name -> tensor of a safetensors file; of a file in a folder, on the disk (private to this process).

    Raises:
        BundleError: the content is no safetensors.
    """
    try:
        if isinstance(content, bytes):
            return load(content)
        with safe_open(content, "pt") as file:
            return {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 - not a mapping
    except SafetensorError as error:
        raise BundleError(f"{where}: no safetensors ({error}). Copy the bundle again.") from None
