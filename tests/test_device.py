"""device.py without a GPU: what it says when something is missing, and how it reads sensors."""

import ctypes.util
import subprocess
import sys
import types

import pytest

from tests.backends.tensorrt import fakes
from trtlab import device
from trtlab.errors import BackendUnavailableError, ExecutionError, PlanError
from trtlab.record import GpuConditions

HAS_DRIVER = ctypes.util.find_library("cuda") is not None


@pytest.fixture
def gpu(monkeypatch):
    made = fakes.Gpu()
    made.cuda = fakes.Cuda(made)
    made.cuda.install(monkeypatch)
    return made


def unavailable(index=0):
    with pytest.raises(BackendUnavailableError) as caught:
        device.open_gpu(index)
    assert caught.value.hint
    return caught.value.message


def test_importing_it_needs_no_package():
    code = (
        "import sys\n"
        "for name in ('cuda', 'cuda.core', 'cuda.bindings', 'pynvml'): sys.modules[name] = None\n"
        "from trtlab import device, record\n"
    )
    subprocess.run([sys.executable, "-c", code], check=True, timeout=60)


def test_what_the_gpu_is(gpu):
    found = device.open_gpu()
    assert (found.name, found.compute_capability) == ("Fake GPU", (8, 9))
    assert found.memory() == device.FreeMemory(gpu.total, gpu.total)
    assert device.versions() == {"cuda_driver": "13.0", "cuda_runtime": "13.5"}


# Why there is none


def test_no_package(monkeypatch):
    monkeypatch.setitem(sys.modules, "cuda", None)
    monkeypatch.setitem(sys.modules, "cuda.core", None)
    assert "cuda" in unavailable()
    assert device.versions() == {"cuda_driver": None, "cuda_runtime": None}


def test_an_old_cuda_core(gpu):
    del gpu.cuda.core.Device
    gpu.cuda.core.__version__ = "0.3.2"
    assert "0.3.2 is too old" in unavailable()


def test_no_driver(gpu):
    gpu.cuda.driver_version = 0
    assert "no NVIDIA driver" in unavailable()


def test_an_old_driver(gpu):
    gpu.cuda.driver_version = 12040
    gpu.cuda.count = (fakes.Code(35, "cudaErrorInsufficientDriver"), None)
    message = unavailable()
    assert "CUDA 12.4" in message
    assert "13.5" in message


def test_no_gpu_that_this_process_may_use(gpu, monkeypatch):
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "7")
    gpu.cuda.count = (fakes.Code(100, "cudaErrorNoDevice"), None)
    assert "CUDA_VISIBLE_DEVICES is '7'" in unavailable()
    gpu.cuda.count = (fakes.SUCCESS, 1)
    assert "no GPU number 1" in unavailable(1)


def test_a_gpu_that_does_not_work(gpu):
    gpu.cuda.count = (fakes.Code(999, "cudaErrorUnknown"), None)
    assert "cudaErrorUnknown" in unavailable()
    gpu.cuda.count = (fakes.SUCCESS, 1)

    def broken(_index=0):
        raise RuntimeError("libcuda.so.1 is broken")

    gpu.cuda.core.Device = broken
    assert "libcuda.so.1 is broken" in unavailable()


@pytest.mark.skipif(HAS_DRIVER, reason="there is an NVIDIA driver")
def test_the_real_packages_without_a_driver():
    pytest.importorskip("cuda.core", reason="no cuda-core")
    assert "no NVIDIA driver" in unavailable()


# Buffers, copies, graphs


def test_bytes_go_to_the_gpu_and_back(gpu):
    found = device.open_gpu()
    stream = found.stream()
    source, back = found.pinned(64), found.pinned(32)
    there = found.allocate(64, stream)
    source.array[:] = range(64)
    there.copy_from(source.buffer, stream=stream)
    back.buffer.copy_from(found.view(there, 32), stream=stream)
    assert set(back.array) == {fakes.GARBAGE}  # not yet
    stream.sync()
    assert list(back.array) == list(range(32))


