"""Tiny trees in the exact layout of what people download, so that preparing them is tested without the downloads."""

from __future__ import annotations

from collections.abc import Mapping
from functools import lru_cache
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
from google.protobuf import descriptor_pb2, descriptor_pool, message_factory
from PIL import Image
from pydicom.dataset import FileDataset, FileMetaDataset
from pydicom.uid import ExplicitVRLittleEndian, MRImageStorage, generate_uid
from tensorboard.summary.writer.record_writer import RecordWriter

FUNDUS = {
    "Domain1": ("gdrishtiGS_{:03d}", "ndrishtiGS_{:03d}"),
    "Domain2": ("G-{}-L", "N-{}-R"),
    "Domain3": ("g{:04d}", "n{:04d}"),
    "Domain4": ("V{:04d}", "V{:04d}"),
}
RIGA = ("BinRushed", "Magrabia", "MESSIDOR_Base1", "MESSIDOR_Base2", "MESSIDOR_Base3")
SITES = ("RUNMC", "BMC", "HCRUDB", "UCL", "BIDMC", "HK")


def photograph(seed: int, size: tuple[int, int]) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 256, (*size, 3)).astype(np.uint8)


def disc(size: tuple[int, int], *, background: int, rim: int, cup: int) -> np.ndarray:
    """A cup in a rim in the middle."""
    y, x = np.mgrid[: size[0], : size[1]]
    distance = np.hypot((y - size[0] / 2) / size[0], (x - size[1] / 2) / size[1])
    return np.select([distance < 0.15, distance < 0.35], [cup, rim], background).astype(np.uint8)


def save(path: Path, array: np.ndarray) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(array).save(path)


def write_fundus(root: Path, *, cases: int = 2, size: tuple[int, int] = (24, 20), lists: bool = True) -> Path:
    """The DoFE package; ``cases`` in each of train and test."""
    seed = 0
    for domain, names in FUNDUS.items():
        for split in ("train", "test"):
            lines = []
            for index in range(cases):
                seed += 1
                name = names[index % 2].format(seed)
                folder = f"{domain}/{split}/ROIs"
                save(root / folder / "image" / f"{name}.png", photograph(seed, size))
                save(root / folder / "mask" / f"{name}.png", disc(size, background=255, rim=128, cup=0))
                lines.append(f"{folder}/image/{name}.png {folder}/mask/{name}.png")
            if lists:
                (root / f"{domain}_{split}.list").write_text("\n".join(lines) + "\n", encoding="utf-8")
    return root


def write_riga(root: Path, *, cases: int = 1, size: tuple[int, int] = (24, 20)) -> Path:
    """The RIGA+ package with readers 1 and 2."""
    seed = 0
    for site in RIGA:
        for split in ("train", "test"):
            lines = ["image,mask"]
            for _ in range(cases):
                seed += 1
                place = f"{site}/{site}1/image{seed}.tif"
                save(root / "RIGA" / place, photograph(seed, size))
                for reader in (1, 2):
                    mask = disc(size, background=0, rim=255, cup=128)
                    save(
                        root / "RIGA-mask" / place.replace(".tif", f"-{reader}.tif"), np.roll(mask, reader - 1, axis=0)
                    )
                lines.append(f"RIGA/{place},RIGA-mask/{place}")
            (root / f"{site}_{split}.csv").write_text("\n".join(lines) + "\n", encoding="utf-8")
    return root


AFFINE = np.diag([-0.6, -0.6, 3.0, 1.0]) + np.array([[0, 0, 0, 30.0], [0, 0, 0, 40.0], [0, 0, 0, -20.0], [0] * 4])


def volume(path: Path, array: np.ndarray, affine: np.ndarray = AFFINE) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    nib.save(nib.Nifti1Image(array, affine), path)


def write_prostate(
    root: Path, *, cases: int = 2, side: int = 16, depth: int = 3, sites: tuple[str, ...] = SITES
) -> Path:
    """The SAML collection: arrays are [x, y, z] with labels 1 and 2 in the middle of all slices but the first."""
    seed = 0
    for site in sites:
        for index in range(cases):
            seed += 1
            array = np.random.default_rng(seed).integers(0, 900, (side, side, depth)).astype(np.int16)
            labels = np.zeros_like(array, np.uint8)
            third = side // 3
            labels[third : 2 * third, third : 2 * third, 1:] = 1
            labels[third, third : 2 * third, 1:] = 2
            array[labels > 0] += 400
            volume(root / site / f"Case{index:02d}.nii.gz", array)
            volume(root / site / f"Case{index:02d}_segmentation.nii.gz", labels)
    return root


# ------------------------------------------------------------------------------------------- CT and MR of one anatomy

HEART = {"CT": (1001, 1002, 1003), "MR": (1001, 1002, 1007)}
ABDOMEN = {"CT": (1, 2, 3), "MR": (1, 2, 3)}
TURNS = {  # how each modality is stored: array axes -> mm, as different as real ones are
    "CT": np.array([[-4.0, 0, 0, 30], [0, -4, 0, 30], [0, 0, 5, -28], [0, 0, 0, 1]]),
    "MR": np.array([[0, 0, -4.0, 30], [-4, 0, 0, 30], [0, -5, 0, 28], [0, 0, 0, 1]]),
}
SHAPES = {"CT": (16, 16, 12), "MR": (16, 12, 16)}


