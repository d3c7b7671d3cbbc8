"""Measure what reading a CT series costs beside decoding its pixels.

    .venv/bin/python benchmarks/read_dicom.py --json read_dicom.json

Writes a series of uncompressed 512 x 512 slices of 16 bits into a temporary folder, with headers as long as a
scanner's. `convert_series` reads it as the workflow does: it finds the files, checks that they make one volume, orders
them, turns them into HU and writes volume and facts. Beside it, a bare loop of `pydicom.dcmread(file).pixel_array`
keeps nothing. They take turns, with the files in the operating system's cache; times are medians over rounds. Memory is
the peak of a fresh process for each, less what it had before it read anything (Linux).
"""

import argparse
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pydicom
from pydicom.dataset import FileDataset, FileMetaDataset
from pydicom.sequence import Sequence
from pydicom.uid import CTImageStorage, ExplicitVRLittleEndian

from memory import KNOWN_HERE, read_kib
from quietct.ct.dicom.convert import convert_series
from table import describe_machine, print_facts, print_table, write_json

SPACING_MM = 3.0
COLUMNS = {
    "slices": ("slices", "{}"),
    "side": ("side", "{}"),
    "decoding_ms": ("pydicom loop ms", "{:.0f}"),
    "converting_ms": ("convert_series ms", "{:.0f}"),
    "ratio": ("ratio", "{:.2f}"),
    "decoding_mib": ("pydicom loop MiB", "{:.1f}"),
    "converting_mib": ("convert_series MiB", "{:.1f}"),
    "volume_mib": ("volume MiB", "{:.1f}"),
}


def main() -> None:
    """Measure, print and write."""
    options = read_options()
    if options.measure:
        print(extra_mib(READERS[options.measure], options.folder))
        return
    facts = describe_machine() | {"pydicom": pydicom.__version__, "numpy": np.__version__}
    print_facts(facts)
    with tempfile.TemporaryDirectory() as folder:
        write_series(Path(folder, "series"), options.slices, options.side)
        seconds = take_turns(Path(folder), options.rounds)
        row: dict[str, Any] = {
            "slices": options.slices,
            "side": options.side,
            "decoding_ms": 1000 * seconds["decoding"],
            "converting_ms": 1000 * seconds["converting"],
            "ratio": seconds["converting"] / seconds["decoding"],
            "volume_mib": options.slices * options.side**2 * 2 / 2**20,
        }
        if KNOWN_HERE:
            row |= {f"{name}_mib": in_fresh_process(name, Path(folder)) for name in READERS}
    print_table(COLUMNS, [row])
    if options.json:
        write_json(options.json, COLUMNS, [row], facts)


