"""Samples reach a worker job as files."""

import errno

import numpy as np
import pytest

from trtlab.codec import from_message, to_message
from trtlab.dataset.files import SampleFiles, read_samples, write_samples
from trtlab.dataset.samples import Dataset


def test_samples_come_back_mapped_whatever_the_inputs_are_called(tmp_path):
    arrays = {"a/../b:0": np.arange(6.0).reshape(3, 2), "": np.array([True, False, True])}
    sent = to_message(write_samples(Dataset.from_arrays(arrays), tmp_path))
    files = from_message(sent, SampleFiles)
    found = read_samples(files)
    assert files.count == 3
    assert len(list(tmp_path.iterdir())) == 2
    assert found.keys() == arrays.keys()
    for name, array in found.items():
        assert isinstance(array, np.memmap)
        assert not array.flags.writeable
        assert array.dtype == arrays[name].dtype
        assert np.array_equal(array, arrays[name])


def test_a_pickle_is_not_opened(tmp_path):
    np.save(tmp_path / "x.npy", np.array([{}]), allow_pickle=True)
    with pytest.raises(ValueError, match="Python objects"):
        read_samples(SampleFiles({"x": str(tmp_path / "x.npy")}, 1))


def test_a_folder_that_cannot_be_written(tmp_path):
    with pytest.raises(OSError, match="samples-0") as caught:
        write_samples(Dataset.from_arrays(np.zeros(3)), tmp_path / "missing")
    assert caught.value.errno == errno.ENOENT
