"""What makes two runs comparable: the machine, its processor, library versions, its load."""

from __future__ import annotations

import ctypes
import functools
import hashlib
import os
import platform
import shutil
import subprocess
import sys
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import UTC, datetime
from importlib import metadata
from pathlib import Path

import psutil

from trtlab.record import Environment

_ALWAYS = ("trtlab", "numpy", "onnx")
_NO_MATTER = {"trtlab", "onnx"}
"""Packages whose version changes no measured number."""


def capture(packages: Iterable[str] = ()) -> Environment:
    """Describe this machine now, with the versions of ``packages`` (distribution names)."""
    return Environment(
        machine=machine_id(),
        cpu=_cpu_model(),
        cores=available_cores(),
        memory_bytes=psutil.virtual_memory().total,
        os=f"{platform.system()} {platform.release()} {platform.machine()}",
        python=platform.python_version(),
        packages={name: v for name in (*_ALWAYS, *packages) if (v := version(name)) is not None},
        # By CUDA's own answer: it heeds CUDA_VISIBLE_DEVICES, nvidia-smi does not.
        gpu=gpu_state().name or _nvidia()[0],
        driver=_nvidia()[1] or _cuda_text(gpu_state().cuda_version),
        created=datetime.now(UTC).isoformat(timespec="seconds"),
        load_average=round(os.getloadavg()[0], 2) if hasattr(os, "getloadavg") else None,
    )


@functools.cache
def version(distribution: str) -> str | None:
    """Return the installed version of a distribution, or None."""
    try:
        return metadata.version(distribution)
    except metadata.PackageNotFoundError:
        return None


