"""From a path to a Picture: the format is chosen by the file's ending, DICOM also by content or by being a folder."""

from __future__ import annotations

from pathlib import Path

from unshift.contracts import Format, Picture
from unshift.discover import load, names
from unshift.errors import DataError
from unshift.formats.dicom_files import is_dicom
from unshift.formats.files import is_folder, read_head


def format_for(path: Path) -> Format:
    """The format that reads ``path``.

    A folder is a DICOM series. A file goes by the longest known ending (case does not matter); one with another ending
    or none is DICOM if its content says so.

    Raises:
        DataError: nothing is at ``path``, it cannot be reached, or no format reads it; the message lists the endings.
    """
    if is_folder(path):
        return load("formats", "dicom")()
    if path.name.startswith("._"):
        raise DataError(f"{path}: a hidden file that macOS writes beside the real one; no image. Delete it.")
    known = {suffix: name for name in names("formats") for suffix in load("formats", name).suffixes}
    fitting = [suffix for suffix in known if path.name.lower().endswith(suffix)]
    if fitting:
        return load("formats", known[max(fitting, key=len)])()
    if is_dicom(read_head(path, 512)):
        return load("formats", "dicom")()
    raise DataError(
        f"{path}: ending {path.suffix or 'missing'} and content are of no known kind; files ending in "
        f"{', '.join(sorted(known))}, DICOM files and folders of one DICOM series are read. Convert it to one of them."
    )


def read_image(path: Path) -> Picture:
    """float32 [channel, *space] with geometry, whatever the format. Raises :class:`DataError` naming the file."""
    return format_for(path).read_image(path)


def read_label_map(path: Path) -> Picture:
    """int64 [*space] with geometry, whatever the format. Raises :class:`DataError` naming the file."""
    return format_for(path).read_label_map(path)
