"""What device.py and our measuring loop are worth on a real GPU: ``python -m benchmarks.gpu OUT``.

A kernel spins on the GPU's own clock, so that its duration is known, and writes when it began and
ended. Our loop (``sampling`` with ``Queries``) times it by events and is held against that.
TensorRT is not needed. Writes JSON with machine and load; a broken limit is told and exits 0.
"""

from __future__ import annotations

import argparse
import functools
import json
import os
import time
import traceback
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.figures import Figure, median_figure
from trtlab import device, sampling, stats
from trtlab.backends.tensorrt.queries import Queries
from trtlab.environment import capture, version
from trtlab.errors import ExecutionError
from trtlab.record import GpuConditions
from trtlab.verbs.benchmark import GpuWatch
from trtlab.views.tables import Table

PACKAGES = ("cuda-core", "cuda-bindings", "nvidia-ml-py")
DURATIONS_US = (5, 10, 20, 50, 100, 200, 1_000, 10_000)
RING = 4000
"""Launches that the kernel remembers; 1, 10 and 100 divide it."""

LOOP_PAIRS = 1_000
LOOP_BLOCK = 20
MIB = 2**20
_NONE = float("inf")
"""The limit of a figure that has none."""

KERNEL = r"""
__device__ __forceinline__ unsigned long long nanoseconds() {
  unsigned long long now;
  asm volatile("mov.u64 %0, %globaltimer;" : "=l"(now));
  return now;
}

// Spins for so many cycles of its multiprocessor's clock. The first thread writes when it began
// and ended, by the global timer and in cycles, into the next row of a ring. Which row that is, is
// read before spinning, so that no more than the writing comes after the end.
extern "C" __global__ void spin(long long cycles, unsigned long long *ring,
                                volatile unsigned long long *launches, unsigned long long rows) {
  unsigned long long began = nanoseconds();
  unsigned long long launch = *launches;
  unsigned long long *row = ring + 3 * (launch % rows);
  long long first = clock64(), last = first;
  while (last - first < cycles) last = clock64();
  unsigned long long ended = nanoseconds();
  if (blockIdx.x == 0 && threadIdx.x == 0) {
    row[0] = began;
    row[1] = ended;
    row[2] = (unsigned long long)(last - first);
    *launches = launch + 1;
  }
}

// Writes the steps that the global timer moves in.
extern "C" __global__ void ticks(unsigned long long *steps, unsigned long long count) {
  unsigned long long before = nanoseconds();
  for (unsigned long long i = 0; i < count;) {
    unsigned long long now = nanoseconds();
    if (now != before) {
      steps[i++] = now - before;
      before = now;
    }
  }
}
"""


@dataclass(frozen=True, slots=True)
class Spinner:
    """The kernel with its ring, on one stream."""

    gpu: device.Gpu
    stream: device.Stream
    ring: device.Buffer
    launches: device.Buffer
    kernel: Any
    launch: Callable[..., None]
    config: Any

    @classmethod
    def on(cls, gpu: device.Gpu, kernel: Any, blocks: int = 1, threads: int = 1) -> Spinner:
        """Return one on a stream of its own."""
        from cuda.core import LaunchConfig, launch

        stream = gpu.stream()
        ring, launches = gpu.allocate(RING * 24, stream), gpu.allocate(8, stream)
        made = cls(
            gpu, stream, ring, launches, kernel, launch, LaunchConfig(grid=blocks, block=threads)
        )
        made.forget()
        return made

    def forget(self) -> None:
        """Begin the ring anew."""
        zeros = self.gpu.pinned(8)
        zeros.array[:] = 0
        self.launches.copy_from(zeros.buffer, stream=self.stream)
        self.stream.sync()
        zeros.buffer.close()

    def queue(self, cycles: int, count: int = 1) -> None:
        """Queue ``count`` kernels."""
        for _ in range(count):
            self.launch(
                self.stream,
                self.config,
                self.kernel,
                np.int64(cycles),
                self.ring,
                self.launches,
                np.uint64(RING),
            )

    def graph(self, cycles: int, count: int = 1) -> device.Graph:
        """Return a graph of ``count`` kernels."""
        return self.gpu.capture(self.stream, functools.partial(self.queue, cycles, count))

    def rows(self) -> np.ndarray:
        """Return begin (ns), end (ns) and cycles of what the ring remembers, oldest unsorted."""
        pinned, made = self.gpu.pinned(RING * 24), self.gpu.pinned(8)
        pinned.buffer.copy_from(self.ring, stream=self.stream)
        made.buffer.copy_from(self.launches, stream=self.stream)
        self.stream.sync()
        count = min(RING, int(made.array.view(np.uint64)[0]))
        found = pinned.array.view(np.uint64).reshape(RING, 3)[:count].astype(np.int64)
        for each in (pinned, made):
            each.buffer.close()
        return found

    def work(self, cycles: int, *, graph: bool, count: int = 1) -> Callable[[], object]:
        """Return what queues ``count`` kernels, plainly or as a graph."""
        if not graph:
            return functools.partial(self.queue, cycles, count)
        return functools.partial(self.graph(cycles, count).launch, self.stream)


