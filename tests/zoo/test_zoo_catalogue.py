"""The catalogue: every model described, every shipped file in order."""

import dataclasses
import subprocess
import sys

import onnx
import pytest

from trtlab.errors import SpecError
from trtlab.zoo import catalogue
from trtlab.zoo.catalogue import ENTRIES

SHIPPED = [name for name, entry in ENTRIES.items() if entry.shipped]


@pytest.mark.parametrize("entry", ENTRIES.values(), ids=list(ENTRIES))
def test_every_field_says_something(entry):
    for field in dataclasses.fields(entry):
        value = getattr(entry, field.name)
        assert value or isinstance(value, bool), field.name
    assert entry.input.startswith("float32 [N, ")
    assert entry.labelled == entry.shipped


def test_names_are_keys():
    assert list(ENTRIES) == [entry.name for entry in ENTRIES.values()]
    assert set(ENTRIES) >= {"digits", "digits_mobile", "squeezenet", "resnet50", "vit_tiny"}


@pytest.mark.parametrize("name", ["digits", "zoo:digits"])
def test_names_with_and_without_prefix(name):
    assert catalogue.entry(name).name == "digits"


@pytest.mark.parametrize(
    ("name", "hint"),
    [
        ("zoo:resnet5O", "resnet50"),
        ("inception_v3", "inception_v"),
        ("Digits", "digits"),
        ("qqq", "There are: digits"),
        ("", "There are: digits"),
    ],
)
def test_unknown_names_get_near_ones(name, hint):
    with pytest.raises(SpecError) as caught:
        catalogue.entry(name)
    assert hint in caught.value.hint


def test_a_made_model_has_no_shipped_path():
    with pytest.raises(SpecError, match="made on first use"):
        catalogue.shipped_path("resnet50")


def test_listing_needs_nothing_heavy():
    code = (
        "import sys, trtlab.zoo.catalogue; "
        "print([m for m in ('numpy', 'onnx', 'onnxruntime', 'torch') if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


@pytest.mark.parametrize("name", SHIPPED)
def test_shipped_files(name):
    path = catalogue.shipped_path(f"zoo:{name}")
    model = onnx.load(path)
    onnx.checker.check_model(model, full_check=True)
    assert path.stat().st_size == ENTRIES[name].file_bytes
    assert model.ir_version >= 8
    assert model.opset_import[0].version == 17
    names = [node.name for node in model.graph.node]
    assert all(names)
    assert len(names) == len(set(names))
    ops = [node.op_type for node in model.graph.node]
    assert "BatchNormalization" in ops
    for value in (*model.graph.input, *model.graph.output):
        assert value.type.tensor_type.shape.dim[0].dim_param == "N"


def test_the_package_stays_small():
    folder = catalogue.shipped_path("digits").parent
    assert sum(path.stat().st_size for path in folder.iterdir()) < 1_500_000
