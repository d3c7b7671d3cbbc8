"""Archives as NBIA sends them, whole, cut, damaged and hostile."""

import hashlib
import io
import stat
import zipfile

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from nbia_server import OUTAGE, archive_of

from quietct.ct.sources.archive import DamagedArchiveError, unpack
from quietct.ct.sources.salvage import whole_files
from quietct.errors import UserError

# Files that deflate to less and a file that does not.
IMAGES = {
    "00000001.dcm": b"one" * 5000,
    "00000002.dcm": bytes(k * k % 251 for k in range(3000)),
    "00000003.dcm": hashlib.shake_128(b"three").digest(4000),
}
MAX_BYTES = 300_000


@pytest.fixture
def sent(tmp_path):
    """Put an archive into a folder of its own and unpack it; nothing may appear but the images."""

    def unpacked(data, max_bytes=MAX_BYTES):
        area = tmp_path / "a" / "b" / "work"
        area.mkdir(parents=True, exist_ok=True)
        (area / "1.2.3.zip").write_bytes(data)
        try:
            files = unpack(area / "1.2.3.zip", area / "images", max_bytes)
            assert sorted(files) == sorted((area / "images").iterdir())
            return [file.read_bytes() for file in files]
        finally:
            others = [path for path in tmp_path.rglob("*") if path.is_file() and path.parent != area / "images"]
            assert others == [area / "1.2.3.zip"]

    return unpacked


def with_entry(name, data=b"harmless", mode=None, compression=None):
    entry = zipfile.ZipInfo(name)
    if mode is not None:
        entry.external_attr = mode << 16
    entry.compress_type = zipfile.ZIP_DEFLATED if compression is None else compression
    return archive_of(IMAGES, extra=[(entry, data)])


def patched(data, old, new):
    assert data.count(old) >= 2
    assert len(old) == len(new)
    return data.replace(old, new)


def encrypted():
    """Set the flag of encryption of one entry, in its own header and in the directory."""
    data = bytearray(archive_of(IMAGES))
    data[6] |= 1
    data[data.index(b"PK\x01\x02") + 8] |= 1
    return bytes(data)


def archive_twice(name):
    with pytest.warns(UserWarning, match="Duplicate"):
        return archive_of(IMAGES, extra=[(name, b"other")])


def assert_one_sentence(error, *words):
    text = str(error.value)
    assert all(word in text for word in words)
    assert text.isascii()
    assert text.isprintable()
    assert len(text) < 400
    assert text.endswith(".")


def test_an_archive_as_the_server_writes_it_gives_its_images_and_nothing_else(sent):
    assert sent(archive_of(IMAGES)) == list(IMAGES.values())


def test_a_licence_in_the_archive_is_no_image(sent):
    assert sent(archive_of(IMAGES, extra=[("LICENSE", "CC BY-NC 3.0")])) == list(IMAGES.values())


@pytest.mark.parametrize("write", [str.upper, lambda digest: digest.lstrip("0"), lambda digest: f" {digest}\r"])
def test_a_digest_in_capitals_or_without_its_leading_zeros_is_right(sent, write):
    k = next(k for k in range(1000) if hashlib.md5(b"%d" % k).hexdigest().startswith("0"))
    image = b"%d" % k
    digest = hashlib.md5(image).hexdigest()
    assert write(digest) != digest
    assert sent(archive_of({"1.dcm": image}, digests={"1.dcm": write(digest)})) == [image]


