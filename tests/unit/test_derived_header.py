"""Headers of derived images: what they say, what they keep, and what would be wrong in them."""

import hashlib
import shutil
import subprocess
import sys

import numpy as np
import pytest
from derived_series import DERIVATION, derive, derived
from dicom_files import item, make_enhanced, make_slice, write_series, write_slice
from pydicom import Dataset, dcmread, dcmwrite
from pydicom.datadict import dictionary_VR, tag_for_keyword
from pydicom.dataelem import RawDataElement
from pydicom.tag import Tag
from pydicom.uid import (
    DeflatedExplicitVRLittleEndian,
    EnhancedCTImageStorage,
    ExplicitVRBigEndian,
    ExplicitVRLittleEndian,
    ImplicitVRLittleEndian,
    LegacyConvertedEnhancedCTImageStorage,
)

import quietct
from quietct.ct.dicom.derived import Derivation, derived_uid
from quietct.ct.dicom.header import quiet_pydicom
from quietct.errors import UserError

RESEARCH_USE = "research use, not for diagnosis"


def digests(files):
    return [hashlib.sha256(path.read_bytes()).hexdigest() for path in files]


@pytest.fixture
def source(tmp_path):
    """A series with all sorts of facts in its headers."""
    for k in range(3):
        write_slice(
            tmp_path / "d" / f"{k}.dcm",
            3.0 * k,
            np.random.default_rng(k).integers(0, 4000, (6, 4)).astype(np.uint16),
            InstanceNumber=30 - k,
            SeriesNumber=4,
            SeriesDescription="Thorax 5.0 B40f",
            PatientName="Müller^Hans",
            PatientID="4711",
            SpecificCharacterSet="ISO_IR 100",
            FrameOfReferenceUID="1.2.9",
            StudyDate="20200101",
            AcquisitionDate="20200101",
            WindowCenter=["40", "-600"],
            WindowWidth=["400", "1500"],
            KVP="120",
            SliceLocation=f"{3 * k}",
        )
    return tmp_path / "d"


def changed(folder, **attributes):
    for path in folder.iterdir():
        ds = dcmread(path)
        for keyword, value in attributes.items():
            setattr(ds, keyword, value)
            if ds[keyword].VR == "US or SS":
                ds[keyword].VR = "US"
        ds.save_as(path)


def test_new_uids_are_new_valid_and_one_for_the_series(source, tmp_path):
    old = [dcmread(path) for path in source.iterdir()]
    new = derived(source, tmp_path / "o")
    before = {ds.SOPInstanceUID for ds in old} | {ds.SeriesInstanceUID for ds in old}
    after = {ds.SOPInstanceUID for ds in new} | {ds.SeriesInstanceUID for ds in new}
    assert len(after) == 3 + 1
    assert not before & after
    assert all(uid.is_valid for uid in after)
    for ds in new:
        assert ds.file_meta.MediaStorageSOPInstanceUID == ds.SOPInstanceUID
        assert (ds.StudyInstanceUID, ds.FrameOfReferenceUID) == ("1.2.3", "1.2.9")


def test_the_same_input_and_derivation_give_the_same_bytes_wherever_they_are(source, tmp_path):
    first = derive(source, tmp_path / "o")
    (tmp_path / "elsewhere").mkdir()
    for k, path in enumerate(sorted(source.iterdir(), reverse=True)):
        shutil.copy(path, tmp_path / "elsewhere" / f"x{k}")
    assert digests(derive(tmp_path / "elsewhere", tmp_path / "p")) == digests(first)
    other = Derivation(DERIVATION.description, "another digest", DERIVATION.series_description)
    third = derived(source, tmp_path / "q", derivation=other)
    uids = {ds.SOPInstanceUID for ds in third} | {ds.SeriesInstanceUID for ds in third}
    assert not uids & {dcmread(path).SOPInstanceUID for path in first}
    assert dcmread(first[0]).SeriesInstanceUID not in uids


