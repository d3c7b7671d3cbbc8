"""Take out of a header what tells who the patient is.

The table of the Basic Application Confidentiality Profile (PS3.15 E.1) is that of the library dicom-anonymizer. The
library alone would give random UIDs and pass over sequences that the table does not name, so UIDs and sequences are
done here. What is in the pixels, such as a burnt-in name or a face, stays.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import replace

from dicomanonymizer import anonymize_dataset
from dicomanonymizer.simpledicomanonymizer import initialize_actions_2024b
from pydicom import Dataset
from pydicom.datadict import dictionary_has_tag, dictionary_VR
from pydicom.dataelem import DataElement
from pydicom.multival import MultiValue
from pydicom.tag import BaseTag, Tag
from pydicom.uid import UID

from quietct.ct.dicom.derived_header import derived_uid
from quietct.ct.dicom.images import Image
from quietct.errors import UserError

METHOD = "Basic Profile table of PS3.15 by dicom-anonymizer, and quietct"
# Whose values are looked for in all other texts.
IDENTIFIERS = {
    "AccessionNumber", "AdmissionID", "InstitutionName", "OtherPatientIDs", "PatientAddress", "PatientBirthDate",
    "PatientID", "PatientTelephoneNumbers",
}  # fmt: skip
DATES = {"DA", "DT", "TM"}
REQUIRED_DATES = {"PatientBirthDate", "StudyDate", "StudyTime"}  # if only empty
TEXTS = {"AE", "LO", "LT", "PN", "SH", "ST", "UC", "UR", "UT"}
SHORTEST = 3  # letters; shorter parts of names, such as Li and Hu, would be found in half of all words
GREY = "MONOCHROME2"  # the PhotometricInterpretation of all CT; the name Rome is a part of it
OVERLAYS = range(0x6000, 0x6100)


def remove_identity(header: Dataset, image: Image) -> None:
    """De-identify a header in place.

    UIDs become others, the same for the same everywhere, so that only who has the source can tell which it is. Every
    study gets a patient of its own: a pseudonym computed from the patient's number could be guessed. Removed are dates,
    sequences that the table names, overlays, what is in no dictionary or cannot be read, and every text in which a name
    or an identifier of the header comes up again.

    Parameters
    ----------
    header : Dataset
        As `quietct.ct.dicom.transcoding.explicit_little_endian` gives it, without private attributes.
    image : Image
        The image that it is of.

    Raises
    ------
    UserError
        If it fails; nothing of the file may be written then.
    """
    try:
        _remove_unknown(header)
        words = {word for element, _ in _elements(header) for word in _identifying(element)}
        actions = initialize_actions_2024b()
        _remove_sequences(header, {tag for tag in actions if len(tag) == 2})
        _remove_dates(header)
        keep = {tag: _nothing for tag in actions if len(tag) == 2 and _is_uid(Tag(tag))}
        for dataset in [header, *(item for element, _ in _elements(header) for item in _items(element))]:
            # What is empty has nothing to hide; the library would fill in that there was a contrast agent.
            empty = {(one.tag.group, one.tag.element): _nothing for one in dataset if one.is_empty}
            anonymize_dataset(dataset, keep | empty, base_rules_gen=initialize_actions_2024b)
        _replace_uids(header)
        _remove_words(header, words)
    except Exception:  # its text may quote what it found
        raise UserError(f"{image.name} cannot be de-identified: its header is damaged. Export it again.") from None
    pseudonym = f"Q{derived_uid('patient', str(image.text('StudyInstanceUID'))).rsplit('.', 1)[-1][:12]}"
    header.PatientName, header.PatientID = f"Anonymous^{pseudonym}", pseudonym
    header.PatientIdentityRemoved, header.DeidentificationMethod = "YES", METHOD
    header.LongitudinalTemporalInformationModified = "REMOVED"


def without_identity(image: Image) -> Image:
    """Give an image as a de-identified file would have it, so that nothing made of it leads to the source."""
    values = {
        **image.values,
        "SeriesDescription": None,
        "SOPInstanceUID": _replaced(image.text("SOPInstanceUID")),
        "SeriesInstanceUID": _replaced(image.text("SeriesInstanceUID")),
    }
    return replace(image, values=values)


def _elements(dataset: Dataset) -> Iterator[tuple[DataElement, Dataset]]:
    """Give all elements, also those in sequences, and what each is in."""
    for element in list(dataset):
        yield element, dataset
        for item in _items(element):
            yield from _elements(item)


def _items(element: DataElement) -> list[Dataset]:
    return list(element.value or []) if element.VR == "SQ" else []


def _remove_unknown(dataset: Dataset) -> None:
    for tag in list(dataset.keys()):
        try:
            element = dataset[tag]
            known = dictionary_has_tag(tag) and element.VR != "UN" and tag.group not in OVERLAYS
        except Exception:
            known = False
        if not known:
            del dataset[tag]
            continue
        for item in _items(element):
            _remove_unknown(item)


def _remove_sequences(dataset: Dataset, named: set[tuple[int, int]]) -> None:
    for element in list(dataset):
        if element.VR == "SQ" and (element.tag.group, element.tag.element) in named:
            del dataset[element.tag]
        for item in _items(element):
            _remove_sequences(item, named)


def _remove_dates(header: Dataset) -> None:
    """Remove dates and times; the library's 1 January of the year 1 is no valid date for other programs."""
    for element, dataset in list(_elements(header)):
        if element.VR in DATES:
            if element.keyword in REQUIRED_DATES:
                element.value = None
            else:
                del dataset[element.tag]


def _is_uid(tag: BaseTag) -> bool:
    return dictionary_has_tag(tag) and dictionary_VR(tag) == "UI"


def _nothing(*_: object) -> None:
    """Do nothing; it stands for a rule of the library."""


def _replace_uids(header: Dataset) -> None:
    for element, _ in _elements(header):
        if element.VR == "UI" and element.value:
            several = isinstance(element.value, (MultiValue, list))
            element.value = [_replaced(uid) for uid in element.value] if several else _replaced(element.value)


def _replaced(uid: str | None) -> str | None:
    """Give another UID, save for those that the standard defines, such as kinds of objects."""
    return uid if not uid or UID(uid).name != uid else str(derived_uid("de-identified", uid.strip()))


def _identifying(element: DataElement) -> list[str]:
    values = element.value if isinstance(element.value, (MultiValue, list)) else [element.value]
    texts = [str(value or "").casefold().strip() for value in values]
    if element.VR == "PN":
        words = [word for text in texts for word in re.split(r"[\W_]+", text)]
    else:
        words = texts if element.keyword in IDENTIFIERS else []
    return [word for word in words if len(word) >= (SHORTEST if word.isascii() else 1)]


def _remove_words(header: Dataset, words: set[str]) -> None:
    """Empty texts that contain one of the words; codes (CS) too, unless the word is short enough to be one."""
    for element, _ in _elements(header):
        if element.value == GREY:
            continue
        text = str(element.value).casefold()
        if (element.VR in TEXTS and any(word in text for word in words)) or (
            element.VR == "CS" and any(word in text for word in words if len(word) > SHORTEST)
        ):
            element.value = None
