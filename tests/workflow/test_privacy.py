"""What a DICOM file says about people, places and days reaches nothing that a run leaves or says.

The DICOM copies in resources/dicom are the one exception. What pictures show is not read here: nothing but
`convert_series` looks at a header, and whatever it passes on is in the JSON that is searched.
"""

import base64
import gzip
import html
import io
import re
import shutil
import urllib.parse
import zipfile

import numpy as np
import pytest
import yaml
from conftest import new_folder
from PIL import Image
from pydicom import config as pydicom_config
from pydicom.dataset import FileDataset, FileMetaDataset
from pydicom.uid import CTImageStorage, ExplicitVRLittleEndian, ImplicitVRLittleEndian

# Attributes and what is looked for. Broken values make pydicom warn, and its warnings quote.
PLANTED = {
    "PatientName": ("Zyxwvutov^Qwertina", ["Zyxwvutov", "Qwertina"]),
    "PatientID": ("PID7734519-" + "0" * 70, ["PID7734519"]),  # too long
    "PatientBirthDate": ("19471103", ["19471103", "1947-11-03", "1947/11/03", "03.11.1947", "11/03/1947"]),
    "PatientBirthTime": ("0517x3BXRTHTYME", ["0517x3", "BXRTHTYME"]),  # no time
    "PatientAge": ("ZENEZQENT", ["ZENEZQENT"]),  # no age
    "PatientWeight": ("73point5KILQWEIGX", ["KILQWEIGX"]),  # no number
    "PatientAddress": ("Verborgenweg 77", ["Verborgenweg"]),
    "PatientComments": ("Bemerkzyx", ["Bemerkzyx"]),
    "OtherPatientIDs": ("OTQX887766", ["OTQX887766"]),
    "StudyDate": ("20130917", ["20130917", "2013-09-17", "2013/09/17", "17.09.2013", "09/17/2013"]),
    "SeriesDate": ("2013.09.18.OFDAY", ["2013.09.18", "OFDAY"]),  # no date
    "AcquisitionDate": ("20130919", ["20130919", "2013-09-19"]),
    "ContentDate": ("20130920", ["20130920", "2013-09-20"]),
    "AcquisitionDateTime": ("20130921101112.131415&0100", ["20130921"]),
    "StudyTime": ("113355.424242", ["113355.424242", "11:33:55"]),
    "InstitutionName": ("Klinikum Wümmelsbach", ["Klinikum", "mmelsbach"]),
    "InstitutionAddress": ("Geheimstrazz 5", ["Geheimstrazz"]),
    "InstitutionalDepartmentName": ("Abteilungzq", ["Abteilungzq"]),
    "StationName": ("STAQX7", ["STAQX7"]),
    "ReferringPhysicianName": ("Doktorovsky^Ludmilka", ["Doktorovsky", "Ludmilka"]),
    "PerformingPhysicianName": ("Pfrzformakis^Zeno", ["Pfrzformakis"]),
    "PhysiciansOfRecord": ("Rckordzon^Olafur", ["Rckordzon"]),
    "OperatorsName": ("Oqeratzka^Mira", ["Oqeratzka"]),
    "AccessionNumber": ("ACC9918273645546372819", ["ACC9918273645"]),  # too long
    "StudyID": ("STID55213", ["STID55213"]),
    "RequestingPhysician": ("Rqzwestini^Aldo", ["Rqzwestini"]),
}
PRIVATE = ["PRIVATUMLO", "PRIVATUMPN", "PRIVATUMUN"]
NEEDLES = [needle for _, needles in PLANTED.values() for needle in needles] + PRIVATE
SHAPE = (320, 320)