def test_another_process_gives_the_same_bytes(source, tmp_path, repository):
    expected = digests(derive(source, tmp_path / "o", deidentify=True))
    code = f"from derived_series import derive; derive({str(source)!r}, {str(tmp_path / 'p')!r}, deidentify=True)"
    path = f"{repository / 'scripts'}:{repository / 'tests/unit'}"
    subprocess.run([sys.executable, "-c", code], check=True, env={"PYTHONPATH": path, "PYTHONHASHSEED": "5"})
    assert digests(sorted((tmp_path / "p").iterdir())) == expected


def test_uids_of_other_texts_differ_also_where_they_are_cut_elsewhere():
    assert derived_uid("ab", "c") == derived_uid("ab", "c")
    assert len({derived_uid("ab", "c"), derived_uid("a", "bc"), derived_uid("abc")}) == 3


def test_a_derived_image_says_that_it_is_and_of_which(source, tmp_path):
    old = [dcmread(source / f"{k}.dcm") for k in range(3)]
    for k, (ds, before) in enumerate(zip(derived(source, tmp_path / "o"), old, strict=True)):
        assert ds.ImageType == ["DERIVED", "SECONDARY", "AXIAL"]
        assert ds.DerivationDescription == "Denoised by quietct with the weights 9f2c. Derivation 9f2c0a."
        [code] = ds.DerivationCodeSequence
        assert (code.CodeValue, code.CodingSchemeDesignator, code.CodeMeaning) == ("113087", "DCM", "Smoothing")
        [reference] = ds.SourceImageSequence
        assert reference.ReferencedSOPInstanceUID == before.SOPInstanceUID
        assert reference.ReferencedSOPClassUID == before.SOPClassUID
        assert reference.PurposeOfReferenceCodeSequence[0].CodeValue == "121322"
        [equipment] = ds.ContributingEquipmentSequence
        assert (equipment.Manufacturer, equipment.SoftwareVersions) == ("quietct", quietct.__version__)
        assert equipment.PurposeOfReferenceCodeSequence[0].CodeValue == "109102"
        assert (ds.SeriesNumber, ds.InstanceNumber) == (9004, k + 1)
        assert ds.SeriesDescription == f"Denoised (test), {RESEARCH_USE}: Thorax 5.0 B40"
        assert len(ds.SeriesDescription) == 64
        assert ds.file_meta.TransferSyntaxUID == ExplicitVRLittleEndian


def test_all_else_is_kept(source, tmp_path):
    told = {
        "DerivationCodeSequence", "DerivationDescription", "ImageType", "InstanceNumber", "PixelData",
        "SOPInstanceUID", "SeriesDescription", "SeriesInstanceUID", "SeriesNumber", "SourceImageSequence",
        "ContributingEquipmentSequence",
    }  # fmt: skip
    for k, ds in enumerate(derived(source, tmp_path / "o")):
        before = dcmread(source / f"{k}.dcm")
        for element in before:
            if element.keyword not in told:
                assert ds[element.tag] == element, element.keyword
        assert {element.keyword for element in ds} == {element.keyword for element in before} | told


@pytest.mark.parametrize(
    ("short", "own", "expected"),
    [
        ("Denoised", "", f"Denoised, {RESEARCH_USE}"),
        ("Denoised", None, f"Denoised, {RESEARCH_USE}"),
        ("Denoised", "a\\b", f"Denoised, {RESEARCH_USE}: a b"),
        ("D" * 99, "Thorax", "D" * 31 + f", {RESEARCH_USE}"),
        ("Denoised", "Th\x01orax", f"Denoised, {RESEARCH_USE}: Thorax"),
    ],
)
def test_the_series_description_always_has_the_whole_warning(tmp_path, short, own, expected):
    write_series(tmp_path / "d", SeriesDescription=own)
    [ds, *_] = derived(tmp_path / "d", tmp_path / "o", derivation=Derivation("text", "digest", short))
    assert ds.SeriesDescription == expected
    assert len(expected) <= 64


@pytest.mark.parametrize(("before", "after"), [(None, 9000), (7, 9007), (-3, 9000), (2**31 - 1, 9000)])
def test_series_numbers_stay_numbers(tmp_path, before, after):
    write_series(tmp_path / "d", SeriesNumber=before)
    assert {ds.SeriesNumber for ds in derived(tmp_path / "d", tmp_path / "o")} == {after}