UNSAFE = {
    "above": lambda: with_entry("../evil.dcm"),
    "far above": lambda: with_entry("00000004.dcm/../../../../evil.dcm"),
    "absolute": lambda: with_entry("/tmp/evil.dcm"),
    "drive letter": lambda: with_entry("C:\\evil.dcm"),
    "drive letter, relative": lambda: with_entry("C:evil.dcm"),
    "backslash": lambda: with_entry("..\\evil.dcm"),
    "folder": lambda: with_entry("evil/"),
    "in a folder": lambda: with_entry("evil/00000004.dcm"),
    "dots": lambda: with_entry(".."),
    "hidden": lambda: with_entry(".bashrc"),
    "option": lambda: with_entry("-rf"),
    "line break": lambda: with_entry("00000004.dcm\n"),
    "terminal sequence": lambda: with_entry("\x1b[2J.dcm"),
    "far too long": lambda: with_entry("x" * 5000 + ".dcm"),
    "NUL": lambda: patched(with_entry("00000009.dcm_/../evil"), b"00000009.dcm_/", b"00000009.dcm\0/"),
    "symlink": lambda: with_entry("00000004.dcm", b"/etc/passwd", mode=stat.S_IFLNK | 0o777),
    "fifo": lambda: with_entry("00000004.dcm", b"", mode=stat.S_IFIFO | 0o644),
    "device": lambda: with_entry("00000004.dcm", b"", mode=stat.S_IFBLK | 0o644),
    "symlink as list": lambda: archive_of(IMAGES, listed=False, extra=[(symlink("md5hashes.csv"), b"/etc/passwd")]),
    "encrypted": encrypted,
    "LZMA": lambda: with_entry("00000004.dcm", compression=zipfile.ZIP_LZMA),
    "bzip2": lambda: with_entry("00000004.dcm", compression=zipfile.ZIP_BZIP2),
    "twice": lambda: archive_twice("00000001.dcm"),
    "two lists": lambda: archive_twice("md5hashes.csv"),
    "bomb": lambda: with_entry("00000004.dcm", bytes(50_000_000)),
    "bomb of a list": lambda: archive_of(IMAGES, listed=False, extra=[("md5hashes.csv", bytes(50_000_000))]),
}


def symlink(name):
    entry = zipfile.ZipInfo(name)
    entry.external_attr = (stat.S_IFLNK | 0o777) << 16
    return entry


@pytest.mark.parametrize("case", UNSAFE)
def test_an_archive_with_an_unsafe_entry_is_refused_as_a_whole(sent, case):
    with pytest.raises(UserError) as error:
        sent(UNSAFE[case]())
    assert not isinstance(error.value, DamagedArchiveError)
    assert_one_sentence(error, "1.2.3.zip", "not unpacked", "idc")


DAMAGED = {
    "empty": (lambda: b"", "empty answer"),
    "web page": (lambda: OUTAGE, "a web page"),
    "JSON": (lambda: b'{"error": "Server was not able to process your request"}', "no .zip file"),
    "text": (lambda: b"The user has not been granted the access to image", "no .zip file"),
    "web page before": (lambda: OUTAGE + archive_of(IMAGES), "a web page"),
    "cut in its middle": (lambda: archive_of(IMAGES)[:3000], "corrupt or cut"),
    "cut at its end": (lambda: archive_of(IMAGES)[:-1], "corrupt or cut"),
    "its first bytes": (lambda: archive_of(IMAGES)[:4], "corrupt or cut"),
    "a byte of an image": (lambda: damaged(50), "corrupt or cut"),
    "a byte of an undeflatable image": (lambda: damaged(-1500), "corrupt or cut"),
    "no list": (lambda: archive_of(IMAGES, listed=False), "broke off before its end"),
    "no list, no images": (lambda: archive_of({}, listed=False), "broke off before its end"),
    "wrong digest": (lambda: archive_of(IMAGES, digests={"00000002.dcm": "0" * 32}), "'00000002.dcm'"),
    "no digest": (lambda: archive_of(IMAGES, digests={"00000002.dcm": ""}), "no MD5 of 1 of 3"),
    "null digest": (lambda: archive_of(IMAGES, digests={"00000002.dcm": "null"}), "no MD5 of 1 of 3"),
    "unlisted image": (lambda: with_entry("00000004.dcm"), "no MD5 of 1 of 4"),
    "missing image": (lambda: archive_of(IMAGES, digests={"00000004.dcm": "1" * 32}), "lacks 1 of the 4"),
    "no header": (
        lambda: archive_of(IMAGES, listed=False, extra=[("md5hashes.csv", "00000001.dcm," + "1" * 32)]),
        "does not begin",
    ),
    "empty list": (lambda: archive_of(IMAGES, listed=False, extra=[("md5hashes.csv", "")]), "does not begin"),
    "list of one line": (lambda: archive_of(IMAGES, listed=False, extra=[("md5hashes.csv", "x" * 200_000)]), "corrupt"),
    "binary list": (lambda: archive_of(IMAGES, listed=False, extra=[("md5hashes.csv", b"\xff\0\xfe")]), "corrupt"),
}


def damaged(position):
    data = bytearray(archive_of(IMAGES))
    data[position if position > 0 else data.index(b"md5hashes.csv") + position] ^= 0x10
    return bytes(data)