@dataclass(frozen=True, slots=True)
class Bench:
    """What all parts share."""

    gpu: device.Gpu
    kernel: Any
    cycles_per_us: float
    timer_step_ns: float

    def cycles(self, microseconds: float) -> int:
        """Return the cycles of a duration at the clock that was seen."""
        return round(microseconds * self.cycles_per_us)

    def own_ns(self, rows: np.ndarray) -> float:
        """Return the median duration that the kernel saw itself.

        By the global timer where its step is fine enough, else by cycles at the clock that the
        timer gives over all rows.
        """
        by_timer = rows[:, 1] - rows[:, 0]
        if self.timer_step_ns <= 64:
            return float(np.median(by_timer))
        return float(np.median(rows[:, 2]) * by_timer.sum() / rows[:, 2].sum())


def prepare() -> Bench:
    """Compile the kernel and learn the clocks."""
    from cuda.core import LaunchConfig, Program, ProgramOptions, launch

    gpu = device.open_gpu()
    major, minor = gpu.compute_capability
    options = ProgramOptions(std="c++17", arch=f"sm_{major}{minor}")
    program = Program(KERNEL, "c++", options).compile("cubin")
    stream, count = gpu.stream(), 200
    steps, host = gpu.allocate(8 * count, stream), gpu.pinned(8 * count)
    launch(
        stream, LaunchConfig(grid=1, block=1), program.get_kernel("ticks"), steps, np.uint64(count)
    )
    host.buffer.copy_from(steps, stream=stream)
    stream.sync()
    step = float(np.median(host.array.view(np.uint64)))
    spinner = Spinner.on(gpu, program.get_kernel("spin"))
    for _ in range(30):  # the clock rises under load first
        spinner.queue(20_000_000)
    spinner.stream.sync()
    spinner.forget()
    spinner.queue(20_000_000, 10)
    rows = spinner.rows()
    rate = float(rows[:, 2].sum() / (rows[:, 1] - rows[:, 0]).sum() * 1e3)
    return Bench(gpu, program.get_kernel("spin"), rate, step)


def timing_figures(bench: Bench) -> list[Figure]:
    """Event time of our loop against what a kernel costs the GPU, plain and as a graph."""
    found = []
    for label, count in (("nothing", 0), ("an empty kernel", 1)):
        # What two events take by themselves: part of every error below.
        spinner = Spinner.on(bench.gpu, bench.kernel)
        work = functools.partial(spinner.queue, 0, count)
        taken = _steady_compute_ns(Queries(bench.gpu, spinner.stream, work))
        found.append(
            Figure(f"events around {label}", stats.median(taken) / 1e3, "µs", _NONE, len(taken))
        )
    for microseconds in DURATIONS_US:
        medians = {}
        for graph in (False, True):
            spinner = Spinner.on(bench.gpu, bench.kernel)
            work = spinner.work(bench.cycles(microseconds), graph=graph)
            taken = _steady_compute_ns(Queries(bench.gpu, spinner.stream, work))
            own = bench.own_ns(spinner.rows())
            cost = _back_to_back_ns(bench, microseconds, graph=graph)
            medians[graph] = stats.median(taken)
            how = f"{microseconds} µs, " + ("graph" if graph else "plain")
            beyond = (medians[graph] - own) / 1e3
            error_us = abs(medians[graph] - cost) / 1e3
            found.append(Figure(f"  beyond the kernel's inside, {how}", beyond, "µs", _NONE, 1))
            label = f"event time − cost of one more, {how}"
            if microseconds < 200:
                found.append(Figure(label, error_us, "µs", 2.0, len(taken)))
            else:
                found.append(Figure(label, error_us * 1e3 / cost * 100, "%", 1.0, len(taken)))
        found.append(
            Figure(
                f"  |graph − plain|, {microseconds} µs",
                abs(medians[True] - medians[False]) / 1e3,
                "µs",
                max(2.0, microseconds / 100),
                2,
            )
        )
    return found


