"""De-identified derived series: who the patient is cannot be read anywhere in them, and they stay one series."""

import logging
import string

import numpy as np
import pytest
from derived_series import derive, derived, hu_of
from dicom_files import item, make_enhanced, make_slice
from pydicom import Dataset, Sequence, dcmread
from pydicom.data import get_testdata_file
from pydicom.datadict import DicomDictionary
from pydicom.dataelem import DataElement
from pydicom.tag import Tag
from pydicom.uid import ImplicitVRLittleEndian

from quietct.errors import UserError

# Texts that can hold anything; codes (CS) come below.
TEXTS = {"LO": 64, "LT": 64, "PN": 64, "SH": 16, "ST": 64, "UC": 64, "UT": 64, "AE": 16}
NAMES = ("Zwyxmann", "Quorlinde", "PAT-77013", "19470308")
# What makes the file a CT slice that can be read.
NEEDED = {"SpecificCharacterSet", "Modality", "RescaleType", "ConvolutionKernel"}


def planted(text="Zwyxmann", skip=NEEDED):
    """An element of every text attribute that the standard has, with a name in it."""
    for tag, (kind, _, _, retired, keyword) in DicomDictionary.items():
        if kind in TEXTS and tag >> 16 > 7 and not retired and keyword not in skip and tag >> 16 != 0xFFFC:
            yield DataElement(tag, kind, f"of {text} 7"[: TEXTS[kind]])


def series(folder, syntax=None, **attributes):
    folder.mkdir()
    for k in range(3):
        ds = make_slice(
            3.0 * k,
            np.random.default_rng(k).integers(0, 4000, (6, 4)).astype(np.uint16),
            PatientName="Zwyxmann^Quorlinde",
            PatientID="PAT-77013",
            PatientBirthDate="19470308",
            FrameOfReferenceUID="1.2.9",
            StudyDate="20200101",
            **attributes,
        )
        if syntax:
            ds.file_meta.TransferSyntaxUID = syntax
        yield ds
        ds.save_as(folder / f"{k}.dcm", enforce_file_format=True)


def check_silent(files, names=NAMES):
    assert files
    for path in files:
        data = path.read_bytes().lower()
        for name in names:
            for encoding in ("utf-8", "utf-16-le", "latin-1"):
                assert name.lower().encode(encoding, "xmlcharrefreplace") not in data, (name, path.name)


@pytest.mark.parametrize("syntax", [None, ImplicitVRLittleEndian])
def test_names_in_every_text_attribute_of_the_standard_are_gone(tmp_path, syntax):
    for ds in series(tmp_path / "d", syntax):
        for element in planted():
            if element.tag not in ds:
                ds.add(element)
        ds.AccessionNumber = "AC-5150"
    files = derive(tmp_path / "d", tmp_path / "o", deidentify=True)
    check_silent(files, (*NAMES, "AC-5150"))


def test_names_in_sequences_of_any_depth_are_gone(tmp_path):
    sequences = [
        tag for tag, (kind, _, _, retired, _) in DicomDictionary.items()
        if kind == "SQ" and not retired and tag >> 16 not in (0x0004, 0x5200)
    ]  # fmt: skip
    assert len(sequences) > 500
    for ds in series(tmp_path / "d"):
        for tag in sequences[::8]:
            inner = item(PatientName="Zwyxmann", CodeMeaning="Quorlinde", ImageComments="of Zwyxmann")
            outer = item(TextValue="Zwyxmann", OperatorsName="Quorlinde", ConceptNameCodeSequence=inner)
            ds[tag] = DataElement(tag, "SQ", outer)
    check_silent(derive(tmp_path / "d", tmp_path / "o", deidentify=True))