def read_options() -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(
        description=__doc__,
        epilog="The ratio is the time of convert_series by that of the loop.",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--rounds", type=int, default=9, help="turns of each (%(default)s)")
    parser.add_argument("--slices", type=int, default=119, help="slices of the series (%(default)s)")
    parser.add_argument("--side", type=int, default=512, help="rows and columns of a slice (%(default)s)")
    parser.add_argument("--json", type=Path, help="file to write: a list with one object")
    parser.add_argument("--quick", action="store_true", help="few small slices: shows that all works, not speed")
    parser.add_argument("--measure", choices=READERS, help=argparse.SUPPRESS)
    parser.add_argument("--folder", type=Path, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.quick:
        options.rounds, options.slices, options.side = 1, 5, 64
    return options


def decode(folder: Path) -> None:
    """Decode every file, as one would without any check."""
    for path in sorted((folder / "series").iterdir()):
        _ = pydicom.dcmread(path).pixel_array


def convert(folder: Path) -> None:
    """Convert the series as the workflow does."""
    convert_series(folder / "series", folder / "volume.npy", folder / "volume.json")


READERS: dict[str, Callable[[Path], None]] = {"decoding": decode, "converting": convert}


def take_turns(folder: Path, rounds: int) -> dict[str, float]:
    """Time both readers in every round, after one that is not counted; give the medians (s)."""
    turns: dict[str, list[float]] = {name: [] for name in READERS}
    for _ in range(1 + rounds):
        for name, read in READERS.items():
            for old in folder.glob("volume.*"):
                old.unlink()
            start = time.perf_counter()
            read(folder)
            turns[name].append(time.perf_counter() - start)
    return {name: statistics.median(seconds[1:]) for name, seconds in turns.items()}


def in_fresh_process(name: str, folder: Path) -> float:
    """Measure the memory of a reader in a process that has done nothing else (MiB)."""
    command = [sys.executable, __file__, "--measure", name, "--folder", folder]
    return float(subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True).stdout)


def extra_mib(read: Callable[[Path], None], folder: Path) -> float:
    """Measure what reading adds to this process (MiB), which was just started.

    Pages of the volume's file that the system maps into the process count as well, though it can drop them.
    """
    status = Path("/proc/self/status")
    before = read_kib(status, "VmRSS")
    read(folder)
    return (read_kib(status, "VmHWM") - before) / 1024


def write_series(folder: Path, slices: int, side: int) -> None:
    """Write the series: noise on a disc, stored as a scanner of CT stores it."""
    folder.mkdir()
    rng = np.random.default_rng(1)
    rows, columns = np.mgrid[:side, :side] - side / 2
    body = np.where(rows**2 + columns**2 < (0.4 * side) ** 2, 1024, 24)
    for k in range(slices):
        stored = np.clip(body + rng.normal(0, 20, body.shape), 0, 4095).astype(np.uint16)
        image(k, stored).save_as(folder / f"{k + 1:04}.dcm", enforce_file_format=True)


def image(k: int, stored: np.ndarray) -> FileDataset:
    """Make slice `k` with about as many attributes as a scanner writes, private ones and sequences among them."""
    meta = FileMetaDataset()
    meta.MediaStorageSOPClassUID = CTImageStorage
    meta.MediaStorageSOPInstanceUID = f"1.2.826.0.1.3680043.8.498.1.{k + 1}"
    meta.TransferSyntaxUID = ExplicitVRLittleEndian
    ds = FileDataset("", {}, file_meta=meta, preamble=b"\0" * 128)
    ds.SpecificCharacterSet = "ISO_IR 100"
    ds.ImageType = ["ORIGINAL", "PRIMARY", "AXIAL", "CT_SOM5 SPI"]
    ds.SOPClassUID = CTImageStorage
    ds.SOPInstanceUID = meta.MediaStorageSOPInstanceUID
    for word in ("Study", "Series", "Acquisition", "Content"):
        setattr(ds, f"{word}Date", "20000101")
        setattr(ds, f"{word}Time", "120000.000000")
    ds.Modality = "CT"
    ds.Manufacturer = "MAKER"
    ds.ManufacturerModelName = "Scanner 64"
    ds.StudyDescription = "Phantom"
    ds.SeriesDescription = "Chest 3.0 B40f"
    ds.PatientName = "Phantom"
    ds.PatientID = "phantom-1"
    ds.PatientBirthDate = ""
    ds.PatientSex = "O"
    ds.BodyPartExamined = "CHEST"
    ds.PatientPosition = "HFS"
    for uid in ("StudyInstanceUID", "SeriesInstanceUID", "FrameOfReferenceUID"):
        setattr(ds, uid, f"1.2.826.0.1.3680043.8.498.{len(uid)}")
    ds.SeriesNumber, ds.AcquisitionNumber, ds.InstanceNumber = 2, 1, k + 1
    ds.ImagePositionPatient = [-180.3, -180.3, -100 + SPACING_MM * k]
    ds.ImageOrientationPatient = [1, 0, 0, 0, 1, 0]
    ds.SliceThickness, ds.SliceLocation, ds.PixelSpacing = SPACING_MM, -100 + SPACING_MM * k, [0.703125, 0.703125]
    ds.KVP, ds.Exposure, ds.ExposureTime, ds.XRayTubeCurrent = 120, 100, 500, 200
    ds.DataCollectionDiameter, ds.ReconstructionDiameter, ds.GantryDetectorTilt = 500, 360, 0
    ds.DistanceSourceToDetector, ds.DistanceSourceToPatient, ds.TableHeight = 1040, 570, 120
    ds.ConvolutionKernel, ds.FilterType, ds.RotationDirection, ds.FocalSpots = "B40f", "0", "CW", 1.2
    ds.SpiralPitchFactor, ds.SingleCollimationWidth, ds.TotalCollimationWidth = 1.2, 0.6, 19.2
    ds.WindowCenter, ds.WindowWidth = [40, -600], [400, 1200]
    ds.RescaleIntercept, ds.RescaleSlope, ds.RescaleType = -1024, 1, "HU"
    item = pydicom.Dataset()
    item.ReferencedSOPClassUID, item.ReferencedSOPInstanceUID = CTImageStorage, "1.2.826.0.1.3680043.8.498.99"
    ds.ReferencedImageSequence = Sequence([item])
    ds.SourceImageSequence = Sequence([item])
    private = ds.private_block(0x0029, "MAKER CSA HEADER", create=True)
    for element in range(16):
        private.add_new(element, "OB", bytes(600))
    ds.Rows, ds.Columns = stored.shape
    ds.SamplesPerPixel, ds.PhotometricInterpretation, ds.PixelRepresentation = 1, "MONOCHROME2", 0
    ds.BitsAllocated, ds.BitsStored, ds.HighBit = 16, 12, 11
    ds.PixelData = stored.tobytes()
    return ds


if __name__ == "__main__":
    main()
