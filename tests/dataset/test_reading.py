"""Files and iterators give the same data as the arrays that they hold."""

import pickle
import zipfile

import numpy as np
import pytest

from trtlab.dataset.samples import Dataset
from trtlab.errors import SpecError

X = np.random.default_rng(0).standard_normal((6, 3, 4)).astype(np.float32)
Y = np.arange(6)
LABELS = [3, 1, 4, 1, 5, 9]


@pytest.fixture
def folder(tmp_path):
    made = tmp_path / "samples"
    made.mkdir()
    return made


def same(found, arrays, labels=None):
    known = Dataset.from_arrays(arrays)
    assert found.hash == known.hash
    assert (None if found.labels is None else found.labels.tolist()) == labels


def test_npy_batches_in_the_order_of_their_names(folder):
    np.save(folder / "b.npy", X[2:])
    np.save(folder / "a.npy", X[:2])
    np.save(folder / "labels.npy", LABELS)
    (folder / "README.txt").write_text("not a sample")
    found = Dataset.from_folder(folder)
    same(found, X, LABELS)
    assert found.words == "2 .npy files in samples, a batch each"


def test_npy_samples(folder):
    for number, sample in enumerate(X):
        np.save(folder / f"{number}.npy", sample)
    same(Dataset.from_folder(str(folder), each="sample"), X)


@pytest.mark.parametrize("save", [np.savez, np.savez_compressed])
def test_npz_by_input_name_with_labels(folder, save):
    save(folder / "0.npz", x=X[:4], y=Y[:4], labels=LABELS[:4])
    save(folder / "1.npz", x=X[4:], y=Y[4:], labels=LABELS[4:])
    same(Dataset.from_folder(folder), {"x": X, "y": Y}, LABELS)


def test_npz_of_single_samples(folder):
    for number in range(6):
        np.savez(folder / f"{number}.npz", x=X[number], y=Y[number], labels=LABELS[number])
    same(Dataset.from_folder(folder, each="sample"), {"x": X, "y": Y}, LABELS)


def test_single_files(folder):
    np.savez(folder / "all.npz", x=X, y=Y)
    same(Dataset.from_folder(folder / "all.npz"), {"x": X, "y": Y})
    np.save(folder / "all.npy", X)
    found = Dataset.from_folder(folder / "all.npy")
    same(found, X)
    # Mapped, not read: its memory is that of the file.
    assert isinstance(found.arrays[""].base, np.memmap)
    assert not found.arrays[""].flags.writeable


def test_many_files_are_not_all_open_at_once(folder):
    import resource

    before = resource.getrlimit(resource.RLIMIT_NOFILE)
    for number in range(300):
        np.save(folder / f"{number:03}.npy", X)
    resource.setrlimit(resource.RLIMIT_NOFILE, (200, before[1]))
    try:
        assert len(Dataset.from_folder(folder)) == 1800
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, before)


class Boom:
    def __reduce__(self):
        return pytest.fail, ("a pickle was opened",)


def _pickled(folder):
    (folder / "a.npy").write_bytes(pickle.dumps(Boom()))


def _objects(folder):
    np.save(folder / "a.npy", np.array([Boom()]), allow_pickle=True)


def _objects_in_npz(folder):
    with zipfile.ZipFile(folder / "a.npz", "w") as archive:
        np.save(folder / "x.npy", np.array([Boom()]), allow_pickle=True)
        archive.write(folder / "x.npy", "x.npy")
    (folder / "x.npy").unlink()


def _cut_off(folder):
    np.save(folder / "a.npy", X)
    (folder / "a.npy").write_bytes((folder / "a.npy").read_bytes()[:-10])


def _huge_header(folder):
    with (folder / "a.npy").open("wb") as file:
        header = {"descr": "<f4", "fortran_order": False, "shape": (2**50,)}
        np.lib.format.write_array_header_1_0(file, header)


def _bad_zip(folder):
    np.savez(folder / "a.npz", x=X)
    data = bytearray((folder / "a.npz").read_bytes())
    data[200:260] = bytes(60)
    (folder / "a.npz").write_bytes(data)


def _not_zip(folder):
    (folder / "a.npz").write_bytes(b"PK\x03\x04 no")


def _empty_file(folder):
    (folder / "a.npy").touch()


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (_pickled, "pickle"),
        (_objects, "pickle"),
        (_objects_in_npz, "pickle"),
        (_cut_off, "cannot be read"),
        (_huge_header, "cannot be read"),
        (_bad_zip, "cannot be read"),
        (_not_zip, "cannot be read"),
        (_empty_file, "cannot be read"),
    ],
)
@pytest.mark.parametrize("beside", [False, True])
def test_what_is_pickled_or_damaged_is_named_and_never_run(folder, make, message, beside):
    make(folder)
    if beside:  # several files take another way than a single, mapped one
        (name,) = folder.iterdir()
        np.save(folder / "z.npy", X) if name.suffix == ".npy" else np.savez(folder / "z.npz", x=X)
    with pytest.raises(SpecError, match=rf"^a\.np[yz] .*{message}") as caught:
        Dataset.from_folder(folder)
    assert caught.value.hint


def _nothing(folder):
    pass


