"""Fusions of the zoo's networks as TensorRT-RTX really builds them, made once for all tests."""

import pytest

import trtlab
from tests.analysis.fusion import converting
from trtlab.store import Store
from trtlab.zoo.catalogue import ENTRIES


@pytest.fixture(scope="session")
def zoo_store(tmp_path_factory):
    return Store(tmp_path_factory.mktemp("zoo"))


@pytest.fixture(scope="session")
def built(rtx, zoo_store):
    """By name: the fusion of a zoo network, built for sm89 with the default profile."""
    found = {}

    def of(name):
        if name not in found:
            found[name] = trtlab.fusion(
                f"zoo:{name}", backend="tensorrt_rtx", target="sm89", store=zoo_store
            )
        return found[name]

    return of


@pytest.fixture(scope="session")
def converted(zoo_store, tmp_path_factory):
    """By name and precision: the path of a zoo network, converted by onnxruntime's tools."""
    folder = tmp_path_factory.mktemp("converted")

    def of(name, precision):
        path = folder / f"{name}.{precision}.onnx"
        if not path.exists():
            convert = {"fp16": converting.fp16, "int8": converting.int8}[precision]
            convert(trtlab.load(f"zoo:{name}", store=zoo_store).path, path)
        return path

    return of


@pytest.fixture(scope="session")
def built_as(rtx, zoo_store, converted):
    """By name and precision: the fusion of a converted network, built for sm89."""
    found = {}

    def of(name, precision):
        if (name, precision) not in found:
            found[name, precision] = trtlab.fusion(
                converted(name, precision),
                backend="tensorrt_rtx", target="sm89", store=zoo_store,
            )  # fmt: skip
        return found[name, precision]

    return of


@pytest.fixture(params=list(ENTRIES))
def zoo_fusion(request, built):
    return built(request.param)
