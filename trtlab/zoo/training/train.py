"""Train ``digits`` and ``digits_mobile`` and write their files into ``trtlab/zoo/data``.

Install ``torch`` and ``scikit-learn`` (the shipped files: torch 2.13.0, CPU, scikit-learn 1.9.1),
then run ``python -m trtlab.zoo.training.train digits digits_mobile`` from the clone. On two CPU
cores ``digits`` takes about a quarter of a minute and ``digits_mobile`` a minute and a half. The
seed is fixed; another torch version or processor gives slightly other weights.

``--uneven FACTOR`` makes the channel ranges of ``digits_mobile`` uneven after training, without
changing what the network computes in FP32. Before each depthwise convolution a channel is
multiplied by a power of two, after it divided by another; ReLU is positively homogeneous, so
every product is exact. That is BatchNorm's gamma and beta times u, the depthwise filter divided
by u, the next gamma and beta divided by d, the next pointwise filter times d. With BatchNorm
folded, depthwise filters then differ by u times d between channels, up to FACTOR, on top of how
they differ as trained. One INT8 scale for the whole depthwise weight leaves its small filters
only a few levels; one scale for each channel does not. Activations have one scale in either case,
so their ranges must stay near each other: the largest factors go to the channels that the
depthwise convolution amplifies most, small before it and large after it.
The shipped file uses the default.
"""

from __future__ import annotations

import argparse
import logging
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import torch
from sklearn.datasets import load_digits
from torch import nn
from torch.nn import functional

from trtlab.zoo.training import tasks

UNEVEN = 128
SEED = 7
CALIBRATION = 128
"""Training images shipped for INT8 calibration. Five draws of 128 scenes put the top-1 of INT8
per channel between 0.956 and 0.961 (FP32: 0.960)."""
DATA = Path(__file__).parent.parent / "data"
log = logging.getLogger(__name__)


class ConvNormRelu(nn.Module):  # type: ignore[misc]  # torch has no types here
    """Convolution, BatchNorm, ReLU; a module and not a Sequential for the node names."""

    def __init__(
        self, width_in: int, width_out: int, kernel: int, *, stride: int = 1, groups: int = 1
    ) -> None:
        super().__init__()
        self.conv = nn.Conv2d(
            width_in, width_out, kernel, stride, kernel // 2, groups=groups, bias=False
        )
        self.norm = nn.BatchNorm2d(width_out)
        self.relu = nn.ReLU()

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """One after the other."""
        return self.relu(self.norm(self.conv(x)))


class Residual(nn.Module):  # type: ignore[misc]  # torch has no types here
    """Two 3 x 3 convolutions with a shortcut."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.first = ConvNormRelu(width, width, 3)
        self.second = nn.Conv2d(width, width, 3, padding=1, bias=False)
        self.norm = nn.BatchNorm2d(width)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Add the shortcut before the last ReLU."""
        return functional.relu(self.norm(self.second(self.first(x))) + x)