def _back_to_back_ns(bench: Bench, microseconds: int, *, graph: bool) -> float:
    """Return what one more kernel costs the GPU: from begin to begin, queued without a gap.

    That holds starting and draining it, which a kernel cannot see from inside. All are queued
    while a long kernel runs, so that the host has no part in it.
    """
    count = 60
    spinner = Spinner.on(bench.gpu, bench.kernel)
    work = spinner.work(bench.cycles(microseconds), graph=graph)
    work()
    spinner.stream.sync()
    spinner.forget()
    spinner.queue(bench.cycles(20_000))
    for _ in range(count):
        work()
    return float(np.median(np.diff(spinner.rows()[1:, 0])))


def slope_figures(bench: Bench) -> list[Figure]:
    """Event time over 1, 10, 100 kernels against the period that the kernels saw themselves."""
    found = []
    for microseconds in (5, 10, 20):
        times, periods = {}, {}
        for count in (1, 10, 100):
            spinner = Spinner.on(bench.gpu, bench.kernel)
            work = spinner.work(bench.cycles(microseconds), graph=True, count=count)
            taken = _steady_compute_ns(Queries(bench.gpu, spinner.stream, work))
            times[count] = stats.median(taken)
            begins = spinner.rows()[:, 0]
            batches = begins[: len(begins) // count * count].reshape(-1, count)
            if count > 1:
                periods[count] = float(np.median((batches[:, -1] - batches[:, 0]) / (count - 1)))
        for few, many in ((1, 10), (1, 100), (10, 100)):
            slope = (times[many] - times[few]) / (many - few)
            error = abs(slope / periods[many] - 1) * 100
            found.append(
                Figure(f"slope {few}→{many} kernels of {microseconds} µs", error, "%", 2.0, 3)
            )
    return found


def loop_figures(bench: Bench) -> list[Figure]:
    """Our loop's period minus that of bare graph replays, in alternating blocks."""
    found = []
    for microseconds in (5, 20, 100):
        spinner = Spinner.on(bench.gpu, bench.kernel)
        stream, graph = spinner.stream, spinner.graph(bench.cycles(microseconds))
        queries = Queries(bench.gpu, stream, functools.partial(graph.launch, stream))
        queued, synced = [], []
        for pair in range(LOOP_PAIRS):
            order = ("ours", "queued", "synced") if pair % 2 else ("synced", "queued", "ours")
            took = {name: _block_ns(name, queries, graph, stream) for name in order}
            queued.append((took["ours"] - took["queued"]) / LOOP_BLOCK / 1e3)
            synced.append((took["ours"] - took["synced"]) / LOOP_BLOCK / 1e3)
        found += [
            median_figure(
                f"our loop − bare replays queued at once, {microseconds} µs", queued, "µs", 5.0
            ),
            median_figure(
                f"our loop − bare replays, each waited for, {microseconds} µs", synced, "µs", 5.0
            ),
        ]
    return found


def _block_ns(name: str, queries: Queries, graph: device.Graph, stream: device.Stream) -> int:
    clock = time.perf_counter_ns
    stream.sync()
    begin = clock()
    if name == "ours":
        _, end = sampling.event_timed_calls(
            queries, clock, until_ns=0, least=LOOP_BLOCK, most=LOOP_BLOCK
        )
        return end - begin
    for _ in range(LOOP_BLOCK):
        graph.launch(stream)
        if name == "synced":
            stream.sync()
    stream.sync()
    return clock() - begin


def transfer_figures(bench: Bench) -> list[Figure]:
    """H2D and D2H parts against size: the rate, and whether the bytes arrive."""
    found = []
    for size in (64 * 1024, MIB, 16 * MIB, 128 * MIB):
        spinner = Spinner.on(bench.gpu, bench.kernel)
        stream = spinner.stream
        source, back = bench.gpu.pinned(size), bench.gpu.pinned(size)
        source.array[:] = np.random.default_rng(size).integers(0, 256, size, np.uint8)
        there = bench.gpu.allocate(size, stream)
        queries = Queries(
            bench.gpu,
            stream,
            spinner.work(bench.cycles(20), graph=True),
            copy_in=functools.partial(there.copy_from, source.buffer, stream=stream),
            copy_out=functools.partial(
                back.buffer.copy_from, bench.gpu.view(there, size), stream=stream
            ),
        )
        samples = sampling.measure([queries], sampling.QUICK)
        parts = [w.parts for w in samples.windows[samples.steady_from :] if w.parts is not None]
        label = f"{size / MIB:g} MiB"
        for name in ("h2d", "d2h"):
            times = [ns for p in parts for ns in getattr(p, f"{name}_ns")]
            rate = size / stats.median(times)
            found.append(Figure(f"{name} {label}", rate, "GB/s", _NONE, len(times)))
        wrong = int((source.array != back.array).sum())
        found.append(Figure(f"  bytes that came back wrong, {label}", wrong, "", 0, size))
        for each in (source.buffer, back.buffer):
            each.close()
        there.close(stream)
    return found


def capture_figures(bench: Bench) -> list[Figure]:
    """What cannot be captured is refused, and the stream can be used and captured again."""
    spinner = Spinner.on(bench.gpu, bench.kernel)
    refused = 0
    try:
        bench.gpu.capture(spinner.stream, spinner.stream.sync)
    except ExecutionError as error:
        print(f"refused capture: {error.message}\n{error.details}")
        refused = 1
    spinner.queue(0, 3)
    graph = spinner.graph(0, 4)
    graph.launch(spinner.stream)
    runs = len(spinner.rows())
    return [
        Figure("captures of a synchronisation not refused", 1 - refused, "", 0, 1),
        Figure("kernels lost after a refused capture", abs(7 - runs), "", 0, 7),
    ]


def overlap_figures(bench: Bench) -> list[Figure]:
    """Two streams take as long as one: their kernels run at once."""
    spinners = [Spinner.on(bench.gpu, bench.kernel) for _ in range(2)]
    calls = [
        Queries(bench.gpu, s.stream, s.work(bench.cycles(1_000), graph=True)) for s in spinners
    ]
    rates = []
    for few in (calls[:1], calls):
        samples = sampling.measure(few, sampling.QUICK)
        steady = samples.windows[samples.steady_from :]
        rates.append(sum(len(w.latencies_ns) for w in steady) / sum(w.wall_ns for w in steady))
    return [Figure("two streams: time for twice the work", 2 * rates[0] / rates[1], "×", 1.1, 2)]


def sensor_figures(bench: Bench) -> tuple[list[Figure], dict[str, Any]]:
    """Sensors and energy over a stretch of work on the whole GPU; a known allocation."""
    figures = []
    with ExitStack() as stack:
        watch = GpuWatch(stack)
        spinner = Spinner.on(bench.gpu, bench.kernel, blocks=264, threads=256)
        calls = [Queries(bench.gpu, spinner.stream, spinner.work(bench.cycles(1_000), graph=True))]
        samples = sampling.measure(calls, sampling.FULL)
        conditions = watch.conditions(samples)
        joules, note = watch.energy(calls, samples, quick=False)
        short, why_not = watch.energy(calls, samples, quick=True)
        before = watch.free_bytes()
        stream = bench.gpu.stream()
        buffer = bench.gpu.allocate(1024 * MIB, stream)
        stream.sync()
        after = watch.free_bytes()
        buffer.close(stream)
    if before is not None and after is not None:
        off = abs(before - after - 1024 * MIB) / MIB
        figures.append(Figure("growth by 1 GiB, difference", off, "MiB", 64.0, 1))
    if joules is not None and conditions is not None and conditions.power_watts is not None:
        # One call takes about a millisecond: watts by the counter against watts by the sensor. The
        # counter's stretch comes after the sensor's windows, when the GPU is warmer: no limit.
        watts = joules / (_period_ns(samples) / 1e9)
        off = abs(watts / conditions.power_watts - 1) * 100
        figures.append(Figure("energy counter against power sensor", off, "%", _NONE, 1))
    return figures, {
        "conditions": asdict(conditions or GpuConditions(samples=0)),
        "joules_of_a_call": joules,
        "energy_note": note,
        "joules_of_a_quick_run": short,
        "quick_note": why_not,
        "stable": samples.stable,
        "throttled_by": conditions.throttled_by if conditions else None,
    }


def _period_ns(samples: sampling.Samples) -> float:
    steady = samples.windows[samples.steady_from :]
    return sum(w.wall_ns for w in steady) / sum(len(w.latencies_ns) for w in steady)


def _steady_compute_ns(queries: Queries) -> list[int]:
    samples = sampling.measure([queries], sampling.QUICK)
    steady = samples.windows[samples.steady_from :]
    return [ns for w in steady for ns in w.latencies_ns]


def main() -> int:
    """Run all parts; a part that fails is told and the others go on."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("out", type=Path, help="JSON file to write")
    out: Path = parser.parse_args().out
    load_before = os.getloadavg()[0]
    begin = time.perf_counter()
    bench = prepare()
    figures: list[Figure] = []
    sensors: dict[str, Any] = {}
    failures: dict[str, str] = {}

    def sensor_part(bench: Bench) -> list[Figure]:
        found, facts = sensor_figures(bench)
        sensors.update(facts)
        return found

    parts: tuple[Callable[[Bench], list[Figure]], ...] = (
        timing_figures,
        slope_figures,
        loop_figures,
        capture_figures,
        # Before the copies: freed buffers stay in CUDA's pool and would hide an allocation.
        sensor_part,
        transfer_figures,
        overlap_figures,
    )
    for part in parts:
        try:
            figures += part(bench)
        except Exception:  # noqa: BLE001 - what one part finds must not be lost by another
            failures[part.__name__] = traceback.format_exc()
    environment = capture(PACKAGES)
    rows = tuple(
        (
            f.name,
            f"{f.value:.3g} {f.unit}",
            f.interval_text(),
            "" if f.limit == _NONE else f"≤ {f.limit:g}",
            "" if f.limit == _NONE else f.verdict(),
        )
        for f in figures
    )
    print(Table(("Figure", "Measured", "95 %", "Limit", ""), rows, frozenset({1, 2, 3})).text())
    print(f"\n{bench.gpu.name}, driver {environment.driver}, load before {load_before:.2f}")
    print(f"SM clock {bench.cycles_per_us:,.0f} MHz, timer step {bench.timer_step_ns:.0f} ns")
    for name, value in sensors.items():
        print(f"{name}: {value}")
    for name, text in failures.items():
        print(f"\n{name} FAILED\n{text}")
    result = {
        "gpu": bench.gpu.name,
        "compute_capability": bench.gpu.compute_capability,
        "versions": device.versions() | {name: version(name) for name in PACKAGES},
        "environment": asdict(environment),
        "load_before": load_before,
        "load_after": os.getloadavg()[0],
        "seconds": time.perf_counter() - begin,
        "sm_clock_mhz": bench.cycles_per_us,
        "timer_step_ns": bench.timer_step_ns,
        "figures": [asdict(f) | {"limit": None if f.limit == _NONE else f.limit} for f in figures],
        "sensors": sensors,
        "failures": failures,
    }
    out.write_text(json.dumps(result, indent=1) + "\n")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