def image(k, syntax=ImplicitVRLittleEndian):
    """Slice `k` of a body, with everything planted in it."""
    meta = FileMetaDataset()
    meta.MediaStorageSOPClassUID = CTImageStorage
    meta.MediaStorageSOPInstanceUID = f"1.2.3.{k + 1}"
    meta.TransferSyntaxUID = syntax
    ds = FileDataset("", {}, file_meta=meta, preamble=b"\0" * 128)
    ds.SpecificCharacterSet = ["ISO_IR 100", "ISO 2022 IR 999"]  # there is no such
    for keyword, (value, _) in PLANTED.items():
        # Without VR in the file, text stands where the reader expects numbers and dates.
        ds.add_new(keyword, "LT", value.encode("latin-1"))
    block = ds.private_block(0x0029, "MAKER PRIVATE", create=True)
    block.add_new(1, "LO", PRIVATE[0])
    block.add_new(2, "PN", PRIVATE[1] + "^X")
    block.add_new(3, "UN", PRIVATE[2].encode())
    ds.SOPClassUID, ds.SOPInstanceUID = CTImageStorage, meta.MediaStorageSOPInstanceUID
    ds.StudyInstanceUID, ds.SeriesInstanceUID = "1.2.3.100", "1.2.3.101"
    ds.ImageType, ds.Modality, ds.SeriesDescription = ["ORIGINAL", "PRIMARY", "AXIAL"], "CT", "Chest\x00"
    ds.Manufacturer, ds.KVP, ds.Exposure = "MAKER", 120, 25
    ds.PixelSpacing, ds.SliceThickness = [0.7, 0.7], 3
    ds.ImagePositionPatient, ds.ImageOrientationPatient = [0, 0, 3 * k], [1, 0, 0, 0, 1, 0]
    ds.RescaleSlope, ds.RescaleIntercept = 1, -1024
    ds.SamplesPerPixel, ds.PhotometricInterpretation, ds.PixelRepresentation = 1, "MONOCHROME2", 0
    ds.BitsAllocated, ds.BitsStored, ds.HighBit = 16, 12, 11
    ds.Rows, ds.Columns = SHAPE
    rows, columns = np.mgrid[: SHAPE[0], : SHAPE[1]] - SHAPE[0] / 2
    stored = np.where(rows**2 + columns**2 < 120**2, 1024 + 10 * k, 24) + np.random.default_rng(k).integers(
        0, 50, SHAPE
    )
    ds.PixelData = stored.astype(np.uint16).tobytes()
    ds["PixelData"].VR = "OW"
    return ds


def encoded(ds):
    buffer = io.BytesIO()
    ds.save_as(buffer, enforce_file_format=True)
    return buffer.getvalue()


def changed(k, **attributes):
    ds = image(k)
    for keyword, value in attributes.items():
        if value is None:
            delattr(ds, keyword)
        else:
            ds.add_new(keyword, "LT", value)
    return encoded(ds)


def name_too_long(k):
    """The length of the patient's name is far too large, and what follows is read as something else."""
    data = encoded(image(k))
    at = data.index(b"\x10\x00\x10\x00") + 4
    return data[:at] + b"\xff\x3f\x00\x00" + data[at + 4 :]


def name_too_short(k):
    """What is left of the patient's name is read as an element."""
    data = encoded(image(k))
    at = data.index(b"\x10\x00\x10\x00") + 4
    return data[:at] + b"\x02\x00\x00\x00" + data[at + 4 :]


def unknown_representation(k):
    data = encoded(image(k, ExplicitVRLittleEndian))
    at = data.index(b"\x10\x00\x10\x00") + 4
    return data[:at] + b"Z?" + data[at + 2 :]


