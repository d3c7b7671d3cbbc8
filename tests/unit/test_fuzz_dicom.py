"""Damaged DICOM files never hang, crash, take over the memory, or give a wrong volume.

Each conversion runs in a process of its own with bounded memory, so that a crash in a decoder is seen. For a long run:

    QUIETCT_FUZZ_EXAMPLES=20000 pytest tests/unit/test_fuzz_dicom.py

tries that many damages of each kind of file, other ones each time.
"""

import json
import os
import shutil
import sys

import numpy as np
import pytest
from fuzzing import (
    GDCM_SYNTAXES,
    NATIVE,
    SECRETS,
    SENSITIVE,
    UIDS,
    Child,
    damaged,
    elements,
    enhanced_file,
    operations,
    slice_file,
    stored,
    zip_file,
)
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="limits of a process are those of Linux")

EXAMPLES = int(os.environ.get("QUIETCT_FUZZ_EXAMPLES", "0"))
fuzzed = settings(
    max_examples=EXAMPLES or 150,
    derandomize=not EXAMPLES,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
    report_multiple_bugs=bool(EXAMPLES),
)
KINDS = (*NATIVE, "deflated", "rle", *GDCM_SYNTAXES)
HU = np.array([stored(k).astype(int) - 1024 for k in range(3)])
Z_MM = [0.0, 3.0, 6.0]
steps = st.lists(operations, min_size=1, max_size=3)
choices = st.sampled_from(["strict", "skip"])


@pytest.fixture(scope="module")
def child(tmp_path_factory):
    child = Child(tmp_path_factory.mktemp("child") / "stderr")
    yield child
    child.stop()


@pytest.fixture
def outcome(child, tmp_path):
    """Function that converts files and checks all that must hold whatever happened to them.

    Gives HU, positions (mm), UIDs by slice, or None where they were refused.
    """

    def convert(files, location="in", unusable="strict"):
        for name in ("in", "dest", "out"):
            shutil.rmtree(tmp_path / name, ignore_errors=True)
        for name, data in files.items():
            (tmp_path / name).parent.mkdir(exist_ok=True)
            (tmp_path / name).write_bytes(data)
        volume, info = tmp_path / "out/v.npy", tmp_path / "out/v.json"
        task = {"location": "in" if location == "in" else location, "dest": "dest"}
        task = {key: str(tmp_path / value) for key, value in task.items()}
        answer = child.ask(task | {"volume": str(volume), "info": str(info), "unusable": unusable})
        assert answer["end"] in ("read", "refused"), f"{answer['end']}: {answer['text']}"
        assert not any(secret in answer["text"] for secret in SECRETS), answer["text"]
        if answer["end"] == "refused":
            assert answer["text"].strip().endswith(".")
            assert "\n" not in answer["text"].strip()
            assert not list((tmp_path / "out").glob("*")) if (tmp_path / "out").exists() else True
            return None
        hu, facts = np.load(volume), json.loads(info.read_text())
        assert not any(secret in json.dumps(facts) for secret in SECRETS)
        assert hu.dtype == np.int16
        assert hu.shape == tuple(facts["shape"])
        assert len(hu) == len(facts["z_mm"]) == len(facts["sop_instance_uids"]) > 0
        assert facts["z_mm"] == sorted(facts["z_mm"])
        assert np.isfinite(facts["z_mm"]).all()
        assert len(facts["spacing_mm"]) == 2
        assert min(facts["spacing_mm"]) > 0
        return hu, facts["z_mm"], facts["sop_instance_uids"]

    return convert


def test_the_valid_files_are_read(outcome):
    for kind in KINDS:
        hu, z_mm, uids = outcome({f"in/{k}": slice_file(k, kind) for k in range(3)})
        assert np.array_equal(hu, HU), kind
        assert (z_mm, uids) == (Z_MM, list(UIDS))
    for files, location in (({"in/0": enhanced_file()}, "in"), ({"in.zip": zip_file()}, "in.zip")):
        hu, z_mm, _ = outcome(files, location)
        assert np.array_equal(hu, HU)
        assert z_mm == Z_MM


@pytest.mark.parametrize("kind", KINDS)
def test_a_damaged_slice_spoils_neither_the_others_nor_the_volume(outcome, kind):
    valid = [slice_file(k, kind) for k in range(3)]
    parts = elements(valid[1])
    names = {element.keyword for element in parts}
    pixels = next((element for element in parts if element.keyword == "PixelData"), None)

    @fuzzed
    @given(steps=steps, unusable=choices)
    def check(steps, unusable):
        damage = damaged(valid[1], parts, steps, little=kind != "big_endian")
        read = outcome({"in/0": valid[0], "in/1": damage.data, "in/2": valid[2]}, unusable=unusable)
        if read is None:
            return
        hu, z_mm, uids = read
        for k in (0, 2):
            if UIDS[k] in uids:
                at = uids.index(UIDS[k])
                assert np.array_equal(hu[at], HU[k])
                assert z_mm[at] == Z_MM[k]
        assert {UIDS[0], UIDS[2]} <= set(uids) or unusable == "skip"
        assert len(hu) <= 3
        if damage.only_in_values_of(parts, names - SENSITIVE):
            if len(hu) == 3:
                assert np.array_equal(hu, HU)
                assert z_mm == Z_MM
        elif kind in NATIVE and damage.only_in_values_of(parts, {"PixelData"}):
            touched = np.zeros(HU[1].size, bool)
            for start, stop, _ in damage.changes:
                touched[(start - pixels.value) // 2 : (stop - pixels.value + 1) // 2] = True
            assert len(hu) == 3
            assert np.array_equal(hu[1].ravel()[~touched], HU[1].ravel()[~touched])
        elif pixels and len(damage.changes) == 1:
            start, stop, new = damage.changes[0]
            if stop == len(valid[1]) and not new:
                # Cut off. At its very end a compressed file has padding and a delimiter.
                lost = start < (pixels.stop if kind in NATIVE else stop - 10)
                assert len(hu) == 2 or (not lost and np.array_equal(hu, HU))

    check()


def test_a_damaged_multi_frame_file_is_read_right_or_refused(outcome):
    valid = enhanced_file()
    parts = elements(valid)
    names = {element.keyword for element in parts}

    @fuzzed
    @given(steps=steps, unusable=choices)
    def check(steps, unusable):
        damage = damaged(valid, parts, steps)
        read = outcome({"in/0": damage.data}, unusable=unusable)
        spared = names - SENSITIVE - {name for name in names if name.endswith("Sequence")} - {"FrameType"}
        if read is not None and damage.only_in_values_of(parts, spared):
            assert np.array_equal(read[0], HU)
            assert read[1] == Z_MM

    check()


def test_a_damaged_archive_gives_slices_as_they_were_or_none(outcome):
    valid = zip_file()

    @fuzzed
    @given(steps=steps, unusable=choices)
    def check(steps, unusable):
        read = outcome({"in.zip": damaged(valid, [], steps).data}, "in.zip", unusable)
        if read is not None:  # the archive has checksums
            for hu, z_mm, uid in zip(*read, strict=True):
                k = UIDS.index(uid)
                assert np.array_equal(hu, HU[k])
                assert z_mm == Z_MM[k]

    check()