class Inception(nn.Module):  # type: ignore[misc]  # torch has no types here
    """Parallel 1 x 1, 3 x 3 and 5 x 5 branches and a pooled one, joined by Concat."""

    def __init__(self, width_in: int, branch: int) -> None:
        super().__init__()
        self.one = ConvNormRelu(width_in, branch, 1)
        self.three_narrow = ConvNormRelu(width_in, branch // 2, 1)
        self.three = ConvNormRelu(branch // 2, branch, 3)
        self.five_narrow = ConvNormRelu(width_in, branch // 4, 1)
        self.five = ConvNormRelu(branch // 4, branch, 5)
        self.pool = nn.MaxPool2d(3, 1, 1)
        self.pooled = ConvNormRelu(width_in, branch, 1)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Join the branches."""
        three = self.three(self.three_narrow(x))
        five = self.five(self.five_narrow(x))
        return torch.cat([self.one(x), three, five, self.pooled(self.pool(x))], 1)


class Digits(nn.Module):  # type: ignore[misc]  # torch has no types here
    """The small CNN: what a fusion view should show, in as few nodes as possible."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = ConvNormRelu(1, 32, 3)
        self.residual = Residual(32)
        self.pool = nn.MaxPool2d(2)
        self.inception = Inception(32, 32)
        self.head = ConvNormRelu(128, 48, 3)
        self.classifier = nn.Linear(48, 10)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Logits."""
        x = self.inception(self.pool(self.residual(self.stem(x))))
        return self.classifier(functional.adaptive_avg_pool2d(self.head(x), 1).flatten(1))


class Separable(nn.Module):  # type: ignore[misc]  # torch has no types here
    """Depthwise 3 x 3, then pointwise 1 x 1, as in MobileNet (arXiv:1704.04861)."""

    def __init__(self, width_in: int, width_out: int, stride: int = 1) -> None:
        super().__init__()
        self.depthwise = ConvNormRelu(width_in, width_in, 3, stride=stride, groups=width_in)
        self.pointwise = ConvNormRelu(width_in, width_out, 1)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Filter each channel, then mix them."""
        return self.pointwise(self.depthwise(x))


class DigitsMobile(nn.Module):  # type: ignore[misc]  # torch has no types here
    """MobileNet in small; ReLU and not ReLU6, so that scaling channels is exact."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = ConvNormRelu(1, 24, 3)
        self.block1 = Separable(24, 32, 2)
        self.block2 = Separable(32, 48)
        self.block3 = Separable(48, 64, 2)
        self.block4 = Separable(64, 64)
        self.block5 = Separable(64, 96, 2)
        self.block6 = Separable(96, 96)
        self.classifier = nn.Linear(96, 10)

    @property
    def blocks(self) -> list[Separable]:
        """The separable blocks in order."""
        return [self.block1, self.block2, self.block3, self.block4, self.block5, self.block6]

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Logits."""
        x = self.stem(x)
        for block in self.blocks:
            x = block(x)
        return self.classifier(functional.adaptive_avg_pool2d(x, 1).flatten(1))


def make_uneven(network: DigitsMobile, factor: int, inputs: torch.Tensor) -> None:
    """Scale channels around each depthwise convolution by powers of two, together ``factor``.

    ``inputs`` show how large each channel is; the module's docstring says why that matters.
    """
    steps = factor.bit_length() - 1
    with torch.no_grad():
        amplification = []
        entering = network.stem(inputs)
        for block in network.blocks:
            leaving = block.depthwise(entering)
            amplification.append(_peaks(leaving) / _peaks(entering))
            entering = block.pointwise(leaving)
        before = network.stem
        for block, gain in zip(network.blocks, amplification, strict=True):
            exponent = gain.argsort().argsort() * (steps + 1) // len(gain)
            up = 2.0 ** (exponent // 2)
            down = 2.0 ** (exponent - exponent // 2)
            before.norm.weight *= up
            before.norm.bias *= up
            block.depthwise.conv.weight /= up.reshape(-1, 1, 1, 1)
            block.depthwise.norm.weight /= down
            block.depthwise.norm.bias /= down
            block.pointwise.conv.weight *= down.reshape(1, -1, 1, 1)
            before = block.pointwise


def _peaks(activations: torch.Tensor) -> torch.Tensor:
    """Largest value of each channel; a dead channel counts as nearly zero."""
    return activations.amax((0, 2, 3)).clamp_min(1e-3)


def power_of_two(text: str) -> int:
    """Read FACTOR; argparse turns the ValueError into its own message."""
    factor = int(text)
    if factor < 1 or factor & (factor - 1):
        raise argparse.ArgumentTypeError(f"{text} is not a power of two")
    return factor


def train(
    network: nn.Module,
    draw: Callable[[np.random.Generator], tuple[np.ndarray, np.ndarray]],
    *,
    epochs: int,
    rate: float = 4e-3,
) -> None:
    """Fit with AdamW and one cycle of the learning rate; ``draw`` gives one epoch's data."""
    rng = np.random.default_rng(SEED)
    inputs, labels = draw(rng)
    steps = epochs * (len(inputs) // 64)
    optimiser = torch.optim.AdamW(network.parameters(), weight_decay=0.01)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimiser, rate, total_steps=steps)
    network.train()
    for epoch in range(epochs):
        total = 0.0
        for batch in rng.permutation(len(inputs))[: len(inputs) // 64 * 64].reshape(-1, 64):
            optimiser.zero_grad()
            loss = functional.cross_entropy(
                network(torch.from_numpy(inputs[batch])), torch.from_numpy(labels[batch])
            )
            loss.backward()
            optimiser.step()
            schedule.step()
            total += loss.item()
        if epoch % 10 == 9:
            log.info("epoch %d of %d: loss %.4f", epoch + 1, epochs, total * 64 / len(inputs))
        inputs, labels = draw(rng)
    network.eval()


def export(network: nn.Module, name: str, side: int) -> None:
    """Write the ONNX file: BatchNorm kept apart, batch axis named N."""
    path = DATA / f"{name}.onnx"
    torch.onnx.export(
        network,
        (torch.zeros(2, 1, side, side),),
        str(path),
        input_names=["image"],
        output_names=["logits"],
        dynamic_axes={"image": {0: "N"}, "logits": {0: "N"}},
        opset_version=17,
        training=torch.onnx.TrainingMode.PRESERVE,
        do_constant_folding=False,
        dynamo=False,  # the newer exporter folds BatchNorm and writes a second file
    )
    log.info("%s: %d bytes", path.name, path.stat().st_size)


def write_images(
    name: str, images: np.ndarray, labels: np.ndarray, calibration: np.ndarray
) -> None:
    """Write the held-out images with labels and, from the training part, calibration images."""
    np.savez_compressed(
        DATA / f"{name}.npz",
        images=images,
        labels=labels.astype(np.uint8),
        calibration=calibration,
    )


def top1(network: nn.Module, inputs: np.ndarray, labels: np.ndarray) -> float:
    """Share of right answers."""
    with torch.no_grad():
        answers = network(torch.from_numpy(inputs)).argmax(1).numpy()
    return float((answers == labels).mean())


def make_digits(training: tasks.Part, held: tasks.Part) -> None:
    """Train, judge and write ``digits``."""

    def draw(rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
        pixels = np.pad(training.images, ((0, 0), (1, 1), (1, 1))).astype(np.float32) / 16
        dy, dx = rng.integers(0, 3, (2, len(pixels), 1, 1))
        rows = dy + np.arange(8).reshape(1, 8, 1)
        columns = dx + np.arange(8).reshape(1, 1, 8)
        return pixels[np.arange(len(pixels))[:, None, None], rows, columns][
            :, None
        ], training.labels

    network = Digits()
    train(network, draw, epochs=60)
    inputs = held.images[:, None].astype(np.float32) / 16
    log.info("digits: top-1 %.4f", top1(network, inputs, held.labels))
    export(network, "digits", 8)
    write_images("digits", held.images, held.labels, training.images[:CALIBRATION])


def make_digits_mobile(training: tasks.Part, held: tasks.Part, uneven: int) -> None:
    """Train, judge, make uneven and write ``digits_mobile``."""
    scenes = tasks.scenes(held, np.random.default_rng(tasks.SCENE_SEED))
    inputs = scenes[:, None].astype(np.float32) / tasks.SCENE_LEVELS

    def draw(rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
        drawn = tasks.scenes(training, rng)[:, None].astype(np.float32) / tasks.SCENE_LEVELS
        return drawn, training.labels

    network = DigitsMobile()
    train(network, draw, epochs=200)
    log.info("digits_mobile: top-1 %.4f", top1(network, inputs, held.labels))
    with torch.no_grad():
        even = network(torch.from_numpy(inputs))
        make_uneven(network, uneven, torch.from_numpy(draw(np.random.default_rng(SEED))[0]))
        change = (network(torch.from_numpy(inputs)) - even).abs().max().item()
    log.info("digits_mobile: uneven by %d changes no logit by more than %g", uneven, change)
    export(network, "digits_mobile", tasks.SCENE_SIDE)
    calibration = tasks.scenes(training, np.random.default_rng(tasks.CALIBRATION_SEED))
    write_images("digits_mobile", scenes, held.labels, calibration[:CALIBRATION])


def main(arguments: Sequence[str] | None = None) -> None:
    """Train what the command line names."""
    parser = argparse.ArgumentParser(description="Train the shipped networks.")
    parser.add_argument("names", nargs="+", choices=["digits", "digits_mobile"])
    parser.add_argument(
        "--uneven",
        type=power_of_two,
        default=UNEVEN,
        metavar="FACTOR",
        help="how far depthwise filters of digits_mobile are driven apart; a power of two, "
        "1 leaves them as trained (default %(default)s)",
    )
    options = parser.parse_args(arguments)
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    digits = load_digits()
    training, held = tasks.split(digits.images, digits.target)
    for name in options.names:
        torch.manual_seed(SEED)
        if name == "digits":
            make_digits(training, held)
        else:
            make_digits_mobile(training, held, options.uneven)


if __name__ == "__main__":
    main()
