"""Denoise a CT series, DICOM in and DICOM out: what the command `quietct denoise` and the workflow do."""

from __future__ import annotations

import hashlib
import logging
import shutil
import zipfile
from contextlib import ExitStack
from dataclasses import dataclass, replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np

from quietct import __version__
from quietct.apply.domain import differences, slices_to_compare
from quietct.apply.output_folder import DENOISED, check_free, check_places, failures_named, is_finished
from quietct.counting import counted
from quietct.ct.dicom.convert import decodable, read_pixels, series_info
from quietct.ct.dicom.decoding import DecodingProcess
from quietct.ct.dicom.derived import Derivation, write_derived
from quietct.ct.dicom.derived_header import RESEARCH_USE
from quietct.ct.dicom.header import MIB, quiet_pydicom
from quietct.ct.dicom.images import Image
from quietct.ct.dicom.series import Series, choose_series
from quietct.ct.sources.directory import opened
from quietct.errors import UserError
from quietct.files import written_whole
from quietct.nn.inference import TiledInference
from quietct.nn.network import Network
from quietct.nn.weights import load_network, network_digest

logger = logging.getLogger(__name__)

DEMO_WEIGHTS = Path(__file__).parents[1] / "weights" / "demo.npz"
DEMO = (
    "No weights given: using those that come with quietct, a small network that has seen nothing but a synthetic chest."
)
WINDOW_HU = (-1350.0, 150.0)  # of pictures, where neither user nor weights name one


@dataclass(frozen=True)
class Model:
    """A trained network, what it says about itself, and the digest of what decides its output."""

    network: Network
    description: dict[str, Any]
    digest: str

    @property
    def name(self) -> str:
        """What it is called in the DICOM files."""
        return "-".join(str(self.description[key]) for key in ("network", "variant") if self.description.get(key))


def load_model(weights: str | Path | None) -> Model:
    """Read weights.npz; None stands for the weights that come with quietct.

    Raises
    ------
    UserError
        As `quietct.nn.weights.load_network`, or if the training of the network diverged.
    """
    network, description = load_network(DEMO_WEIGHTS if weights is None else Path(weights).expanduser())
    if "diverged" in description:
        raise UserError(f"{weights} cannot denoise: {description['diverged']}")
    return Model(network, description, network_digest(network, description))


def denoise_dicom(
    weights: str | Path | None,
    source: str | Path,
    output: str | Path,
    *,
    series_instance_uid: str | None = None,
    acquisition_number: int | None = None,
    n_slices: int | None = None,
    unusable: str = "strict",
    deidentify: bool = False,
    force: bool = False,
    threads: int = 1,
    window_hu: tuple[float, float] | None = None,
    preview: str | Path | None = None,
) -> bool:
    """Denoise one CT series and write it as a derived series.

    The output appears whole or not at all. Is it there already, made from the same bytes with the same weights and
    the same version, nothing is done.

    Parameters
    ----------
    weights : path or None
        weights.npz of a trained network; None takes the weights that come with quietct.
    source : path
        A folder, .zip, DICOMDIR or DICOM file with the series. It is only read.
    output : path
        The folder to make.
    series_instance_uid : str, optional
        Which series, if there are several.
    acquisition_number : int, optional
        Only the slices of this acquisition.
    n_slices : int, optional
        Only the first slices, in the order of position.
    unusable : {"strict", "skip"}
        Whether an unusable file ends the work, or is left out.
    deidentify : bool
        Write nothing about the patient.
    force : bool
        Replace an output of quietct, and the preview.
    threads : int
        Does not change the result.
    window_hu : (low, high), optional
        Black and white of the preview, HU; those of the training if absent.
    preview : path, optional
        A .png or .gif to draw, with slices before and after.

    Returns
    -------
    bool
        Whether the series was written; False if it was there already.

    Raises
    ------
    UserError
        If a place, the weights or the input is not fit for it; nothing is written then.
    """
    source, output = Path(source).expanduser(), Path(output).expanduser()
    picture = None if preview is None else Path(preview).expanduser()
    if window_hu is not None and not window_hu[0] < window_hu[1]:
        raise UserError(f"The window {window_hu[0]:g} {window_hu[1]:g} has its lower end first: LOW HIGH, in HU.")
    model = load_model(weights)
    with failures_named(output), quiet_pydicom(), ExitStack() as stack:
        check_places(source, output, picture)
        if weights is None:
            logger.info("%s For %s.", DEMO, RESEARCH_USE)
        series = _choose(source, series_instance_uid, unusable, acquisition_number)
        if zipfile.is_zipfile(source):
            folder = next(parent for parent in output.absolute().parents if parent.is_dir())
            unpacked = stack.enter_context(TemporaryDirectory(prefix=".quietct-", dir=folder))
            series = _unpack(series, source, Path(unpacked))
        if unusable == "skip":
            series = decodable(series, n_slices)
        series = _first(series, n_slices, source)
        derivation = _derivation(model, series, deidentify)
        done = not force and is_finished(output, derivation.description, len(series.images))
        if done:
            logger.info("%s is finished: it was made from this input with these weights. Nothing to do.", output)
        else:
            check_free(output, picture, force)
            _denoise(model, series, output, derivation, deidentify, threads)
        if picture is not None and not (done and picture.exists()):
            _draw(picture, series, output, unusable, window_hu or model.description.get("window_hu") or WINDOW_HU)
    return not done