def organs(points: np.ndarray) -> np.ndarray:
    """Labels 0 … 5 of places [*, 3] in RAS mm: four boxes, no two alike, and a fifth that benchmarks leave out."""
    x, y, z = np.moveaxis(points, -1, 0)
    boxes = ((x < -3) & (z > 3), (x > 3) & (z > 3), (x < -3) & (z < -3), (x > 3) & (z < -3), (abs(x) < 3) & (y > 8))
    inside = (abs(x) < 22) & (abs(y) < 18) & (abs(z) < 20)
    return np.select([inside & box for box in boxes], [1, 2, 3, 4, 5], 0)


def scan(modality: str, seed: int, shape: tuple[int, ...] | None = None) -> tuple[np.ndarray, np.ndarray]:
    """A scan's array and its labels 0 … 5, as stored along the modality's axes; CT has air and bone in HU."""
    shape = shape or SHAPES[modality]
    indices = np.stack(np.meshgrid(*(np.arange(n) for n in shape), indexing="ij"), axis=-1)
    labels = organs(indices @ TURNS[modality][:3, :3].T + TURNS[modality][:3, 3])
    levels = np.array([-1000, 60, 120, 180, 240, 900] if modality == "CT" else [20, 500, 400, 300, 200, 100])
    noise = np.random.default_rng(seed).integers(-15, 16, shape)
    return (levels[labels] + noise).astype(np.int16), labels


def write_mmwhs(root: Path, *, cases: Mapping[str, tuple[int, ...]] = HEART) -> Path:
    """The NIfTI release of MM-WHS."""
    values = np.array([0, 205, 420, 500, 820, 600], np.int16)
    for modality, ids in cases.items():
        for case in ids:
            array, labels = scan(modality, case + (modality == "MR"))
            name = f"{modality.lower()}_train"
            volume(root / name / f"{name}_{case}_image.nii.gz", array, TURNS[modality])
            volume(root / name / f"{name}_{case}_label.nii.gz", values[labels], TURNS[modality])
    return root


@lru_cache(maxsize=1)
def example_class() -> Any:
    """``tf.train.Example`` by protobuf's own library, from its published definition."""
    kind = descriptor_pb2.FieldDescriptorProto
    file = descriptor_pb2.FileDescriptorProto(name="example.proto", package="t", syntax="proto3")
    for name, element in (
        ("BytesList", kind.TYPE_BYTES),
        ("FloatList", kind.TYPE_FLOAT),
        ("Int64List", kind.TYPE_INT64),
    ):
        file.message_type.add(name=name).field.add(name="value", number=1, type=element, label=kind.LABEL_REPEATED)
    feature = file.message_type.add(name="Feature")
    feature.oneof_decl.add(name="kind")
    for number, (field, name) in enumerate(
        (("bytes_list", "BytesList"), ("float_list", "FloatList"), ("int64_list", "Int64List")), start=1
    ):
        feature.field.add(
            name=field,
            number=number,
            type=kind.TYPE_MESSAGE,
            type_name=f".t.{name}",
            label=kind.LABEL_OPTIONAL,
            oneof_index=0,
        )
    features = file.message_type.add(name="Features")
    entry = features.nested_type.add(name="FeatureEntry")
    entry.options.map_entry = True
    entry.field.add(name="key", number=1, type=kind.TYPE_STRING, label=kind.LABEL_OPTIONAL)
    entry.field.add(name="value", number=2, type=kind.TYPE_MESSAGE, type_name=".t.Feature", label=kind.LABEL_OPTIONAL)
    features.field.add(
        name="feature",
        number=1,
        type=kind.TYPE_MESSAGE,
        type_name=".t.Features.FeatureEntry",
        label=kind.LABEL_REPEATED,
    )
    example = file.message_type.add(name="Example")
    example.field.add(
        name="features", number=1, type=kind.TYPE_MESSAGE, type_name=".t.Features", label=kind.LABEL_OPTIONAL
    )
    pool = descriptor_pool.DescriptorPool()
    pool.Add(file)
    return message_factory.GetMessageClass(pool.FindMessageTypeByName("t.Example"))


def example(values: Mapping[str, Any]) -> bytes:
    """Bytes of an Example: lists of bytes, floats or integers by name."""
    message = example_class()()
    for name, value in values.items():
        feature = message.features.feature[name]
        kind = {bytes: "bytes_list", float: "float_list", int: "int64_list"}[type(value[0])]
        getattr(feature, kind).value.extend(value)
    return message.SerializeToString()