def test_no_memory_says_how_much_is_free(gpu):
    found = device.open_gpu()
    with pytest.raises(ExecutionError, match=r"1\.00 GiB are free"):
        found.allocate(2 * gpu.total, found.stream())


def test_free_memory_that_cuda_does_not_tell_is_unknown(gpu):
    gpu.cuda.memory_error = fakes.Code(999, "cudaErrorUnknown")
    assert device.open_gpu().memory() is None


def test_events_take_the_time_of_what_lies_between(gpu):
    found = device.open_gpu()
    stream, begin, end = found.stream(), found.event(), found.event()
    stream.record(begin)
    stream.put(fakes.Op("work", 12_345))
    stream.record(end)
    end.sync()
    assert device.elapsed_ns(begin, end) == 12_345


def test_a_capture_does_nothing_until_it_is_launched(gpu):
    found = device.open_gpu()
    stream, done = found.stream(), []
    graph = found.capture(stream, lambda: stream.put(fakes.Op("work", 5, lambda: done.append(1))))
    stream.sync()
    assert done == []
    for _ in range(3):
        graph.launch(stream)
    stream.sync()
    assert done == [1, 1, 1]


def test_a_failed_capture_leaves_the_stream_usable(gpu):
    found = device.open_gpu()
    stream, done = found.stream(), []
    with pytest.raises(ExecutionError, match="CAPTURE_UNSUPPORTED"):
        found.capture(stream, stream.sync)

    def refuse():
        raise ExecutionError("not now")

    with pytest.raises(ExecutionError, match="not now"):
        found.capture(stream, refuse)
    stream.put(fakes.Op("work", 5, lambda: done.append(1)))
    stream.sync()
    assert done == [1]


def test_other_errors_are_left_alone():
    with pytest.raises(ZeroDivisionError), device.cuda_errors("Dividing"):
        _ = 1 / 0
    with pytest.raises(PlanError, match="mine"), device.cuda_errors("Loading"):
        raise PlanError("mine")


def test_an_error_that_cuda_core_gives_no_type_of_its_own_is_told_too():
    with (
        pytest.raises(ExecutionError, match="Running the engine failed") as caught,
        device.cuda_errors("Running the engine"),
    ):
        raise RuntimeError("CUDA_ERROR_INVALID_VALUE: graph instantiation failed")
    assert "graph instantiation" in caught.value.details


# Sensors


class Nvml(types.ModuleType):
    """As much of pynvml as is asked for; every function may be missing or refuse."""

    class NVMLError(Exception):
        pass

    NVML_CLOCK_SM, NVML_CLOCK_MEM, NVML_TEMPERATURE_GPU = 1, 2, 0

    def __init__(self):
        super().__init__("pynvml")
        reasons = {"None": 0, "GpuIdle": 1, "SwPowerCap": 4, "All": 7}
        reasons |= {"ApplicationsClocksSetting": 2, "UserDefinedClocks": 2}
        vars(self).update({f"nvmlClocksEventReason{n}": bit for n, bit in reasons.items()})
        self.handles = []
        self.bits, self.millijoules = 0, 5_000

    def nvmlInit(self):  # noqa: N802
        pass

    def nvmlDeviceGetHandleByPciBusId(self, address):  # noqa: N802
        self.handles.append(address)
        return "a handle"

    def nvmlDeviceGetHandleByUUID(self, uuid):  # noqa: N802
        self.handles.append(uuid)
        return "a handle"

    def nvmlDeviceGetClockInfo(self, handle, kind):  # noqa: N802
        return {1: 1980, 2: 3201}[kind]

    def nvmlDeviceGetPowerUsage(self, handle):  # noqa: N802
        return 320_500

    def nvmlDeviceGetTemperature(self, handle, kind):  # noqa: N802
        return 54

    def nvmlDeviceGetCurrentClocksEventReasons(self, handle):  # noqa: N802
        return self.bits

    def nvmlDeviceGetTotalEnergyConsumption(self, handle):  # noqa: N802
        return self.millijoules