@pytest.mark.parametrize(
    ("before", "after"),
    [
        (["ORIGINAL", "PRIMARY", "AXIAL", "CT_SOM5 SPI"], ["AXIAL", "CT_SOM5 SPI"]),
        (["ORIGINAL", "PRIMARY"], ["AXIAL"]),
        (["ORIGINAL", "PRIMARY", "", "X"], ["AXIAL", "X"]),
        (["DERIVED", "SECONDARY", "REFORMATTED"], ["REFORMATTED"]),
        (None, ["AXIAL"]),
    ],
)
def test_image_type_keeps_what_comes_third(tmp_path, before, after):
    write_series(tmp_path / "d", ImageType=before)
    for ds in derived(tmp_path / "d", tmp_path / "o"):
        assert ds.ImageType == ["DERIVED", "SECONDARY", *after]


def test_what_was_derived_before_is_not_forgotten_and_can_be_derived_again(source, tmp_path):
    changed(source, DerivationDescription="Lossy compression 1:8")
    derive(source, tmp_path / "o")
    [ds, *_] = derived(tmp_path / "o", tmp_path / "p")
    assert ds.DerivationDescription == " Before: ".join(
        ["Denoised by quietct with the weights 9f2c. Derivation 9f2c0a."] * 2 + ["Lossy compression 1:8"]
    )
    assert len(ds.DerivationCodeSequence) == len(ds.ContributingEquipmentSequence) == 2
    assert ds.SourceImageSequence[0].ReferencedSOPInstanceUID == dcmread(tmp_path / "o/0001.dcm").SOPInstanceUID
    assert ds.SeriesDescription.count(RESEARCH_USE) == 1


def test_what_is_about_the_old_pixels_or_file_is_gone(source, tmp_path):
    wrong = {
        "SmallestImagePixelValue": 5,
        "LargestImagePixelValue": 999,
        "SmallestPixelValueInSeries": 5,
        "LargestPixelValueInSeries": 999,
        "IconImageSequence": item(Rows=1, Columns=1),
        "InstanceCreationDate": "20200101",
        "InstanceCreationTime": "120000",
        "ContentDate": "20200101",
        "ContentTime": "120000",
        "SeriesDate": "20200101",
        "SeriesTime": "120000",
        "DataSetTrailingPadding": b"\0\0",
        "DigitalSignaturesSequence": item(MACIDNumber=1),
    }
    changed(source, **wrong)
    for ds in derived(source, tmp_path / "o"):
        assert not [keyword for keyword in wrong if keyword in ds]


def test_private_attributes_are_gone_also_in_sequences(source, tmp_path):
    for path in source.iterdir():
        ds = dcmread(path)
        ds.private_block(0x0029, "MAKER", create=True).add_new(1, "LO", "noise index 12.5")
        ds.RequestAttributesSequence = item(RequestedProcedureID="7")
        ds.RequestAttributesSequence[0].private_block(0x0031, "MAKER", create=True).add_new(1, "LO", "noise index 12.5")
        ds.save_as(path)
    for path in derive(source, tmp_path / "o"):
        assert b"noise index" not in path.read_bytes()
        assert b"MAKER" not in path.read_bytes()
        assert dcmread(path).RequestAttributesSequence[0].RequestedProcedureID == "7"


def encoded(ds, path, syntax):
    path.parent.mkdir()
    plain = Dataset(dict(ds))  # pydicom changes no order of bytes of what it takes for a file
    plain.file_meta = ds.file_meta
    plain.file_meta.TransferSyntaxUID = syntax
    dcmwrite(path, plain, enforce_file_format=True)
    return path.parent


