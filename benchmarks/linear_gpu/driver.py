# Part of quant-opt, under the Apache License v2.0 with LLVM Exceptions.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""The few calls of the CUDA driver that launching a kernel takes, by ctypes.

Goes with the folder that build.py makes: needs nothing but Python and the driver.
"""

import ctypes

POINTER = ctypes.c_uint64  # an address on the device
MAJOR, MINOR = 75, 76  # CU_DEVICE_ATTRIBUTE_COMPUTE_CAPABILITY_...
MAX_DYNAMIC_SHARED = 8  # CU_FUNC_ATTRIBUTE_MAX_DYNAMIC_SHARED_SIZE_BYTES


class Error(Exception):
    """What the driver says, or that there is none."""


class Cuda:
    """A device, in its primary context, which PyTorch shares."""

    def __init__(self, library: str = "libcuda.so.1", ordinal: int = 0):
        try:
            self.library = ctypes.CDLL(library)
        except OSError as error:
            raise Error(f"no CUDA device: {error}") from None
        count, device, context = ctypes.c_int(), ctypes.c_int(), ctypes.c_void_p()
        self._call("cuInit", 0)
        self._call("cuDeviceGetCount", ctypes.byref(count))
        if count.value <= ordinal:
            raise Error(f"no CUDA device: the driver knows {count.value}")
        self._call("cuDeviceGet", ctypes.byref(device), ordinal)
        self._call("cuDevicePrimaryCtxRetain", ctypes.byref(context), device)
        self._call("cuCtxSetCurrent", context)
        numbers = []
        for attribute in (MAJOR, MINOR):
            value = ctypes.c_int()
            self._call("cuDeviceGetAttribute", ctypes.byref(value), attribute, device)
            numbers.append(value.value)
        self.capability = tuple(numbers)

    def _call(self, name: str, *arguments) -> None:
        status = getattr(self.library, name)(*arguments)
        if status:
            text = ctypes.c_char_p()
            self.library.cuGetErrorName(status, ctypes.byref(text))
            raise Error(f"{name}: {(text.value or str(status).encode()).decode()}")

    def load(self, image: bytes):
        """A module from a cubin or PTX text."""
        module = ctypes.c_void_p()
        text = ctypes.create_string_buffer(image)  # PTX ends with a zero
        self._call("cuModuleLoadDataEx", ctypes.byref(module), text, 0, None, None)
        return module

    def kernel(self, module, name: str, shared: int):
        """A kernel that may be launched with `shared` bytes of dynamic memory."""
        function = ctypes.c_void_p()
        self._call("cuModuleGetFunction", ctypes.byref(function), module, name.encode())
        if shared > 48 << 10:
            self._call("cuFuncSetAttribute", function, MAX_DYNAMIC_SHARED, shared)
        return function

    def launch(self, function, grid, block, shared: int, stream, addresses) -> None:
        """`addresses` are the kernel's arguments, one after the other."""
        values = [POINTER(address) for address in addresses]
        pointers = (ctypes.c_void_p * len(values))(*(ctypes.addressof(value) for value in values))
        self._call("cuLaunchKernel", function, *grid, *block, shared, stream, pointers, None)


class Linear:
    """A linear layer of plan.json, ready to be launched."""

    def __init__(self, cuda: Cuda, kernels: dict, image: bytes):
        self.cuda = cuda
        module = cuda.load(image)
        self.launches = [
            (cuda.kernel(module, launch["kernel"], launch["shared"]), launch)
            for launch in kernels["launches"]
        ]

    def __call__(self, addresses: dict[str, int], stream) -> None:
        """Launches its kernels in order; `addresses` by the names of operands."""
        for function, launch in self.launches:
            self.cuda.launch(
                function,
                launch["grid"],
                launch["block"],
                launch["shared"],
                stream,
                [addresses[operand] for operand in launch["operands"]],
            )


def kernels_for(case: dict, capability: tuple[int, int]) -> dict | None:
    """The kernels of a case that run on a device: those of its own chip, with or without
    the instructions that only it has, else of an older one of its family.
    """
    major, minor = capability
    best = None
    for chip, kernels in case["kernels"].items():
        number = chip.removeprefix("sm_")
        own = number.endswith("a")
        chip_major, chip_minor = divmod(int(number.rstrip("a")), 10)
        if chip_major != major or chip_minor > minor or (own and chip_minor != minor):
            continue
        rank = (chip_minor, own)
        if best is None or rank > best[0]:
            best = (rank, kernels)
    return best[1] if best else None