@pytest.mark.parametrize("case", DAMAGED)
def test_an_archive_that_is_not_right_is_said_to_be_damaged_and_leaves_nothing(sent, tmp_path, case):
    make, words = DAMAGED[case]
    with pytest.raises(DamagedArchiveError) as error:
        sent(make())
    assert_one_sentence(error, "1.2.3.zip", words)
    assert not list(tmp_path.rglob("images"))


def test_an_archive_without_images_says_that_the_series_is_not_shown(sent):
    with pytest.raises(UserError) as error:
        sent(archive_of({}))
    assert not isinstance(error.value, DamagedArchiveError)
    assert_one_sentence(error, "no image")


def test_what_a_killed_process_had_unpacked_is_replaced(tmp_path):
    (tmp_path / "images").mkdir()
    (tmp_path / "images" / "00000001.dcm").write_bytes(b"half" * 10_000)
    (tmp_path / "a.zip").write_bytes(archive_of(IMAGES))
    files = unpack(tmp_path / "a.zip", tmp_path / "images", MAX_BYTES)
    assert [file.read_bytes() for file in files] == list(IMAGES.values())


@given(st.lists(st.text(max_size=30) | st.sampled_from(["../x", "/x", "a/b", "x.dcm", "C:x"]), max_size=4, unique=True))
@settings(max_examples=100)
def test_no_name_in_an_archive_names_a_file_outside(tmp_path_factory, names):
    root = tmp_path_factory.mktemp("names")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(root)
        (root / "a.zip").write_bytes(archive_of(dict.fromkeys(names, b"x")))
        try:
            unpack(root / "a.zip", root / "images", MAX_BYTES)
            unpacked = len(names)
        except UserError:
            unpacked = 0
    found = sorted(path.relative_to(root).as_posix() for path in root.rglob("*") if path.is_file())
    assert found == ["a.zip", *(f"images/{k:08}.dcm" for k in range(1, unpacked + 1))]


changes = st.lists(st.tuples(st.integers(0, 30_000), st.integers(1, 255)), max_size=3)


@given(changes, st.integers(0, 30_000) | st.none())
@settings(max_examples=150)
def test_of_a_damaged_archive_come_the_right_images_or_an_error(tmp_path_factory, changes, cut):
    root = tmp_path_factory.mktemp("damaged")
    data = bytearray(archive_of(IMAGES)[:cut])
    for place, bits in changes:
        if data:
            data[place % len(data)] ^= bits
    (root / "a.zip").write_bytes(data)
    try:
        files = unpack(root / "a.zip", root / "images", MAX_BYTES)
    except UserError:
        assert [path.name for path in root.iterdir()] == ["a.zip"]
    else:
        assert {file.read_bytes() for file in files} == set(IMAGES.values())


def salvaged(root, data, max_bytes=MAX_BYTES):
    (root / "a.part").write_bytes(data)
    found = {
        name: (root / "scratch").read_bytes() for name in whole_files(root / "a.part", root / "scratch", max_bytes)
    }
    assert [path.name for path in root.iterdir()] == ["a.part"]
    return found


@given(st.integers(0, 10_000))
def test_of_a_cut_archive_exactly_the_whole_images_are_saved(tmp_path_factory, cut):
    data = archive_of(IMAGES)
    with zipfile.ZipFile(io.BytesIO(data)) as archive:  # an entry ends where the next begins
        starts = [entry.header_offset for entry in archive.infolist()]
        directory = archive.start_dir
    whole = [name for name, end in zip([*IMAGES, "md5hashes.csv"], [*starts[1:], directory], strict=True) if end <= cut]
    found = salvaged(tmp_path_factory.mktemp("cut"), data[:cut])
    assert list(found) == whole
    assert all(found[name] == IMAGES[name] for name in whole if name in IMAGES)


@given(changes)
def test_damage_is_never_saved(tmp_path_factory, changes):
    data = bytearray(archive_of(IMAGES, listed=False))
    for place, bits in changes:
        data[place % len(data)] ^= bits
    assert set(salvaged(tmp_path_factory.mktemp("damage"), data).values()) <= set(IMAGES.values())


def test_a_bomb_is_not_saved(tmp_path):
    data = archive_of({"1.dcm": b"well", "2.dcm": bytes(20_000_000)})
    assert salvaged(tmp_path, data) == {"1.dcm": b"well"}


@pytest.mark.parametrize("start", [b"", b"PK", OUTAGE, b"PK\x03\x04" + bytes(26)])
def test_what_is_no_archive_saves_nothing(tmp_path, start):
    assert salvaged(tmp_path, start) == {}
