"""Series of a public bucket, fetched by real runs from a server on this machine."""

import csv
import json
import shutil
import socket
from io import BytesIO

import numpy as np
import pytest
import yaml
from dicom_files import write_slice
from faulty_server import Fault, FaultyServer
from nbia_series import ARCHIVE, OTHER, SERIES, make_images
from nbia_server import NbiaServer
from pydicom import dcmread

HEADER = "series\tsource\trole\tlocation\tseries_instance_uid\tn_slices\n"
TARGETS = ["results/tiny/volumes/train_ct.npy", "results/tiny/volumes/test_ct.npy"]


@pytest.fixture(scope="module")
def scans(tmp_path_factory):
    """Two series of three slices, of 80 kB each: the UID and the folder of each."""
    rng = np.random.default_rng(1)
    found = {}
    for uid in ("1.2.3.1", "1.2.3.2"):
        found[uid] = tmp_path_factory.mktemp("scan")
        for k in range(3):
            stored = rng.integers(0, 3000, (200, 200), dtype=np.uint16)
            write_slice(found[uid] / f"000{k + 1}.dcm", 3.0 * k, stored, SeriesInstanceUID=uid)
    return found


@pytest.fixture
def server(scans):
    """A bucket with both series."""
    with FaultyServer() as server:
        for k, folder in enumerate(scans.values()):
            for path in folder.iterdir():
                server.files[f"/bucket/folder-{k}/{path.name}"] = path.read_bytes()
        yield server


def prepare(folder, scans, config, url, **download):
    """Write a sheet of both series, and a config with the address of their server."""
    rows = [
        f"{role}_ct\tidc\t{role}\ts3://bucket/folder-{k}\t{uid}\t{n}"
        for (k, uid), (role, n) in zip(enumerate(scans), [("train", "2"), ("test", "")], strict=True)
    ]
    (folder / "ct.tsv").write_text(HEADER + "\n".join(rows) + "\n")
    download = {"idc_endpoint": url, "retries": 0, "timeout_s": 20, **download}
    (folder / "ct.yaml").write_text(yaml.safe_dump({**config, "series": "ct.tsv", "download": download}))


def slices(folder):
    """The pixels of all files in a folder by height, without the package's reader."""
    return slices_of(dcmread(path) for path in folder.glob("*.dcm"))


def slices_of(images):
    images = sorted(images, key=lambda image: image.ImagePositionPatient[2])
    return np.stack([image.pixel_array.astype(int) + int(image.RescaleIntercept) for image in images])


def test_series_are_fetched_once_and_shared_by_all_runs(folder, snakemake, tiny_config, scans, server):
    prepare(folder, scans, tiny_config, server.url)
    limits = ["--resources", "downloads=1", "bandwidth_mbit=50"]
    outcome = snakemake(folder, *TARGETS, "--configfile", "ct.yaml", *limits, "--benchmark-extended")
    assert outcome.status == 0, outcome.text
    whole = [slices(path) for path in scans.values()]
    assert np.array_equal(np.load(folder / TARGETS[0]), whole[0][:2])  # the column n_slices
    assert np.array_equal(np.load(folder / TARGETS[1]), whole[1])
    for uid, path in scans.items():
        assert np.array_equal(slices(folder / "resources/dicom" / uid), slices(path))
        with open(folder / f"results/tiny/benchmarks/fetch_series/{uid}.tsv", newline="") as file:
            (row,) = csv.DictReader(file, delimiter="\t")
        asked = json.loads(row["resources"].replace("'", '"'))
        assert (asked["downloads"], asked["bandwidth_mbit"]) == (1, 50)  # 250, lowered to the limit of all jobs
    assert list((folder / "resources/downloads").iterdir()) == []
    asked = len(server.requests)
    assert "Nothing to be done" in snakemake(folder, *TARGETS, "--configfile", "ct.yaml").text
    # Another way to download changes nothing that is there.
    prepare(folder, scans, tiny_config, "http://127.0.0.1:9", retries=3, timeout_s=1, bandwidth_mbit=7)
    assert "Nothing to be done" in snakemake(folder, *TARGETS, "--configfile", "ct.yaml").text
    other = [target.replace("tiny", "other") for target in TARGETS]
    outcome = snakemake(folder, *other, "--configfile", "ct.yaml", "--config", "run=other")
    assert outcome.status == 0, outcome.text
    assert outcome.jobs == {"convert_series": 2}
    assert len(server.requests) == asked