def test_names_in_private_unknown_and_strangely_typed_attributes_are_gone(tmp_path):
    for ds in series(tmp_path / "d"):
        block = ds.private_block(0x0029, "Zwyxmann", create=True)
        block.add_new(1, "LO", "Quorlinde")
        block.add_new(2, "SQ", item(PatientName="Zwyxmann^Quorlinde"))
        ds.RequestAttributesSequence = Sequence([Dataset()])
        ds.RequestAttributesSequence[0].private_block(0x0031, "MAKER", create=True).add_new(1, "LT", "Zwyxmann")
        ds.add_new(0x00189998, "LO", "Zwyxmann")  # in no dictionary
        ds[0x00081080] = DataElement(0x00081080, "UN", b"Zwyxmann")
        ds[0x00180010] = DataElement(0x00180010, "OB", b"Quorlinde ")
        ds.BodyPartExamined = "ZWYXMANN"
        ds.ScanOptions = ["QUORLINDE", "HELICAL"]
        ds.ImageType = ["ORIGINAL", "PRIMARY", "AXIAL", "ZWYXMANN"]
        ds.add_new(0x60000010, "US", 6)
        ds.add_new(0x60001500, "LO", "Zwyxmann")
        ds.add_new(0x60003000, "OW", b"Quorlinde ")
        ds.file_meta.SourceApplicationEntityTitle = "ZWYXMANN"
        ds.preamble = b"Zwyxmann".ljust(128)
    check_silent(derive(tmp_path / "d", tmp_path / "o", deidentify=True))


def test_words_that_are_not_names_go_too_where_they_may_tell_of_the_patient(tmp_path):
    for ds in series(tmp_path / "d"):
        ds.AdmittingDiagnosesCodeSequence = item(CodeMeaning="Sekretwort one")
        ds.CTDIPhantomTypeCodeSequence = item(CodeMeaning="IEC Body", ImageComments="Sekretwort two")
        ds.add_new(0x00189998, "LO", "Sekretwort 3")
        ds.add_new(0x00189996, "UN", b"Sekretwort 4")
        ds.add_new(0x60001500, "LO", "Sekretwort 5")
        ds.add_new(0x60003000, "OW", b"Sekretwort 6")
        ds.ImageComments = ds.PatientComments = ds.StudyDescription = ds.ProtocolName = "Sekretwort 7"
    files = derive(tmp_path / "d", tmp_path / "o", deidentify=True)
    check_silent(files, ["Sekretwort"])
    assert dcmread(files[0]).CTDIPhantomTypeCodeSequence[0].CodeMeaning == "IEC Body"


def test_names_in_other_scripts_are_gone(tmp_path):
    for ds in series(tmp_path / "d", SpecificCharacterSet="ISO_IR 192"):
        ds.PatientName = "Yamada^Tarou=山田^太郎"
        ds.ImageComments = ds.ProtocolName = ds.FilterType = "für 山田"
    check_silent(derive(tmp_path / "d", tmp_path / "o", deidentify=True), ("yamada", "山田", "太郎"))


def test_no_date_and_no_uid_of_the_source_is_left(tmp_path):
    for ds in series(tmp_path / "d"):
        ds.AcquisitionDateTime, ds.AcquisitionDate, ds.AcquisitionTime = "20200101121314", "20200101", "121314"
        ds.IrradiationEventUID = ["1.2.840.999.1", "1.2.840.999.2"]
        ds.ReferencedImageSequence = item(ReferencedSOPInstanceUID="1.2.840.999.3")
        ds.PatientAge = "072Y"
    old = [dcmread(path) for path in (tmp_path / "d").iterdir()]
    files = derive(tmp_path / "d", tmp_path / "o", deidentify=True)
    uids = {str(ds[k].value) for ds in old for k in ("SOPInstanceUID", "FrameOfReferenceUID", "SeriesInstanceUID")}
    check_silent(files, {"20200101", "121314", "1.2.840.999", "072y", *(uid for uid in uids if len(uid) > 12)})
    new = [dcmread(path) for path in files]
    for ds in new:
        assert "ReferencedImageSequence" not in ds
        for element in ds.iterall():
            if element.VR == "UI":
                assert str(element.value) not in uids | {"1.2.3"}, element.keyword
        assert ds.StudyDate == ds.PatientBirthDate == ""


