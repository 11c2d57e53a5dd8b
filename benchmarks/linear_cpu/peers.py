# Part of quant-opt, under the Apache License v2.0 with LLVM Exceptions.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""Other programs for the same layer. Each library is a class that imports it when it is made;
the library's own packers make the weights.

A program makes layers of [n, k] with random weights; Unsupported if it has none of that shape.
"""

from __future__ import annotations

import ctypes
import importlib.metadata
import importlib.util
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np


class Unsupported(Exception):
    """The program does not take the layer."""


@dataclass
class Layer:
    """Copies of a weight: `steps` times `each`."""

    bytes: int  # of the codes and scales of one copy
    # channels -> [len(channels), k] values of copy 0, f32
    weight: Callable[[np.ndarray], np.ndarray]
    # (x, steps) -> so many functions that multiply x with their copies, and one that gives the
    # [m, n] product with copy 0 once the first has run
    bind: Callable[[np.ndarray, int], tuple[list[Callable[[], object]], Callable[[], np.ndarray]]]


@dataclass(frozen=True)
class Program:
    name: str
    compute: str  # what products are computed in: i8, bf16, f32
    group: int
    make: Callable[[int, int, int, int], Layer]  # k, n, steps, copies in each


def random_weight(k: int, n: int, group: int) -> tuple[np.ndarray, np.ndarray]:
    """[n, k] codes 0 to 15 and [n, k/group] scales that f16 holds, f32."""
    if k % group:
        raise Unsupported(f"K = {k} is no multiple of {group}")
    random = np.random.default_rng(0)
    codes = random.integers(0, 16, (n, k), np.uint8)
    scales = random.uniform(0.005, 0.015, (n, k // group)).astype(np.float16)
    return codes, scales.astype(np.float32)


def dequantized(codes, scales, group: int):
    """channels -> values, for codes with a zero of 8."""

    def weight(channels):
        values = codes[channels].astype(np.float32) - 8
        return values * np.repeat(scales[channels], group, axis=1)

    return weight


def nibbles(codes: np.ndarray) -> np.ndarray:
    """Two neighbours in a byte, the first in its low half."""
    return codes[:, 0::2] | codes[:, 1::2] << 4


def another(array: np.ndarray, copy: int) -> np.ndarray:
    """The rows of an array in another order for each copy: some libraries keep equal constants
    once."""
    return np.ascontiguousarray(np.roll(array, 8 * copy, axis=0))


class OnnxRuntime:
    """MatMulNBits. Level 4 quantizes x to 8 bits by blocks, level 0 computes in f32."""

    def __init__(self, threads: int):
        import onnx
        import onnxruntime

        self.onnx, self.runtime = onnx, onnxruntime
        # Pools of each session would spin beside each other.
        onnxruntime.set_global_thread_pool_sizes(threads, 1)
        self.version = f"onnxruntime {onnxruntime.__version__}"

    def programs(self) -> list[Program]:
        return [
            Program(f"ONNX Runtime level {level}, g{group}", compute, group,
                    self._maker(level, group))
            for level, compute in ((4, "i8"), (0, "f32")) for group in (128, 32)
        ]  # fmt: skip

    def _maker(self, level: int, group: int):
        def make(k, n, steps, each):
            codes, scales = random_weight(k, n, group)
            packed = nibbles(codes).reshape(n, k // group, group // 2)
            sessions = [
                self._session(packed, scales, level, range(step * each, (step + 1) * each))
                for step in range(steps)
            ]

            def bind(x, count):
                x = self.runtime.OrtValue.ortvalue_from_numpy(x)
                work, outputs = [], []
                for session in sessions[:count]:
                    binding = session.io_binding()
                    binding.bind_ortvalue_input("x", x)
                    for output in session.get_outputs():
                        y = self.runtime.OrtValue.ortvalue_from_shape_and_type(
                            [x.shape()[0], n], np.float32
                        )
                        binding.bind_ortvalue_output(output.name, y)
                        outputs.append(y)
                    work.append(lambda s=session, b=binding: s.run_with_iobinding(b))
                return work, lambda: outputs[0].numpy()

            return Layer(packed.nbytes + scales.nbytes, dequantized(codes, scales, group), bind)

        return make

    def _session(self, packed, scales, level: int, copies):
        helper, types = self.onnx.helper, self.onnx.TensorProto
        n, blocks, half = packed.shape
        constants, nodes, outputs = [], [], []
        for copy in copies:
            for name, array in (("w", packed), ("s", scales)):
                array = another(array, copy)
                if name == "s":
                    array = array.reshape(-1)
                constants.append(self.onnx.numpy_helper.from_array(array, f"{name}{copy}"))
            nodes.append(helper.make_node(
                "MatMulNBits", ["x", f"w{copy}", f"s{copy}"], [f"y{copy}"], domain="com.microsoft",
                K=2 * half * blocks, N=n, bits=4, block_size=2 * half, accuracy_level=level))  # fmt: skip
            outputs.append(helper.make_tensor_value_info(f"y{copy}", types.FLOAT, ["m", n]))
        x = helper.make_tensor_value_info("x", types.FLOAT, ["m", 2 * half * blocks])
        model = helper.make_model(
            helper.make_graph(nodes, "layers", [x], outputs, constants),
            opset_imports=[helper.make_opsetid("", 17), helper.make_opsetid("com.microsoft", 1)],
            ir_version=9,
        )
        options = self.runtime.SessionOptions()
        options.use_per_session_threads = False
        options.log_severity_level = 3
        return self.runtime.InferenceSession(
            model.SerializeToString(), options, providers=["CPUExecutionProvider"]
        )


class Ggml:
    """ggml_mul_mat of llama-cpp-python's libraries. x is quantized to 8 bits: by 32 (Q4_0) or
    256 (Q4_K) values. Repacked: in the order that ggml chooses for this processor."""

    # type: number, values in a block, bytes of a block, offsets of its f16 scales
    TYPES = {"Q4_0": (2, 32, 18, (0,)), "Q4_K": (12, 256, 144, (0, 2))}
    WEIGHTS = 1  # usage of a buffer

    def __init__(self, threads: int):
        self.version = f"llama_cpp_python {importlib.metadata.version('llama_cpp_python')}"
        folder = Path(importlib.util.find_spec("llama_cpp").origin).parent / "lib"
        base = ctypes.CDLL(str(folder / "libggml-base.so"), ctypes.RTLD_GLOBAL)
        cpu = ctypes.CDLL(str(folder / "libggml-cpu.so"), ctypes.RTLD_GLOBAL)
        self._silence(base)
        pointer, size = ctypes.c_void_p, ctypes.c_size_t

        class Parameters(ctypes.Structure):
            _fields_ = [("size", size), ("memory", pointer), ("no_data", ctypes.c_bool)]

        def function(library, name, result, *arguments):
            found = getattr(library, name)
            found.restype, found.argtypes = result, arguments
            return found

        self.context = lambda bytes_: init(Parameters(bytes_, None, True))
        init = function(base, "ggml_init", pointer, Parameters)
        self.free = function(base, "ggml_free", None, pointer)
        self.tensor = function(base, "ggml_new_tensor_2d", pointer, pointer, ctypes.c_int,
                               ctypes.c_int64, ctypes.c_int64)  # fmt: skip
        self.product = function(base, "ggml_mul_mat", pointer, pointer, pointer, pointer)
        self.graph = function(base, "ggml_new_graph_custom", pointer, pointer, size, ctypes.c_bool)
        self.expand = function(base, "ggml_build_forward_expand", None, pointer, pointer)
        self.allocate = function(base, "ggml_backend_alloc_ctx_tensors_from_buft", pointer,
                                 pointer, pointer)  # fmt: skip
        self.free_buffer = function(base, "ggml_backend_buffer_free", None, pointer)
        self.usage = function(base, "ggml_backend_buffer_set_usage", None, pointer, ctypes.c_int)
        self.write = function(base, "ggml_backend_tensor_set", None, pointer, pointer, size, size)
        self.read = function(base, "ggml_backend_tensor_get", None, pointer, pointer, size, size)
        self.compute = function(base, "ggml_backend_graph_compute", ctypes.c_int, pointer, pointer)
        self.plain = function(base, "ggml_backend_cpu_buffer_type", pointer)()
        # No header has it, so that it has a C++ name.
        self.repacked = function(cpu, "_Z35ggml_backend_cpu_repack_buffer_typev", pointer)()
        self.backend = function(cpu, "ggml_backend_cpu_init", pointer)()
        function(cpu, "ggml_backend_cpu_set_n_threads", None, pointer, ctypes.c_int)(
            self.backend, threads
        )

    def _silence(self, base) -> None:
        self._ignore = ctypes.CFUNCTYPE(None, ctypes.c_int, ctypes.c_char_p, ctypes.c_void_p)(
            lambda level, text, data: None
        )
        base.ggml_log_set(self._ignore, None)

    def programs(self) -> list[Program]:
        return [
            Program(f"ggml {type_}{', repacked' if repack else ''}", "i8", 32,
                    self._maker(type_, repack))
            for type_ in self.TYPES for repack in (True, False)
        ]  # fmt: skip

    def _maker(self, type_: str, repack: bool):
        number, values, block, scales = self.TYPES[type_]

        def make(k, n, steps, each):
            import gguf

            if k % values:
                raise Unsupported(f"K = {k} is no multiple of {values}")
            random = np.random.default_rng(0)
            blocks = random.integers(0, 256, (n * k // values, block), np.uint8)
            for at in scales:
                value = random.uniform(0.005, 0.015, len(blocks)).astype(np.float16)
                blocks[:, at : at + 2] = value.view(np.uint8).reshape(-1, 2)
            plane = blocks.reshape(n, -1)
            owner = Tensors(self, 1 << 22)
            owner.channels = n
            owner.tensors = [self.tensor(owner.context, number, k, n) for _ in range(steps * each)]
            owner.allocate(self.repacked if repack else self.plain)
            self.usage(owner.buffer, self.WEIGHTS)
            for tensor in owner.tensors:
                self.write(tensor, plane.ctypes.data, 0, plane.nbytes)

            def values_of(channels):
                return gguf.quants.dequantize(
                    plane[channels], gguf.GGMLQuantizationType[type_]
                ).reshape(len(channels), k)

            def bind(x, count):
                graphs = Graphs(self, x, owner, count, each)
                work = [lambda graph=graph: graphs.run(graph) for graph in graphs.graphs]
                return work, graphs.output

            return Layer(plane.nbytes, values_of, bind)

        return make


class Tensors:
    """What lies in one context and one buffer of ggml's, and goes with this."""

    def __init__(self, ggml: Ggml, bytes_: int):
        self.ggml, self.buffer, self.context = ggml, None, ggml.context(bytes_)

    def allocate(self, type_) -> None:
        self.buffer = self.ggml.allocate(self.context, type_)
        if not self.buffer:
            raise Unsupported("no order of its own for this processor")

    def __del__(self):
        if self.buffer:
            self.ggml.free_buffer(self.buffer)
        self.ggml.free(self.context)