@pytest.fixture
def nvml(gpu, monkeypatch):
    made = Nvml()
    monkeypatch.setitem(sys.modules, "pynvml", made)
    return made


def refuse(nvml, name):
    def refused(*_):
        raise nvml.NVMLError("Not Supported")

    setattr(nvml, name, refused)


def test_the_gpu_is_found_by_its_place_on_the_bus(nvml):
    device.open_sensors(device.open_gpu())
    assert nvml.handles == ["0000:3B:00.0"]


def test_or_by_its_uuid(nvml):
    refuse(nvml, "nvmlDeviceGetHandleByPciBusId")
    device.open_sensors(device.open_gpu())
    assert nvml.handles == ["GPU-0c1d"]


def test_a_reading(nvml):
    reading = device.open_sensors(device.open_gpu()).read(7)
    assert reading == device.Reading(7, 1980, 3201, 320.5, 54, frozenset())


@pytest.mark.parametrize(
    ("bits", "names"),
    [
        (0, set()),
        (1, {"GpuIdle"}),
        (2, {"ApplicationsClocksSetting"}),
        (5, {"GpuIdle", "SwPowerCap"}),
        (0x8004, {"SwPowerCap", "0x8000"}),
    ],
)
def test_reasons_have_nvmls_names(nvml, bits, names):
    nvml.bits = bits
    assert device.open_sensors(device.open_gpu()).read(0).throttle_reasons == names


def test_reasons_have_names_in_the_real_package():
    pynvml = pytest.importorskip("pynvml", reason="no nvidia-ml-py")
    names = device._reason_names(pynvml)
    assert names[pynvml.nvmlClocksEventReasonSwPowerCap] == "SwPowerCap"
    assert "UserDefinedClocks" not in names.values()
    assert all(bit & (bit - 1) == 0 for bit in names)


def test_the_old_name_of_the_reasons(nvml):
    refuse(nvml, "nvmlDeviceGetCurrentClocksEventReasons")
    nvml.nvmlDeviceGetCurrentClocksThrottleReasons = lambda _handle: 4
    assert device.open_sensors(device.open_gpu()).read(0).throttle_reasons == {"SwPowerCap"}


def test_what_cannot_be_read_is_unknown_and_never_zero(nvml):
    for name in ("ClockInfo", "PowerUsage", "Temperature", "CurrentClocksEventReasons"):
        refuse(nvml, f"nvmlDeviceGet{name}")
    refuse(nvml, "nvmlDeviceGetTotalEnergyConsumption")
    sensors = device.open_sensors(device.open_gpu())
    assert sensors.read(1) == device.Reading(1, None, None, None, None, None)
    assert sensors.energy_joules() is None
    assert GpuConditions.of([sensors.read(1)]) == GpuConditions(samples=1)


def test_energy_is_in_joules(nvml):
    assert device.open_sensors(device.open_gpu()).energy_joules() == 5.0


def test_no_nvml(nvml, monkeypatch):
    refuse(nvml, "nvmlInit")
    with pytest.raises(BackendUnavailableError, match="Not Supported"):
        device.open_sensors(device.open_gpu())
    monkeypatch.setitem(sys.modules, "pynvml", None)
    with pytest.raises(BackendUnavailableError, match="nvidia-ml-py"):
        device.open_sensors(device.open_gpu())


def test_the_watcher_reads_while_its_context_is_open(nvml):
    times = iter(range(10**6))
    sensors = device.open_sensors(device.open_gpu())
    with device.Watcher(sensors, clock=lambda: next(times)) as watcher:
        while len(watcher.between(0, 10**6)) < 3:
            pass
    count = len(watcher.between(0, 10**6))
    assert [r.at_ns for r in watcher.between(1, 2)] == [1, 2]
    assert not watcher._thread.is_alive()
    assert len(watcher.between(0, 10**6)) == count
