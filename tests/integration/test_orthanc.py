"""A derived series in a real PACS: beside its source, in the same study, pixel for pixel as it was written."""

from io import BytesIO

import numpy as np
import pydicom
import pytest
from orthanc_server import Orthanc

from quietct.apply.denoise_dicom import denoise_dicom
from quietct.ct.sources import fetch_series
from quietct.nn.architecture import Architecture
from quietct.nn.network import Network
from quietct.nn.weights import save_network

SLICES = 3


@pytest.fixture(scope="module")
def weights(tmp_path_factory):
    """A network that halves the difference of each pixel from its neighbours."""
    layer = {"filters": 1, "kernel": 3, "relu": False}
    network = Network(Architecture.from_config({"layers": [layer], "residual": False}))
    kernel, bias = network.layers[0]
    kernel[...], bias[...] = 1 / 16, 0
    kernel[..., 1, 1] = 1 / 2
    path = tmp_path_factory.mktemp("weights") / "weights.npz"
    save_network(path, network, {"normalisation": {"shift_hu": 0.0, "scale_hu": 1000.0}, "network": "blur"})
    return path


@pytest.fixture(scope="module")
def series(tmp_path_factory, weights):
    """Folder of a source series and folder of what was made of it."""
    folder = tmp_path_factory.mktemp("series")
    fetch_series("phantom", None, folder / "source", nodule_layout=4, exposure_mas=50, n_slices=SLICES)
    denoise_dicom(weights, folder / "source", folder / "denoised")
    return folder / "source", folder / "denoised"


@pytest.fixture(scope="module")
def archive(tmp_path_factory, series):
    """An Orthanc that was sent both series."""
    with Orthanc(tmp_path_factory.mktemp("orthanc")) as orthanc:
        for folder in series:
            orthanc.send(folder)
        yield orthanc


def read(folder):
    images = [pydicom.dcmread(path) for path in sorted(folder.rglob("*.dcm"))]
    return {str(ds.SOPInstanceUID): ds for ds in images}


def stored(archive, series):
    """The images of a series as Orthanc gives them out again."""
    images = [pydicom.dcmread(BytesIO(archive.ask(f"instances/{name}/file"))) for name in series["Instances"]]
    return {str(ds.SOPInstanceUID): ds for ds in images}


def listed(archive):
    """The series that Orthanc has, by UID."""
    return {series["MainDicomTags"]["SeriesInstanceUID"]: series for series in archive.ask("series?expand")}


def uid_of(folder):
    (uid,) = {ds.SeriesInstanceUID for ds in read(folder).values()}
    return uid


def test_the_derived_series_is_a_second_one_in_the_same_study_of_the_same_patient(archive, series):
    assert len(archive.ask("patients")) == 1
    (study,) = archive.ask("studies?expand")
    assert study["PatientMainDicomTags"]["PatientID"] == "NoduleLayout_4"
    assert set(listed(archive)) == {uid_of(folder) for folder in series}
    assert [len(one["Instances"]) for one in listed(archive).values()] == [SLICES, SLICES]
    assert {one["ParentStudy"] for one in listed(archive).values()} == {study["ID"]}
    assert len(archive.ask("instances")) == 2 * SLICES


def test_the_derived_series_is_listed_as_denoised_and_for_research(archive, series):
    source, denoised = (listed(archive)[uid_of(folder)] for folder in series)
    tags, before = denoised["MainDicomTags"], source["MainDicomTags"]
    assert tags["Modality"] == "CT"
    assert "denoised" in tags["SeriesDescription"].lower()
    assert "research use" in tags["SeriesDescription"].lower()
    assert tags["SeriesDescription"] != before["SeriesDescription"]
    assert tags["SeriesNumber"] != before["SeriesNumber"]
    for name in denoised["Instances"]:
        told = archive.ask(f"instances/{name}/simplified-tags")
        assert told["ImageType"].split("\\")[:3] == ["DERIVED", "SECONDARY", "AXIAL"]


def test_the_archive_has_the_pixels_that_were_written(archive, series):
    for folder in series:
        written, kept = read(folder), stored(archive, listed(archive)[uid_of(folder)])
        assert set(written) == set(kept)
        for uid, ds in written.items():
            assert ds.PixelData == kept[uid].PixelData
            assert (ds.RescaleSlope, ds.RescaleIntercept) == (kept[uid].RescaleSlope, kept[uid].RescaleIntercept)


def test_each_derived_image_in_the_archive_is_its_source_through_the_network(archive, series):
    source, denoised = (stored(archive, listed(archive)[uid_of(folder)]) for folder in series)
    seen = set()
    for ds in denoised.values():
        origin = ds.SourceImageSequence[0].ReferencedSOPInstanceUID
        seen.add(origin)
        assert ds.ImagePositionPatient == source[origin].ImagePositionPatient
        noisy = source[origin].pixel_array.astype(float)
        sums = sum(np.roll(noisy, (i, j), (0, 1)) for i in (-1, 0, 1) for j in (-1, 0, 1))
        expected = noisy / 2 + (sums - noisy) / 16
        inner = np.s_[200:300, 200:300]  # within the body, where neither field of view nor range ends
        assert np.abs(ds.pixel_array[inner] - expected[inner]).max() <= 0.51
        assert np.abs(noisy - expected)[inner].max() > 10
    assert seen == set(source)


def test_a_series_that_was_derived_again_is_the_one_that_the_archive_has(archive, series, weights, tmp_path):
    denoise_dicom(weights, series[0], tmp_path / "again")
    assert read(tmp_path / "again").keys() == read(series[1]).keys()
    archive.send(tmp_path / "again")
    assert archive.ask("statistics")["CountSeries"] == 2
    assert archive.ask("statistics")["CountInstances"] == 2 * SLICES


def test_without_identity_it_is_of_another_patient_and_another_study(series, weights, tmp_path):
    denoise_dicom(weights, series[0], tmp_path / "denoised", deidentify=True)
    with Orthanc(tmp_path) as archive:
        for folder in (series[0], tmp_path / "denoised"):
            archive.send(folder)
        assert [len(one["Instances"]) for one in listed(archive).values()] == [SLICES, SLICES]
        assert len(archive.ask("studies")) == 2
        patients = {one["MainDicomTags"]["PatientID"]: one["ID"] for one in archive.ask("patients?expand")}
        del patients["NoduleLayout_4"]
        (other,) = patients.values()
        told = [archive.ask(f"patients/{other}{what}") for what in ("", "/studies", "/series")]
        told += [archive.ask(f"instances/{one['ID']}/tags") for one in archive.ask(f"patients/{other}/instances")]
        source = archive.ask(f"studies/{listed(archive)[uid_of(series[0])]['ParentStudy']}")["MainDicomTags"]
        for word in ("Phantom^", "NoduleLayout", "20180601", source["StudyInstanceUID"], uid_of(series[0])):
            assert word not in str(told)