def test_a_broken_download_goes_on_where_it_was(folder, snakemake, tiny_config, scans, server):
    prepare(folder, scans, tiny_config, server.url, timeout_s=4)
    uid = next(iter(scans))
    target = f"resources/dicom/{uid}"
    server.always["/bucket/folder-0/0003.dcm"] = Fault(stall_at=1000)  # the others have time to come
    outcome = snakemake(folder, target, "--configfile", "ct.yaml")
    assert outcome.status != 0
    assert "Traceback" not in outcome.text
    assert len(outcome.errors) == 1, outcome.text
    assert not (folder / target).exists()
    finished = [path.name for path in (folder / "resources/downloads" / uid).glob("*.dcm")]
    assert finished
    server.always.clear()
    server.forget()
    outcome = snakemake(folder, target, "--configfile", "ct.yaml")
    assert outcome.status == 0, outcome.text
    assert np.array_equal(slices(folder / target), slices(scans[uid]))
    assert len(server.asked("/bucket/folder-0/0003.dcm")) == 1
    for name in finished:
        assert server.asked(f"/bucket/folder-0/{name}") == []


def test_without_network_one_sentence_names_the_ways_that_need_none(folder, snakemake, tiny_config, scans):
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))  # bound and not listening: the connection is refused
        prepare(folder, scans, tiny_config, f"http://127.0.0.1:{taken.getsockname()[1]}")
        outcome = snakemake(folder, TARGETS[0], "--configfile", "ct.yaml")
        assert outcome.status != 0
        assert "Traceback" not in outcome.text
        (sentence,) = outcome.errors
        uid, path = next(iter(scans.items()))
        for words in ("resources/dicom/", "directory", "phantom"):
            assert words in sentence
        assert not (folder / "resources/dicom" / uid).exists()
        # The first of the ways, done wrong and then right.
        other = list(scans.values())[1]
        shutil.copytree(other, folder / "resources/dicom" / uid)
        outcome = snakemake(folder, TARGETS[0], "--configfile", "ct.yaml")
        assert outcome.status != 0
        assert len(outcome.errors) == 1, outcome.text
        assert f"resources/dicom/{uid}" in outcome.errors[0]
        shutil.rmtree(folder / "resources/dicom" / uid)
        shutil.copytree(path, folder / "resources/dicom" / uid)
        outcome = snakemake(folder, TARGETS[0], "--configfile", "ct.yaml")
        assert outcome.status == 0, outcome.text
        assert np.array_equal(np.load(folder / TARGETS[0]), slices(path)[:2])


def test_series_of_the_cancer_imaging_archive_become_volumes(folder, snakemake, tiny_config):
    (folder / "ct.tsv").write_text(
        f"series\tsource\trole\tseries_instance_uid\na\ttcia\ttrain\t{SERIES}\nb\ttcia\ttest\t{OTHER}\n"
    )
    with NbiaServer() as nbia:
        nbia.series = {uid: make_images(uid, seed=k) for k, uid in enumerate((SERIES, OTHER))}
        config = {**tiny_config, "series": "ct.tsv", "download": {"tcia_endpoint": nbia.endpoint, "retries": 0}}
        (folder / "ct.yaml").write_text(yaml.safe_dump(config))
        targets = ["results/tiny/volumes/a.npy", "results/tiny/volumes/b.npy"]
        outcome = snakemake(folder, *targets, "--configfile", "ct.yaml")
        assert outcome.status == 0, outcome.text
        assert nbia.calls == {ARCHIVE: 2}
    for uid, target in zip((SERIES, OTHER), targets, strict=True):
        truth = slices_of(dcmread(BytesIO(data)) for data in nbia.series[uid].values())
        assert np.array_equal(np.load(folder / target), truth.clip(-32767, 32767))
