"""Fusions of the zoo's networks as TensorRT-RTX really builds them, made once for all tests."""

import pytest

import trtlab
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


@pytest.fixture(params=list(ENTRIES))
def zoo_fusion(request, built):
    return built(request.param)