def test_slices_stay_together_and_references_are_replaced_alike(tmp_path):
    for _ in series(tmp_path / "d"):
        pass
    new = derived(tmp_path / "d", tmp_path / "o", deidentify=True)
    for keyword in ("StudyInstanceUID", "SeriesInstanceUID", "FrameOfReferenceUID", "PatientID", "PatientName"):
        assert len({str(ds[keyword].value) for ds in new}) == 1, keyword
    assert len({ds.SOPInstanceUID for ds in new}) == 3
    assert len({ds.SourceImageSequence[0].ReferencedSOPInstanceUID for ds in new}) == 3
    # Another derivation of the same series is of the same study, patient, frame of reference and source images.
    other = derived(tmp_path / "d", tmp_path / "p", lambda hu: hu + 1, deidentify=True)
    for a, b in zip(new, other, strict=True):
        assert (a.StudyInstanceUID, a.PatientID, a.FrameOfReferenceUID) == (
            b.StudyInstanceUID, b.PatientID, b.FrameOfReferenceUID,
        )  # fmt: skip
        assert a.SourceImageSequence == b.SourceImageSequence


def test_series_of_one_study_get_one_patient_and_another_study_another_one(tmp_path):
    for name, study in (("a", "1.2.3"), ("b", "1.2.3"), ("c", "1.2.4")):
        for _ in series(tmp_path / name, StudyInstanceUID=study, SeriesInstanceUID=f"1.2.{ord(name)}"):
            pass
    a, b, c = (derived(tmp_path / name, tmp_path / f"{name}-o", deidentify=True)[0] for name in "abc")
    assert (a.PatientID, a.StudyInstanceUID) == (b.PatientID, b.StudyInstanceUID)
    assert a.SeriesInstanceUID != b.SeriesInstanceUID
    assert c.PatientID != a.PatientID
    assert "77013" not in a.PatientID


def test_geometry_scale_and_protocol_are_kept_and_pixels_are_the_same(tmp_path):
    facts = {
        "KVP": "120", "ConvolutionKernel": "B40f", "Exposure": "100", "SliceLocation": "3", "WindowCenter": "40",
        "WindowWidth": "400", "ReconstructionDiameter": "350", "Manufacturer": "MAKER", "BodyPartExamined": "CHEST",
        "LossyImageCompression": "01", "LossyImageCompressionRatio": "12", "PatientPosition": "HFS",
    }  # fmt: skip
    for _ in series(tmp_path / "d", **facts):
        pass
    plain = derived(tmp_path / "d", tmp_path / "o")
    for before, after in zip(plain, derived(tmp_path / "d", tmp_path / "p", deidentify=True), strict=True):
        assert np.array_equal(hu_of(before), hu_of(after))
        for keyword in (
            *facts, "ImagePositionPatient", "ImageOrientationPatient", "PixelSpacing", "SliceThickness", "ImageType",
            "RescaleSlope", "RescaleIntercept", "RescaleType", "BitsStored", "InstanceNumber", "SeriesNumber",
            "DerivationDescription", "DerivationCodeSequence", "ContributingEquipmentSequence", "Modality",
        ):  # fmt: skip
            assert after[keyword] == before[keyword], keyword
        assert after.SeriesDescription == "Denoised (test), research use, not for diagnosis"
        assert after.PatientIdentityRemoved == "YES"
        assert "PS3.15" in after.DeidentificationMethod


def test_what_is_empty_stays_empty(tmp_path):
    for _ in series(tmp_path / "d", ContrastBolusAgent="", InstitutionName="", ReferringPhysicianName="", StudyTime=""):
        pass
    for ds in derived(tmp_path / "d", tmp_path / "o", deidentify=True):
        assert not ds.get("ContrastBolusAgent")  # else there would have been one
        assert not ds.get("InstitutionName")
        assert ds.ReferringPhysicianName == ds.StudyTime == ""


def test_frames_are_de_identified_too(tmp_path):
    own = {"UnassignedPerFrameConvertedAttributesSequence": item(ImageComments="Zwyxmann", OperatorsName="Quorlinde")}
    frames = [(3.0 * k, np.full((6, 4), 1000, np.uint16), own) for k in range(2)]
    ds = make_enhanced(frames, PatientName="Zwyxmann^Quorlinde", PatientID="PAT-77013", StationName="ZWYXMANN1")
    (tmp_path / "d").mkdir()
    ds.save_as(tmp_path / "d/1.dcm", enforce_file_format=True)
    files = derive(tmp_path / "d", tmp_path / "o", deidentify=True)
    check_silent(files)
    a, b = (dcmread(path) for path in files)
    assert a.PatientID == b.PatientID
    assert a.SOPInstanceUID != b.SOPInstanceUID