def _mixed(folder):
    np.save(folder / "a.npy", X)
    np.savez(folder / "b.npz", x=X)


def _other_shape(folder):
    np.save(folder / "a.npy", X)
    np.save(folder / "b.npy", X[:, :2])


def _other_type(folder):
    np.save(folder / "a.npy", X)
    np.save(folder / "b.npy", X.astype(np.float64))


def _other_names(folder):
    np.savez(folder / "a.npz", x=X)
    np.savez(folder / "b.npz", x=X, y=Y)


def _labels_in_one(folder):
    np.savez(folder / "a.npz", x=X, labels=LABELS)
    np.savez(folder / "b.npz", x=X)


def _crossed(folder):
    np.savez(folder / "a.npz", x=X[:4], y=Y[:2])
    np.savez(folder / "b.npz", x=X[4:], y=Y[2:])


def _labels_twice(folder):
    np.savez(folder / "a.npz", x=X, labels=LABELS)
    np.save(folder / "labels.npy", LABELS)


def _few_labels(folder):
    np.save(folder / "a.npy", X)
    np.save(folder / "labels.npy", LABELS[:5])


def _single_number(folder):
    np.save(folder / "a.npy", 1.0)


def _only_labels(folder):
    np.savez(folder / "a.npz", labels=LABELS)


def _texts(folder):
    np.savez(folder / "a.npz", x=np.array(["a"]))


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (_nothing, "samples has no .npy or .npz"),
        (_mixed, "both .npy and .npz"),
        (_other_shape, r"b\.npy is float32 \[6, 2, 4\]; in a\.npy"),
        (_other_type, r"b\.npy is float64"),
        (_other_names, r"b\.npz has the arrays 'x', 'y'"),
        (_labels_in_one, r"b\.npz has the arrays 'x', a\.npz has 'x', 'labels'"),
        (_crossed, r"arrays of a\.npz have different lengths: 2, 4"),
        (_labels_twice, r"labels\.npy and labels in a\.npz"),
        (_few_labels, "5 labels for 6 samples"),
        (_single_number, r"a\.npy, is a single number"),
        (_only_labels, "no array"),
        (_texts, r"a\.npz, array 'x' holds texts"),
    ],
)
def test_what_does_not_join_is_named(folder, make, message):
    make(folder)
    with pytest.raises(SpecError, match=message) as caught:
        Dataset.from_folder(folder)
    assert caught.value.hint


def test_paths_that_are_none(folder):
    (folder / "a.txt").touch()
    for given, message in [
        (folder / "missing", "no file or folder"),
        (folder / "a.txt", r"a\.txt is no .npy"),
        ("a\0b", "no file or folder"),
        (5, "no path"),
    ]:
        with pytest.raises(SpecError, match=message):
            Dataset.from_folder(given)
    with pytest.raises(SpecError, match="kind of file content"):
        Dataset.from_folder(folder, each="all")


def test_what_is_larger_than_the_memory_is_refused_unread(folder):
    np.savez(folder / "a.npz", x=X)
    with (folder / "b.npy").open("wb") as file:  # sparse: takes no disk
        file.truncate(2**42)
    (folder / "c.npy").write_bytes(b"")
    (folder / "a.npz").unlink()
    with pytest.raises(SpecError, match=r"8\.00 TiB, more than this machine's memory"):
        Dataset.from_folder(folder)


def test_iterators_of_batches_and_samples():
    same(Dataset.from_iterator([X[:4], X[4:]]), X)
    same(Dataset.from_iterator(iter(X), each="sample"), X)
    same(Dataset.from_iterator({"x": x, "y": y} for x, y in ((X, Y), (X, Y))),
         {"x": np.concatenate([X, X]), "y": np.concatenate([Y, Y])})  # fmt: skip


def test_a_buffer_that_is_yielded_again_and_again():
    def items():
        buffer = np.empty((1, 3, 4), np.float32)
        for x in X:
            buffer[0] = x
            yield buffer

    same(Dataset.from_iterator(items()), X)


def test_the_limit_cuts_a_batch_and_asks_for_no_more():
    asked = []

    def endless():
        while True:
            asked.append(1)
            yield X

    found = Dataset.from_iterator(endless(), limit=9)
    same(found, np.concatenate([X, X[:3]]))
    assert len(asked) == 2
    same(Dataset.from_iterator(iter(X), each="sample", limit=2), X[:2])


@pytest.mark.parametrize(
    ("items", "message"),
    [
        ([], "gave nothing"),
        (5, "cannot be iterated"),
        ([(X, LABELS)], "Item 0 is a tuple"),
        ([X, X[:, 1:]], r"item 1 is float32 \[6, 2, 4\]; in item 0"),
        ([{"x": X}, {"y": X}], "item 1 has the arrays 'y'"),
        ([1.0], "item 0, is a single number"),
        ([{"x": X}, {"x": np.array([None])}], "item 1, Input 'x' holds Python objects"),
        ([{}], "Item 0 has no array"),
        ([{"x": X[:4], "y": Y[:2]}, {"x": X[4:], "y": Y[2:]}], "item 0 have different lengths"),
    ],
)
def test_items_that_are_no_data(items, message):
    with pytest.raises(SpecError, match=message) as caught:
        Dataset.from_iterator(items)
    assert caught.value.hint