class Graphs(Tensors):
    """A graph for each step: x times the weights of that step."""

    def __init__(self, ggml: Ggml, x, weights, count: int, each: int):
        super().__init__(ggml, 1 << 24)
        self.weights, self.graphs, self.outputs = weights, [], []
        m, k = x.shape
        input_ = ggml.tensor(self.context, 0, k, m)
        for step in range(count):
            graph = ggml.graph(self.context, 2 * each + 16, False)
            for weight in weights.tensors[step * each : (step + 1) * each]:
                self.outputs.append(ggml.product(self.context, weight, input_))
                ggml.expand(graph, self.outputs[-1])
            self.graphs.append(graph)
        self.allocate(ggml.plain)
        ggml.write(input_, x.ctypes.data, 0, x.nbytes)
        self.shape = m, weights.channels

    def run(self, graph) -> None:
        if self.ggml.compute(self.ggml.backend, graph):
            raise RuntimeError("ggml could not compute the graph")

    def output(self):
        y = np.empty(self.shape, np.float32)
        self.ggml.read(self.outputs[0], y.ctypes.data, 0, y.nbytes)
        return y


class OpenVino:
    """MatMul of a constant that is converted from 4 bits and scaled; the plugin fuses that.
    Dynamic quantization takes x to 8 bits by groups."""

    def __init__(self, threads: int):
        import openvino

        self.openvino, self.threads, self.core = openvino, threads, openvino.Core()
        self.version = f"openvino {importlib.metadata.version('openvino')}"

    def programs(self) -> list[Program]:
        return [
            Program("OpenVINO i4 dynamic, g128", "i8", 128, self._maker("i4", 128, "f32", True)),
            Program("OpenVINO i4 dynamic, g32", "i8", 32, self._maker("i4", 32, "f32", True)),
            Program("OpenVINO u4 dynamic, g128", "i8", 128, self._maker("u4", 128, "f32", True)),
            Program("OpenVINO i4 bf16, g128", "bf16", 128, self._maker("i4", 128, "bf16", False)),
            Program("OpenVINO i4 f32, g128", "f32", 128, self._maker("i4", 128, "f32", False)),
        ]

    def _maker(self, type_: str, group: int, precision: str, dynamic: bool):
        def make(k, n, steps, each):
            codes, scales = random_weight(k, n, group)
            packed = nibbles(codes if type_ == "u4" else codes ^ 8)
            halves = scales.astype(np.float16)
            zeros = np.full(n * (k // group) // 2, 0x88, np.uint8) if type_ == "u4" else None
            models = [
                self._model(packed, halves, zeros, type_, group, precision, dynamic,
                            range(step * each, (step + 1) * each))
                for step in range(steps)
            ]  # fmt: skip

            def bind(x, count):
                requests = [model.create_infer_request() for model, _ in models[:count]]
                for request in requests:
                    request.set_input_tensor(0, self.openvino.Tensor(x))
                return (
                    [request.infer for request in requests],
                    lambda: requests[0].get_output_tensor(0).data.copy(),
                )

            size = packed.nbytes + halves.nbytes + (0 if zeros is None else zeros.nbytes)
            return Layer(size, dequantized(codes, scales, group), bind)

        return make

    def _model(self, packed, scales, zeros, type_, group, precision, dynamic, copies):
        """The compiled model, and the memory that its constants share."""
        from openvino import opset13 as ops

        n, groups = scales.shape
        kind = {"i4": self.openvino.Type.i4, "u4": self.openvino.Type.u4}[type_]
        held, results = [], []

        def constant(array, shape):
            held.append(array)
            tensor = self.openvino.Tensor(array, self.openvino.Shape(shape), kind)
            return ops.convert(self.openvino.op.Constant(tensor), "f16")

        x = ops.parameter([-1, groups * group], self.openvino.Type.f32, name="x")
        for copy in copies:
            weight = constant(another(packed, copy).reshape(-1), [n, groups, group])
            if zeros is not None:
                weight = ops.subtract(weight, constant(zeros, [n, groups, 1]))
            scale = ops.constant(another(scales, copy).reshape(n, groups, 1))
            weight = ops.multiply(weight, scale)
            shape = ops.constant(np.array([n, groups * group], np.int64))
            weight = ops.convert(ops.reshape(weight, shape, False), "f32")
            results.append(ops.result(ops.matmul(x, weight, False, True)))
        options = {
            "INFERENCE_NUM_THREADS": self.threads, "NUM_STREAMS": 1,
            "INFERENCE_PRECISION_HINT": precision, "ENABLE_CPU_PINNING": False,
            "DYNAMIC_QUANTIZATION_GROUP_SIZE": str(group) if dynamic else "0",
        }  # fmt: skip
        model = self.openvino.Model(results, [x], "layers")
        return self.core.compile_model(model, "CPU", options), held


class Torch:
    """What the libraries on torch share: x in bf16, weights as tensors."""

    def __init__(self, threads: int):
        import torch

        torch.set_num_threads(threads)
        torch.set_grad_enabled(False)
        self.torch, self.version = torch, f"torch {torch.__version__}"

    def layer(self, bytes_: int, weight, tensors, product, steps: int, each: int) -> Layer:
        """A layer of `product(x, *tensors)`."""
        forms = [[tensor.clone() for tensor in tensors] for _ in range(steps * each)]

        def bind(x, count):
            x = self.torch.from_numpy(x).bfloat16()

            def step(number):
                for form in forms[number * each : (number + 1) * each]:
                    product(x, *form)

            return (
                [lambda number=number: step(number) for number in range(count)],
                lambda: product(x, *forms[0]).float().numpy(),
            )

        return Layer(bytes_, weight, bind)


class Zentorch(Torch):
    """zentorch's linear layers: weights to bf16 (WOQ), or x to 8 bits by rows (DA8W4)."""

    def __init__(self, threads: int):
        super().__init__(threads)
        import zentorch  # noqa: F401 - registers torch.ops.zentorch

        self.version += f", zentorch {importlib.metadata.version('zentorch')}"

    def programs(self) -> list[Program]:
        return [
            Program("zentorch DA8W4, g128", "i8", 128, self._maker(128, True)),
            Program("zentorch WOQ, g128", "bf16", 128, self._maker(128, False)),
            Program("zentorch WOQ, g32", "bf16", 32, self._maker(32, False)),
        ]

    def _maker(self, group: int, dynamic: bool):
        ops = self.torch.ops.zentorch

        def make(k, n, steps, each):
            codes, scales = random_weight(k, n, group)
            kept = self.torch.from_numpy(scales)
            if not dynamic:
                kept = kept.bfloat16()
            packed = ops.zentorch_woq_repack_weight(
                self.torch.from_numpy(codes.astype(np.int8) - np.int8(8))
            )

            def product(x, w, s):
                if dynamic:
                    return ops.zentorch_dynamic_qlinear(x, w, s, None)
                return ops.zentorch_woq_linear(x, w.t(), s, None)

            kept = kept.t().contiguous()
            return self.layer(
                packed.nbytes + kept.nbytes,
                dequantized(codes, kept.t().float().numpy(), group),
                [packed, kept], product, steps, each)  # fmt: skip

        return make


class BitsAndBytes(Torch):
    """bitsandbytes' NF4 for processors, and torch's own int4; both with x in bf16."""

    def __init__(self, threads: int):
        super().__init__(threads)
        from bitsandbytes import functional

        self.functional = functional
        self.version += f", bitsandbytes {importlib.metadata.version('bitsandbytes')}"

    def programs(self) -> list[Program]:
        return [
            Program("bitsandbytes NF4, g64", "bf16", 64, self._nf4(64)),
            Program("bitsandbytes NF4, g128", "bf16", 128, self._nf4(128)),
            Program("torch int4, g128", "bf16", 128, self._int4(128)),
            Program("torch int4, g32", "bf16", 32, self._int4(32)),
        ]

    def _nf4(self, group: int):
        functional, torch = self.functional, self.torch

        def make(k, n, steps, each):
            if k % group:
                raise Unsupported(f"K = {k} is no multiple of {group}")
            given = torch.randn(n, k, generator=torch.Generator().manual_seed(0)).bfloat16()
            codes, state = functional.quantize_4bit(given, blocksize=group, quant_type="nf4")
            values = functional.dequantize_4bit(codes, state).float().numpy()
            packed, state = functional._convert_weight_packed_for_cpu(codes, state)
            scales = state.absmax.bfloat16()

            def product(x, w, s):
                return torch.ops.bitsandbytes.gemv_4bit(x, w, [n, k], s, state.code, group)

            return self.layer(
                packed.nbytes + scales.nbytes, lambda channels: values[channels],
                [packed, scales], product, steps, each)  # fmt: skip

        return make

    def _int4(self, group: int):
        torch = self.torch

        def make(k, n, steps, each):
            codes, scales = random_weight(k, n, group)
            scales = torch.from_numpy(scales).bfloat16()
            packed = torch.ops.aten._convert_weight_to_int4pack_for_cpu(
                torch.from_numpy(codes.astype(np.int32)), 1
            )
            both = torch.stack([scales.t(), torch.zeros_like(scales.t())], -1).contiguous()

            def product(x, w, s):
                return torch.ops.aten._weight_int4pack_mm_for_cpu(x, w, group, s)

            return self.layer(
                packed.nbytes + both.nbytes, dequantized(codes, scales.float().numpy(), group),
                [packed, both], product, steps, each)  # fmt: skip

        return make


# Environment: its library.
LIBRARIES = {
    "onnxruntime": OnnxRuntime,
    "ggml": Ggml,
    "openvino": OpenVino,
    "zentorch": Zentorch,
    "bitsandbytes": BitsAndBytes,
}