DAMAGES = {
    "cut_pixels": lambda k: encoded(image(k))[:-1000],
    "cut_name": lambda k: (data := encoded(image(k)))[: data.index(b"Zyxwvutov") + 5],
    "no_rescale": lambda k: changed(k, RescaleSlope=None),
    "broken_rescale": lambda k: changed(k, RescaleSlope="one"),
    "broken_position": lambda k: changed(k, ImagePositionPatient="left\\right\\up"),
    "broken_rows": lambda k: changed(k, Rows=b"many"),
    "name_too_long": name_too_long,
    "name_too_short": name_too_short,
    "unknown_representation": unknown_representation,
}


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A folder with the tiny config, a good series, one for each damage, and one with all of them."""
    folder = new_folder(tmp_path_factory, "private")
    before = pydicom_config.settings.writing_validation_mode
    pydicom_config.settings.writing_validation_mode = pydicom_config.IGNORE
    try:
        good = [encoded(image(k)) for k in range(3)]
        damaged = {name: damage(3 + k) for k, (name, damage) in enumerate(DAMAGES.items())}
    finally:
        pydicom_config.settings.writing_validation_mode = before
    for name, files in {
        "good": good[:2],
        "all": [*good, *damaged.values()],
        **{name: [good[2], data] for name, data in damaged.items()},
    }.items():
        (folder / "dicom" / name).mkdir(parents=True)
        for k, data in enumerate(files):
            (folder / "dicom" / name / f"{k}.dcm").write_bytes(data)
    return folder


def sheet(folder, name, series):
    rows = [f"{place}\tdirectory\tdicom/{place}\t{role}" for place, role in series.items()]
    (folder / name).write_text("\n".join(["series\tsource\tlocation\trole", *rows]) + "\n")


def written_as(text):
    """The ways in which a text may hide in a file, in lower case."""
    for code in ("utf-8", "utf-16-le", "utf-16-be"):
        yield text.encode(code)
    yield urllib.parse.quote(text).encode()
    yield html.escape(text).encode()
    for shift in range(3):  # what surrounds it decides on its first and last letters
        coded = base64.b64encode(b" " * shift + text.encode())
        yield coded[4 if shift else 0 : -4]


WANTED = {form.lower(): needle for needle in NEEDLES for form in written_as(needle) if len(form) >= 6}
ANY = re.compile(b"|".join(re.escape(form) for form in sorted(WANTED, key=len, reverse=True)))


def leaks(name, data):
    """Give the planted texts in a file or in whatever is packed into it."""
    found = {(name, WANTED[match]) for match in ANY.findall(data.lower())}
    if data[:2] == b"\x1f\x8b":
        found |= leaks(f"{name} unpacked", gzip.decompress(data))
    elif data[:4] == b"PK\x03\x04":
        with zipfile.ZipFile(io.BytesIO(data)) as archive:
            for member in archive.namelist():
                found |= leaks(f"{name}:{member}", archive.read(member))
    elif data[:4] in (b"\x89PNG", b"GIF8"):
        with Image.open(io.BytesIO(data)) as picture:
            picture.load()
            found |= leaks(f"{name}: facts", repr(picture.info).encode())
    else:
        for match in re.findall(rb"base64,([A-Za-z0-9+/=]{8,})", data):
            found |= leaks(f"{name}: embedded", base64.b64decode(match))
    return found


def searched(folder):
    """Give the leaks of all files of a finished run, and how many files there were by their first folder."""
    found, seen = set(), {}
    for path in sorted(folder.rglob("*")):
        name = path.relative_to(folder)
        if name.parts[0] == "dicom" or name.parts[:2] == ("resources", "dicom"):
            continue
        found |= leaks("its name", str(name).encode())
        if path.is_file():
            seen[name.parts[0]] = seen.get(name.parts[0], 0) + 1
            found |= leaks(str(name), path.read_bytes())
    return found, seen


@pytest.mark.parametrize("form", ["text", "utf-16", "base64", "zip", "gzip", "png", "report", "name"])
def test_the_search_finds_a_leak_however_it_is_packed(tmp_path, form):
    plain = b"A series of Doktorovsky, of 1947-11-03."
    if form == "name":
        (tmp_path / "doktorovsky.tsv").write_bytes(b"")
    elif form == "png":
        from PIL.PngImagePlugin import PngInfo

        facts = PngInfo()
        facts.add_text("Comment", plain.decode(), zip=True)
        Image.new("L", (4, 4)).save(tmp_path / "x.png", pnginfo=facts)
    else:
        packed = io.BytesIO()
        with zipfile.ZipFile(packed, "w", zipfile.ZIP_DEFLATED) as archive:
            archive.writestr("facts.json", plain)
        data = {
            "text": plain,
            "utf-16": plain.decode().encode("utf-16"),
            "base64": b"name " + base64.b64encode(plain),
            "zip": packed.getvalue(),
            "gzip": gzip.compress(plain),
            "report": b'<a href="data:text/plain;base64,' + base64.b64encode(gzip.compress(plain)) + b'">',
        }[form]
        (tmp_path / "x.bin").write_bytes(data)
    found, _ = searched(tmp_path)
    assert "Doktorovsky" in {needle for _, needle in found}


def test_nothing_leaks_where_damaged_files_stop_the_run(folder, snakemake):
    first, *others = DAMAGES
    sheet(folder, "strict.tsv", {first: "train", **dict.fromkeys(others, "test")})
    words = ["--config", "series=strict.tsv", "run=strict", "-k", "--until", "convert_series"]
    outcome = snakemake(folder, "--configfile", "tiny.yaml", *words)
    assert outcome.status != 0
    assert "Traceback" not in outcome.text, outcome.text
    told = {name for name in DAMAGES if any(f"dicom/{name}" in error for error in outcome.errors)}
    assert set(DAMAGES) - told <= {"unknown_representation"}, outcome.errors  # which harms nothing that is read
    assert not leaks("screen", outcome.text.encode())
    found, seen = searched(folder)
    assert not found
    assert seen["logs"] > len(DAMAGES)


def test_nothing_leaks_from_a_whole_run_that_passes_damaged_files_over(folder, snakemake):
    sheet(folder, "skip.tsv", {"good": "train", "all": "test"})
    settings = yaml.safe_load((folder / "tiny.yaml").read_text()) | {"unusable_dicom": "skip"}
    (folder / "skip.yaml").write_text(yaml.safe_dump(settings | {"run": "skip", "series": "skip.tsv"}))
    outcome = snakemake(folder, "--configfile", "skip.yaml")
    assert outcome.status == 0, outcome.text
    report = snakemake(folder, "--configfile", "skip.yaml", "--report", "report.html")
    assert report.status == 0, report.text
    assert not leaks("screen", (outcome.text + report.text).encode())
    found, seen = searched(folder)
    assert not found
    assert {"results", "logs", ".snakemake", "report.html"} <= set(seen)
    # The planted values were there to leak.
    copies = b"".join(path.read_bytes() for path in (folder / "resources/dicom").rglob("*.dcm"))
    for needle in ("Zyxwvutov", "PID7734519", "19471103", "Doktorovsky", *PRIVATE):
        assert needle.encode() in copies
    shutil.rmtree(folder / "results/skip")  # large