def _denoise(
    model: Model, series: Series, output: Path, derivation: Derivation, deidentify: bool, threads: int
) -> None:
    images = series.images
    rows, columns = images[0].whole("Rows") or 0, images[0].whole("Columns") or 0
    sample = _read([images[k] for k in slices_to_compare(len(images))])
    for sentence in differences(model.description, series_info(images, series.skipped), sample):
        logger.warning("Warning: %s", sentence)
    normalisation = model.description["normalisation"]
    with (
        TiledInference(model.network, rows, columns, threads) as inference,
        written_whole(output) as partial,
        counted() as progress,
    ):
        partial.mkdir()
        write_derived(
            images,
            lambda hu: inference.denoise_hu(hu, normalisation),
            partial,
            derivation,
            deidentify=deidentify,
            progress=progress,
        )
    logger.info(
        "Wrote %d denoised slices of %d x %d pixels to %s, for %s.", len(images), rows, columns, output, RESEARCH_USE
    )


def _draw(picture: Path, series: Series, output: Path, unusable: str, window_hu: tuple[float, float]) -> None:
    """Draw the slices as they are in the files."""
    from quietct.figures.preview import PreviewSlice, draw_preview, shown_slices  # matplotlib is slow to load

    written = _choose(output, None, unusable, None).images
    chosen = shown_slices(picture, len(written))
    before, after = (_read([images[k] for k in chosen]) for images in (series.images, written))
    slices = [
        PreviewSlice(k + 1, written[k].position, old, new) for k, old, new in zip(chosen, before, after, strict=True)
    ]
    draw_preview(picture, slices, len(written), window_hu)


def _first(series: Series, n_slices: int | None, source: Path) -> Series:
    found = len(series.images)
    if n_slices is not None and found < n_slices:
        raise UserError(f"{source} has {found} slices, fewer than the column `n_slices` says ({n_slices}).")
    return Series(series.images[:n_slices], series.skipped)


def _read(images: list[Image]) -> list[np.ndarray]:
    with DecodingProcess() as process:
        return [hu for hu, _ in read_pixels(images, process)]


def _choose(place: Path, series_instance_uid: str | None, unusable: str, acquisition_number: int | None) -> Series:
    with opened(place) as files:
        return choose_series(files, str(place), series_instance_uid, unusable, acquisition_number)


def _unpack(series: Series, archive: Path, folder: Path) -> Series:
    """Copy the files of the series out of an archive; in messages they keep their names."""
    copies: dict[str, str] = {}
    with opened(archive) as files:
        found = {file.name: file for file in files}
        for image in series.images:
            if image.file not in copies:
                copies[image.file] = str(folder / f"{len(copies) + 1:06}.dcm")
                with found[image.file].open() as packed, open(copies[image.file], "xb") as copy:
                    shutil.copyfileobj(packed, copy, MIB)
    return Series([replace(image, file=copies[image.file]) for image in series.images], series.skipped)


def _derivation(model: Model, series: Series, deidentify: bool) -> Derivation:
    """Say what the files depend on: the input's bytes, the weights, the version and the options."""
    source = hashlib.sha256()
    for file in dict.fromkeys(image.file for image in series.images):
        with open(file, "rb") as stream:
            source.update(hashlib.file_digest(stream, "sha256").digest())
    source.update("\n".join(f"{image.uid} {image.frame}" for image in series.images).encode())
    facts = [__version__, model.digest, source.hexdigest(), "de-identified" if deidentify else "identity kept"]
    text = f"{DENOISED} {facts[0]} ({model.name or 'network without a name'}; weights {facts[1]}; input {facts[2]}; "
    digest = hashlib.sha256("\n".join(facts).encode()).hexdigest()
    return Derivation(f"{text}{facts[3]}).", digest, f"Denoised ({model.name})" if model.name else "Denoised")
