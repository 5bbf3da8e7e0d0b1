"""What is in the zoo: each model's task, licences, size, and what its outputs can show.

Imports nothing heavy, so that listing models is instant.
"""

from __future__ import annotations

import difflib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType

from trtlab.errors import SpecError

RECIPE_VERSION = 1
"""Raised whenever a made model changes, so that a copy in the cache folder is not taken for it."""

_DATA = Path(__file__).parent / "data"


@dataclass(frozen=True, slots=True, kw_only=True)
class Entry:
    """One model of the zoo.

    Attributes:
        name: What follows ``zoo:``.
        title: The network, with its source.
        task: What it was built for, and what it does here.
        input: Type and shape, with N for the batch.
        file_bytes: Size of the ONNX file, once made; approximate.
        weights_licence: Licence of the weights and of the graph.
        data_licence: Licence of the data behind weights and labels.
        shows: What can be learnt from it.
        cannot_show: What must not be concluded from it.
        labelled: Whether held-out labelled images ship with it.
        shipped: Whether the file is in the package; otherwise it is made on first use.
    """

    name: str
    title: str
    task: str
    input: str
    file_bytes: int
    weights_licence: str
    data_licence: str
    shows: str
    cannot_show: str
    labelled: bool = False
    shipped: bool = False


_OPTDIGITS = (
    "CC BY 4.0: Optical Recognition of Handwritten Digits, E. Alpaydin and C. Kaynak, "
    "UCI Machine Learning Repository, doi:10.24432/C50P49"
)
_DRAWN = (
    "Accuracy, or what INT8 does to it: the weights are drawn, so the classes mean nothing and "
    "ranges are unlike trained ones. Small differences may grow on the way: 1 % of noise on the "
    "input changes logits by 1 to 7 %, depending on the network."
)


def _drawn(
    name: str,
    title: str,
    file_bytes: int,
    shows: str,
    *,
    cannot_show: str = _DRAWN,
    graph: str = "graph from the onnx package, Apache-2.0",
) -> Entry:
    """Describe a network with drawn weights on 224 x 224 images."""
    return Entry(
        name=name,
        title=title,
        task="image classification, 1,000 classes; not trained",
        input="float32 [N, 3, 224, 224]",
        file_bytes=file_bytes,
        weights_licence=f"Apache-2.0: weights drawn by trtlab; {graph}",
        data_licence="none: no data was used",
        shows=shows,
        cannot_show=cannot_show,
    )


_ALL = (
    Entry(
        name="digits",
        title="Small CNN: stem, residual block, inception block",
        task="handwritten digits, 10 classes; top-1 0.991 on 1,000 held-out images",
        input="float32 [N, 1, 8, 8]",
        file_bytes=367_853,
        weights_licence="Apache-2.0: trained by trtlab",
        data_licence=_OPTDIGITS,
        shows="Every view in seconds, and real accuracy on images kept out of training.",
        cannot_show="Accuracy lost to low precision: the task is too easy, so compare logits. "
        "Speed of real networks: launches outweigh arithmetic. Accuracy on other people's "
        "writing: the same 13 writers are in both parts.",
        labelled=True,
        shipped=True,
    ),
    Entry(
        name="digits_mobile",
        title="Depthwise-separable CNN in the manner of MobileNet (arXiv:1704.04861), with ReLU",
        task="turned, noisy digits among other digits, 10 classes; top-1 0.960 on 1,000 held-out "
        "images",
        input="float32 [N, 1, 24, 24]",
        file_bytes=140_169,
        weights_licence="Apache-2.0: trained by trtlab",
        data_licence=_OPTDIGITS + "; drawn into scenes by trtlab",
        shows="INT8 that loses accuracy and gets it back: about 7 points lost with one scale for "
        "each weight tensor, none that 1,000 images can show with one for each channel (emulated "
        "with ONNX Runtime, 128 calibration images).",
        cannot_show="How much a network as trained would lose: its channels were rescaled after "
        "training by powers of two, up to 128 between depthwise filters, which leaves FP32 "
        "results equal to the last bit; the factor was chosen on these very images. Before that "
        "it lost 0.3 points, within chance. "
        "Speed of real networks. Accuracy on other people's writing: the same 13 writers are in "
        "both parts.",
        labelled=True,
        shipped=True,
    ),
    _drawn(
        "squeezenet",
        "SqueezeNet (arXiv:1602.07360)",
        4_950_000,
        "Parallel 1x1 and 3x3 convolutions joined by Concat, in 65 nodes: quick to build.",
    ),
    _drawn(
        "resnet50",
        "ResNet-50 (arXiv:1512.03385)",
        102_500_000,
        "The reference for latency, throughput and memory; BatchNorm, shortcut and ReLU that "
        "fuse into convolutions.",
    ),
    _drawn(
        "inception_v2",
        "Inception v2 (arXiv:1502.03167)",
        45_000_000,
        "Much to fuse: 371 nodes, with BatchNorm, Mul and Add behind each of 69 convolutions and "
        "four parallel branches in a block.",
    ),
    _drawn(
        "vit_tiny",
        "Vision transformer encoder in the shape of DeiT-tiny (arXiv:2012.12877), average-pooled",
        22_900_000,
        "Attention, LayerNorm and GELU as standard nodes: what is fused and what is not; "
        "matrix products where half precision pays.",
        graph="graph written by trtlab",
    ),
    _drawn(
        "inception_v1",
        "Inception v1, GoogLeNet (arXiv:1409.4842)",
        28_000_000,
        "Parallel branches without BatchNorm, and local response normalisation, an operator that "
        "stands alone between convolutions.",
    ),
    _drawn(
        "densenet121",
        "DenseNet-121 (arXiv:1608.06993)",
        32_700_000,
        "Memory traffic: 58 Concat nodes, and BatchNorm that stands before ReLU and convolution, "
        "where half of it cannot be folded into weights.",
    ),
    _drawn(
        "shufflenet",
        "ShuffleNet (arXiv:1707.01083)",
        5_720_000,
        "Little arithmetic and much moving: grouped convolutions and channel shuffles by "
        "Reshape and Transpose.",
    ),
)

ENTRIES: Mapping[str, Entry] = MappingProxyType({entry.name: entry for entry in _ALL})
"""Every model by name: first those with labels, then by how soon they are of use."""


def entry(name: str) -> Entry:
    """Look up a model as ``digits`` or ``zoo:digits``.

    Raises:
        SpecError: there is no such model; the hint names near ones.
    """
    bare = name.removeprefix("zoo:")
    if bare in ENTRIES:
        return ENTRIES[bare]
    near = difflib.get_close_matches(bare.lower(), ENTRIES)
    raise SpecError(
        f"There is no zoo model {bare!r}.",
        hint=f"Did you mean {' or '.join(near)}?" if near else f"There are: {', '.join(ENTRIES)}.",
    )


def shipped_path(name: str) -> Path:
    """Path of a shipped model's ONNX file.

    Raises:
        SpecError: there is no such model, or it is made and not shipped.
    """
    found = entry(name)
    if not found.shipped:
        raise SpecError(
            f"{found.name} is not shipped with trtlab; it is made on first use.",
            hint=f"Load it as zoo:{found.name}.",
        )
    return _DATA / f"{found.name}.onnx"
