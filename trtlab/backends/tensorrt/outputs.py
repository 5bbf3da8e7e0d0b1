"""Outputs whose shape depends on the data: TensorRT asks for their memory while it runs."""

from __future__ import annotations

from trtlab.backends.tensorrt import bindings
from trtlab.device import Buffer, Gpu, Stream
from trtlab.spec import Shape


class DataDependentOutput:
    """One such output. Its memory grows and never shrinks: it settles after the first run."""

    def __init__(self, gpu: Gpu, stream: Stream) -> None:
        self._gpu = gpu
        self._stream = stream
        self.buffer: Buffer | None = None
        self.shape: Shape | None = None
        self.failure: Exception | None = None

    def reallocate(self, size: int) -> int:
        """Return the address of at least ``size`` bytes, or 0: an exception must not reach C++."""
        try:
            if self.buffer is None or self.buffer.size < size:
                larger = self._gpu.allocate(size, self._stream)
                if self.buffer is not None:
                    self.buffer.close(self._stream)
                self.buffer = larger
            return int(self.buffer.handle)
        except Exception as error:  # noqa: BLE001 - told when the enqueue call has failed
            self.failure = error
            return 0

    def allocator(self, trt: bindings.Module) -> bindings.OutputAllocator:
        """Return an ``IOutputAllocator`` of this module that asks here."""
        output, base = self, trt.IOutputAllocator

        class Allocator(base):  # type: ignore[misc, valid-type]  # the base is known at run time
            def __init__(self) -> None:
                base.__init__(self)

            def reallocate_output_async(
                self,
                tensor_name: str,  # noqa: ARG002 - TensorRT's signature
                memory: int,  # noqa: ARG002
                size: int,
                alignment: int,  # noqa: ARG002 - CUDA aligns to 256 bytes, the most asked for
                stream: int,  # noqa: ARG002 - the one that it was made with
            ) -> int:
                return output.reallocate(int(size))

            def notify_shape(self, tensor_name: str, shape: bindings.Dims) -> None:  # noqa: ARG002
                output.shape = tuple(int(d) for d in shape)

        made: bindings.OutputAllocator = Allocator()
        return made