def test_each_of_several_identifiers_is_looked_for(tmp_path):
    for ds in series(tmp_path / "d"):
        ds.OtherPatientIDs = ["XQ-90417", "XQ-55208"]
        ds.FilterType = "for XQ-90417"
        ds.ScanOptions = ["XQ-55208", "HELICAL"]
    check_silent(derive(tmp_path / "d", tmp_path / "o", deidentify=True), (*NAMES, "XQ-90417", "XQ-55208"))


def test_what_frames_share_is_de_identified_alike_in_all_of_them(tmp_path):
    reader = item(ReferencedSOPInstanceUID="1.2.840.999.3", ReviewerName="Zwyxmann", ReferencedSOPClassUID="1.2.4")
    frames = [(3.0 * k, np.full((6, 4), 1000, np.uint16), {}) for k in range(3)]
    ds = make_enhanced(frames, CTDIPhantomTypeCodeSequence=reader, FilterType="for Zwyxmann")
    (tmp_path / "d").mkdir()
    ds.save_as(tmp_path / "d/1.dcm", enforce_file_format=True)
    files = derive(tmp_path / "d", tmp_path / "o", deidentify=True)
    check_silent(files)
    shared = [dcmread(path).CTDIPhantomTypeCodeSequence[0] for path in files]
    assert shared[0] == shared[1] == shared[2]
    assert shared[0].ReferencedSOPInstanceUID != "1.2.840.999.3"


def test_a_name_that_is_part_of_a_code_leaves_the_pixels_readable(tmp_path):
    for ds in series(tmp_path / "d"):
        ds.PatientName = "Rome^Quorlinde"
    for ds in derived(tmp_path / "d", tmp_path / "o", deidentify=True):
        assert ds.PhotometricInterpretation == "MONOCHROME2"
        assert ds.pixel_array.shape == (6, 4)


def test_short_names_spoil_no_code_or_unit(tmp_path):
    for ds in series(tmp_path / "d", ImageComments="Li has come"):
        ds.PatientName = "Hu^Li"
        ds.PatientID = "CT"
    for ds in derived(tmp_path / "d", tmp_path / "o", deidentify=True):
        assert (ds.RescaleType, ds.Modality) == ("HU", "CT")
        assert str(ds.PatientName).startswith("Anonymous^")
        assert "ImageComments" not in ds


def test_a_real_file_keeps_what_is_needed_and_nothing_of_its_patient(tmp_path):
    source = dcmread(get_testdata_file("CT_small.dcm"))
    (tmp_path / "d").mkdir()
    source.save_as(tmp_path / "d/1.dcm")
    files = derive(tmp_path / "d", tmp_path / "o", deidentify=True)
    words = [str(source.PatientName), source.PatientID, source.InstitutionName, source.StudyDate, source.StationName]
    check_silent(files, [word for word in words if word])
    ds = dcmread(files[0])
    assert (ds.KVP, ds.ConvolutionKernel, ds.Manufacturer) == (120, "STANDARD", "GE MEDICAL SYSTEMS")


def test_what_cannot_be_de_identified_is_refused_without_a_word_about_the_patient(tmp_path, monkeypatch, caplog):
    for _ in series(tmp_path / "d"):
        pass

    def broken(*_args, **_options):
        raise ValueError("Zwyxmann")

    monkeypatch.setattr("quietct.ct.dicom.deidentification.anonymize_dataset", broken)
    with caplog.at_level(logging.DEBUG), pytest.raises(UserError, match=r"0\.dcm cannot be de-identified") as caught:
        derive(tmp_path / "d", tmp_path / "o", deidentify=True)
    assert "Zwyxmann" not in str(caught.value) + caplog.text
    assert not list((tmp_path / "o").iterdir())


def test_the_names_planted_here_are_words_that_no_header_has():
    assert all(set(name) <= set(string.ascii_letters + string.digits + "-") for name in NAMES)
    assert Tag("PatientName") in {element.tag for element in planted(skip=())}