def rich(**attributes):
    """An image with values of many representations, also in sequences."""
    ds = make_slice(
        SOPInstanceUID="1.2.7",
        PixelPaddingValue=7,
        PatientName="Yamada^Tarou=山田^太郎",
        SpecificCharacterSet=["", "ISO 2022 IR 87"],
        RecommendedDisplayFrameRateInFloat=3.5,
        ReferencedImageSequence=item(
            ReferencedSOPInstanceUID="1.2.8", SelectorUSValue=[513, 2], FrameIncrementPointer=1
        ),
        RealWorldValueMappingSequence=item(RealWorldValueSlope=1.5, RealWorldValueFirstValueMapped=3),
        **attributes,
    )
    ds.ReferencedImageSequence[0].FrameIncrementPointer = [0x00181063]
    ds.RealWorldValueMappingSequence[0]["RealWorldValueFirstValueMapped"].VR = "US"
    ds["PixelPaddingValue"].VR = "US"
    ds.add_new(0x60000010, "US", 6)
    ds.add_new(0x60000011, "US", 4)
    ds.add_new(0x60000040, "CS", "G")
    ds.add_new(0x60000050, "SS", [1, 1])
    ds.add_new(0x60000100, "US", 1)
    ds.add_new(0x60000102, "US", 0)
    ds.add_new(0x60003000, "OW", b"\x01\x02\x03\x04")
    return ds


def test_every_encoding_of_a_file_gives_the_same_bytes(tmp_path):
    expected = None
    for syntax in (
        ExplicitVRLittleEndian, ImplicitVRLittleEndian, DeflatedExplicitVRLittleEndian, ExplicitVRBigEndian,
    ):  # fmt: skip
        ds = rich()
        if syntax == ExplicitVRBigEndian:  # pydicom leaves such bytes to the caller
            ds.PixelData = np.frombuffer(ds.PixelData, "<u2").astype(">u2").tobytes()
            ds[0x60003000].value = b"\x02\x01\x04\x03"
        folder = encoded(ds, tmp_path / syntax.name / "1.dcm", syntax)
        [path] = derive(folder, tmp_path / f"{syntax.name}-o")
        result = path.read_bytes()
        expected = expected or result
        assert result == expected, syntax.name
    ds = dcmread(path)
    assert str(ds.PatientName) == "Yamada^Tarou=山田^太郎"
    assert ds[0x60003000].value == b"\x01\x02\x03\x04"
    assert ds.ReferencedImageSequence[0].SelectorUSValue == [513, 2]
    assert ds.RealWorldValueMappingSequence[0].RealWorldValueSlope == 1.5
    assert ds.PixelPaddingValue == 7


@pytest.mark.parametrize("syntax", [ExplicitVRLittleEndian, ImplicitVRLittleEndian])
def test_values_that_break_a_rule_go_through_unchanged(tmp_path, syntax):
    odd = {
        "PatientName": b"M\xfcller",  # Latin-1 in a file that says UTF-8
        "AcquisitionTime": b"99:99:99",
        "TableHeight": b"about 12",
        "StationName": b"more than sixteen letters ",
        "ExposureTime": b"1.5 ",
    }
    folder = encoded(make_slice(SpecificCharacterSet="ISO_IR 192"), tmp_path / "d/1.dcm", syntax)
    with quiet_pydicom():
        ds = dcmread(folder / "1.dcm")
        for keyword, value in odd.items():
            tag = Tag(tag_for_keyword(keyword))
            value += b" " * (len(value) % 2)
            implicit = syntax == ImplicitVRLittleEndian
            kind = None if implicit else dictionary_VR(tag)
            ds[tag] = RawDataElement(tag, kind, len(value), value, 0, implicit, True)
        ds.save_as(folder / "1.dcm")
        [path] = derive(folder, tmp_path / "o")
    for keyword, value in odd.items():
        assert value.strip() in path.read_bytes(), keyword
    dcmread(path)


def test_lossy_compression_stays_on_record(source, tmp_path):
    changed(
        source,
        LossyImageCompression="01",
        LossyImageCompressionRatio="12",
        LossyImageCompressionMethod="ISO_10918_1",
    )
    for ds in derived(source, tmp_path / "o"):
        assert (ds.LossyImageCompression, ds.LossyImageCompressionRatio) == ("01", 12)
        assert ds.LossyImageCompressionMethod == "ISO_10918_1"


def test_an_image_without_a_uid_is_refused_because_nothing_can_refer_to_it(tmp_path):
    ds = make_slice()
    (tmp_path / "d").mkdir()
    del ds.SOPInstanceUID
    ds.save_as(tmp_path / "d/1.dcm", enforce_file_format=True)
    with pytest.raises(UserError, match=r"1\.dcm has no SOPInstanceUID, so nothing can refer to it"):
        derive(tmp_path / "d", tmp_path / "o")