def tfrecord(path: Path, *records: bytes) -> Path:
    """A TFRecord file by TensorBoard's writer."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("wb") as stream:
        writer = RecordWriter(stream)
        for record in records:
            writer.write(record)
        writer.flush()
    return path


def record(path: Path, image: np.ndarray, labels: np.ndarray, **other: Any) -> Path:
    """A slice of the packed heart data: [height, width, 3] and its label maps, float32."""
    sizes = {
        f"{kind}size_dim{axis}": [n] for kind, a in (("d", image), ("l", labels)) for axis, n in enumerate(a.shape)
    }
    vols = {"data_vol": [image.astype("<f4").tobytes()], "label_vol": [labels.astype("<f4").tobytes()]}
    return tfrecord(path, example({**sizes, **vols, "bias_dim0": [-3], **other}))


def packed_slice(seed: int, side: int) -> tuple[np.ndarray, np.ndarray]:
    """Three neighbouring slices, standardized, and their labels 0 … 5; the labels are those of the middle slice."""
    labels = np.zeros((side, side, 3))
    labels[2:6, 3:8], labels[7:11, 3:8], labels[2:6, 9:13], labels[7:11, 9:13], labels[12, 12] = 1, 2, 3, 4, 5
    image = np.random.default_rng(seed).normal(size=labels.shape) + labels / 2
    return image.astype(np.float32), labels


def write_records(root: Path, *, side: int = 16, slices: int = 3, mr_tests: bool = True) -> Path:
    """PnP-AdaNet's package: ``slices`` in each folder of records, one test volume a modality."""
    seed = 0
    for modality in ("ct", "mr"):
        for split in ("train", "val"):
            for index in range(slices):
                seed += 1
                name = f"{modality}_{split}"
                record(
                    root / "train_n_val" / f"{name}_tfs" / f"{name}_slice{index}.tfrecords", *packed_slice(seed, side)
                )
        if modality == "mr" and not mr_tests:
            continue
        case = {"ct": 1003, "mr": 1007}[modality]
        parts = [packed_slice(100 + 10 * seed + k, side) for k in range(4)]
        image = np.stack([part[0][..., 1] for part in parts], axis=-1)
        labels = np.stack([part[1][..., 1] for part in parts], axis=-1)
        folder = root / f"test_{modality}_image&labels"
        for kind, array in (("image", image), ("gth", labels)):
            volume(folder / f"{kind}_{modality}_{case}.nii.gz", array[::-1, ::-1].astype(np.float32), np.eye(4))
    return root


GREY = np.array([0, 63, 126, 189, 252, 0], np.uint8)
BTCV = np.array([0, 6, 2, 3, 1, 8], np.uint8)


def write_series(patient: Path, array: np.ndarray, labels: np.ndarray) -> None:
    """CHAOS' T2SPIR of one patient from [row, column, slice]: DICOM in the order of names, one PNG of grey levels each."""
    series = generate_uid()
    for k in range(array.shape[2]):
        meta = FileMetaDataset()
        meta.MediaStorageSOPClassUID, meta.MediaStorageSOPInstanceUID = MRImageStorage, generate_uid()
        meta.TransferSyntaxUID = ExplicitVRLittleEndian
        data = FileDataset("", {}, file_meta=meta, preamble=b"\0" * 128)
        data.SOPClassUID, data.SOPInstanceUID = meta.MediaStorageSOPClassUID, meta.MediaStorageSOPInstanceUID
        data.SeriesInstanceUID, data.Modality, data.SamplesPerPixel = series, "MR", 1
        data.PhotometricInterpretation, data.PixelRepresentation = "MONOCHROME2", 0
        data.Rows, data.Columns = array.shape[:2]
        data.BitsAllocated = data.BitsStored = 16
        data.HighBit, data.PixelSpacing, data.SliceThickness = 15, [4.0, 4.0], 5.0
        data.ImageOrientationPatient, data.ImagePositionPatient = [1, 0, 0, 0, 1, 0], [-30, -30, 28 - 5 * k]
        data.PixelData = np.clip(array[..., k], 0, None).astype("<u2").tobytes()
        name = f"IMG-0002-{k + 1:05d}"
        (patient / "DICOM_anon").mkdir(parents=True, exist_ok=True)
        data.save_as(patient / "DICOM_anon" / f"{name}.dcm", enforce_file_format=True)
        save(patient / "Ground" / f"{name}.png", GREY[labels[..., k]])


def write_abdomen(root: Path, *, cases: Mapping[str, tuple[int, ...]] = ABDOMEN) -> Path:
    """BTCV's RawData and CHAOS' Train_Sets below one folder. CHAOS' series go from the head to the feet."""
    for case in cases.get("CT", ()):
        array, labels = scan("CT", case)
        place = root / "RawData" / "Training"
        volume(place / "img" / f"img{case:04d}.nii.gz", array, TURNS["CT"])
        volume(place / "label" / f"label{case:04d}.nii.gz", BTCV[labels], TURNS["CT"])
    for case in cases.get("MR", ()):
        array, labels = scan("MR", 50 + case)  # [row, slice, column] with rows to the back and slices downward
        patient = root / "CHAOS_Train_Sets" / "Train_Sets" / "MR" / str(case) / "T2SPIR"
        write_series(patient, array.transpose(0, 2, 1), labels.transpose(0, 2, 1))
    return root