def available_cores() -> int:
    """Return how many cores this process may use: its affinity, not what the machine has."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


@functools.cache
def machine_id() -> str:
    """Return a stable hash of this machine; its host name never leaves it."""
    parts = [_cpu_model(), str(psutil.cpu_count())]
    for file in ("/etc/machine-id", "/var/lib/dbus/machine-id"):
        try:
            parts.append(Path(file).read_text().strip())
            break
        except OSError:
            continue
    else:
        parts.append(platform.node())  # the host's name may change with its network
    return hashlib.sha256("\n".join(parts).encode()).hexdigest()[:16]


@functools.cache
def _nvidia() -> tuple[str | None, str | None]:
    """Return name and driver of the first NVIDIA GPU, or None twice.

    By the driver's own command, which is there exactly when a driver is; needs no package.
    """
    command = shutil.which("nvidia-smi")
    if command is None:
        return None, None
    query = [command, "--query-gpu=name,driver_version", "--format=csv,noheader"]
    try:
        said = subprocess.run(query, capture_output=True, text=True, timeout=10, check=True)
    except (OSError, subprocess.SubprocessError):
        return None, None
    name, _, driver = said.stdout.partition("\n")[0].rpartition(", ")
    return name or None, driver or None


@dataclass(frozen=True, slots=True)
class GpuState:
    """What CUDA's driver says of the first GPU that this process may use.

    Attributes:
        compute_capability: Such as ``(8, 9)``; None without a usable GPU.
        memory_bytes: Of the whole GPU, None without a usable one.
        cuda_version: The CUDA version that the driver supports, such as ``(13, 0)``.
        reason: Why there is no usable GPU; empty if there is one.
        name: Its name; a part of a GPU (MIG) has one of its own.
    """

    compute_capability: tuple[int, int] | None = None
    memory_bytes: int | None = None
    cuda_version: tuple[int, int] | None = None
    reason: str = ""
    name: str | None = None

    @property
    def usable(self) -> bool:
        """Whether there is a GPU to run on."""
        return not self.reason


# cuda.h: CUresult and CUdevice_attribute.
_CUDA_ERRORS = {
    3: "the driver is not initialised",
    34: "the driver found is a stub without a GPU behind it",
    100: "the driver sees no GPU (is CUDA_VISIBLE_DEVICES set?)",
    803: "driver and kernel module are of different versions: restart the machine",
    804: "the driver is too old for this CUDA",
    999: "the driver failed for an unknown reason",
}
_MAJOR, _MINOR = 75, 76


@functools.cache
def gpu_state() -> GpuState:
    """Ask CUDA's driver library, which heeds CUDA_VISIBLE_DEVICES and makes no context for this.

    By ctypes, so that it needs no package and can name what is missing. Numbers are those of
    ``cuda.h``, unchanged since CUDA 5.
    """
    try:
        driver = ctypes.CDLL("nvcuda.dll" if sys.platform == "win32" else "libcuda.so.1")
    except OSError:
        return GpuState(reason="no NVIDIA driver is installed")
    version_number, count = ctypes.c_int(), ctypes.c_int()
    found = driver.cuDriverGetVersion(ctypes.byref(version_number)) == 0
    cuda = divmod(version_number.value // 10, 100) if found else None
    failed = driver.cuInit(0) or driver.cuDeviceGetCount(ctypes.byref(count))
    if failed or count.value == 0:
        code = failed or 100
        reason = _CUDA_ERRORS.get(code, f"the driver answers with CUDA error {code}")
        return GpuState(cuda_version=cuda, reason=reason)
    device, major, minor = ctypes.c_int(), ctypes.c_int(), ctypes.c_int()
    size, name = ctypes.c_size_t(), ctypes.create_string_buffer(256)
    failed = (
        driver.cuDeviceGet(ctypes.byref(device), 0)
        or driver.cuDeviceGetName(name, len(name), device)
        or driver.cuDeviceGetAttribute(ctypes.byref(major), _MAJOR, device)
        or driver.cuDeviceGetAttribute(ctypes.byref(minor), _MINOR, device)
        or driver.cuDeviceTotalMem_v2(ctypes.byref(size), device)
    )
    if failed:
        return GpuState(cuda_version=cuda, reason=f"the driver answers with CUDA error {failed}")
    capability = (major.value, minor.value)
    return GpuState(capability, size.value, cuda, name=name.value.decode(errors="replace"))


def _cuda_text(version: tuple[int, int] | None) -> str | None:
    """Name a driver by its CUDA version, where its own version is not to be had."""
    return None if version is None else f"CUDA {version[0]}.{version[1]}"


@functools.cache
def _cpu_model() -> str:
    if sys.platform == "linux":
        try:
            for line in Path("/proc/cpuinfo").read_text().splitlines():
                if line.startswith(("model name", "Model")):
                    return line.partition(":")[2].strip()
        except OSError:
            pass
    return platform.processor() or platform.machine()


def cpu_seconds() -> float:
    """Return the seconds that all cores together have been busy since the machine started."""
    times = psutil.cpu_times()
    return float(times.user + times.system + getattr(times, "nice", 0.0))


def conditions(environment: Environment) -> list[object]:
    """Return what ``differences`` looks at, to be part of a result's key."""
    e = environment
    packages = sorted((n, v) for n, v in e.packages.items() if n not in _NO_MATTER)
    # NVIDIA's switch for TF32 overrules every setting of a library.
    override = os.environ.get("NVIDIA_TF32_OVERRIDE")
    return [e.machine, e.cores, e.gpu, e.driver, e.os, packages, override]


def differences(a: Environment, b: Environment) -> list[str]:
    """Say in words what keeps ``a`` and ``b`` from being the same conditions; empty if nothing.

    Load and time do not count here: they belong to each run's own caveats.
    """
    found = []
    if a.machine is None or b.machine is None:
        found.append("machine (not known whether it is one)")
    elif a.machine != b.machine:
        found.append(f"machine ({a.gpu or a.cpu}, {b.gpu or b.cpu})")
    elif a.cores != b.cores:
        found.append(f"usable cores ({a.cores}, {b.cores})")
    if a.gpu != b.gpu or a.driver != b.driver:
        found.append(f"GPU or driver ({a.gpu} {a.driver}, {b.gpu} {b.driver})")
    if a.os != b.os:
        found.append(f"operating system ({a.os}, {b.os})")
    for name in sorted({*a.packages, *b.packages} - _NO_MATTER):
        old, new = a.packages.get(name), b.packages.get(name)
        if old != new:
            found.append(f"{name} ({old or 'absent'}, {new or 'absent'})")
    return found