@pytest.mark.parametrize("kind", [EnhancedCTImageStorage, LegacyConvertedEnhancedCTImageStorage])
def test_a_frame_becomes_a_classic_image_with_the_facts_of_its_groups(tmp_path, kind):
    frames = [
        (
            z,
            np.full((6, 4), 1000 + k, np.uint16),
            {
                "FrameVOILUTSequence": item(WindowCenter=40 + k, WindowWidth=400),
                "CTExposureSequence": item(ExposureTimeInms=500.4, XRayTubeCurrentInmA=200.0, ExposureInmAs=100.25),
                "FrameContentSequence": item(FrameAcquisitionNumber=3, FrameAcquisitionDateTime="20200101120000"),
                "UnassignedPerFrameConvertedAttributesSequence": item(SliceLocation=z),
            },
        )
        for k, z in enumerate((3.0, 0.0))
    ]
    shared = {
        "CTReconstructionSequence": item(ConvolutionKernel="B40f", ReconstructionDiameter=350.0),
        "FrameVOILUTSequence": item(WindowCenter=999, WindowWidth=1),  # that of the frame goes first
        "CTAcquisitionDetailsSequence": item(TableHeight=150.0, DataCollectionDiameter=500.0),
    }
    ds = make_enhanced(frames, shared, SOPInstanceUID="1.2.8", PatientName="A^B", FrameOfReferenceUID="1.2.9")
    ds.SOPClassUID = ds.file_meta.MediaStorageSOPClassUID = kind
    ds.DimensionOrganizationSequence = item(DimensionOrganizationUID="1.2.77")
    (tmp_path / "d").mkdir()
    ds.save_as(tmp_path / "d/1.dcm", enforce_file_format=True)
    low, high = derived(tmp_path / "d", tmp_path / "o", lambda hu: hu)
    assert low.SOPInstanceUID != high.SOPInstanceUID
    assert low.SeriesInstanceUID == high.SeriesInstanceUID
    for k, image in ((1, low), (0, high)):
        assert image.SOPClassUID.name == "CT Image Storage"
        assert image.ImageType == ["DERIVED", "SECONDARY", "AXIAL"]
        assert image.ImagePositionPatient == [-100, -100, [3, 0][k]]
        assert image.ImageOrientationPatient == [1, 0, 0, 0, 1, 0]
        assert (image.PixelSpacing, image.SliceThickness, image.SliceLocation) == ([0.7, 0.8], 3, [3, 0][k])
        assert (image.RescaleSlope, image.RescaleIntercept, image.RescaleType) == (1, -1024, "HU")
        assert (image.WindowCenter, image.WindowWidth) == (40 + k, 400)
        assert (image.KVP, image.ConvolutionKernel, image.ReconstructionDiameter) == (120, "B40f", 350)
        assert (image.ExposureTime, image.XRayTubeCurrent) == (500, 200)
        assert (image.Exposure, image.ExposureInuAs) == (100, 100250)
        assert (image.AcquisitionNumber, image.AcquisitionDateTime) == (3, "20200101120000")
        assert (image.TableHeight, image.DataCollectionDiameter) == (150, 500)
        assert (image.PatientName, image.FrameOfReferenceUID) == ("A^B", "1.2.9")
        assert np.all(image.pixel_array == 1000 + k)
        [reference] = image.SourceImageSequence
        assert (reference.ReferencedSOPClassUID, reference.ReferencedSOPInstanceUID) == (kind, "1.2.8")
        assert reference.ReferencedFrameNumber == k + 1
        for keyword in (
            "NumberOfFrames", "SharedFunctionalGroupsSequence", "PerFrameFunctionalGroupsSequence", "FrameType",
            "DimensionOrganizationSequence", "VolumetricProperties", "PixelPresentation",
        ):  # fmt: skip
            assert keyword not in image, keyword


def test_progress_is_told_after_each_slice(source, tmp_path):
    told = []
    derive(source, tmp_path / "o", progress=lambda done, total: told.append((done, total)))
    assert told == [(1, 3), (2, 3), (3, 3)]
