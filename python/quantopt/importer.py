# Part of quant-opt, under the Apache License v2.0 with LLVM Exceptions.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""torch.export programs as linalg-on-tensors text, weights beside it.

torch-mlir is built on a newer MLIR than ours: its bytecode is refused, its
text parses. So a module leaves here as text whose resources are named and
elided, and the weights as tensors under the same names.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
import torch
from torch_mlir import ir
from torch_mlir.dialects import torch as torch_dialect
from torch_mlir.extras.fx_decomp_util import get_decomposition_table
from torch_mlir.extras.fx_importer import FxImporter, FxImporterHooks
from torch_mlir.passmanager import PassManager

from ._progress import step
from ._safetensors import Stored
from .decompositions import decomposition_table
from .experts import exportable_experts

ALIASES_ATTRIBUTE = "lowbit.aliases"
IN_PLACE_ATTRIBUTE = "lowbit.in_place"

# torch type: (name in MLIR, name in safetensors, numpy type of the same bits)
_TYPES = {
    torch.float32: ("f32", "F32", np.float32),
    torch.float64: ("f64", "F64", np.float64),
    torch.float16: ("f16", "F16", np.float16),
    torch.bfloat16: ("bf16", "BF16", np.uint16),
    torch.int64: ("si64", "I64", np.int64),
    torch.int32: ("si32", "I32", np.int32),
    torch.int16: ("si16", "I16", np.int16),
    torch.int8: ("si8", "I8", np.int8),
    torch.uint8: ("ui8", "U8", np.uint8),
    torch.bool: ("i1", "BOOL", np.bool_),
}


class ImportFailed(RuntimeError):
    """The model could not be brought to linalg-on-tensors."""


@dataclass
class Function:
    """A function of a module: what it computes, for inputs of which shapes and types.

    `in_place` gives, for arguments that are updated, the result that is their next value.
    """

    name: str
    model: torch.nn.Module
    inputs: Sequence[torch.Tensor]
    in_place: Mapping[int, int] = field(default_factory=dict)


@dataclass
class Imported:
    """A module's text with every resource elided, and the data by resource key."""

    text: str
    weights: dict[str, Stored]
    aliases: dict[str, str]  # a tied parameter's name: the key that holds its data


def store(tensor: torch.Tensor) -> Stored:
    """`tensor` as it would lie in a file; no copy where it is contiguous on the CPU."""
    entry = _TYPES.get(tensor.dtype)
    if entry is None:
        raise ImportFailed(f"tensors of type {tensor.dtype} are not supported")
    tensor = tensor.detach().cpu().contiguous()
    if tensor.dtype == torch.bfloat16:
        tensor = tensor.view(torch.int16)
    return Stored(entry[1], tuple(tensor.shape), tensor.numpy().view(entry[2]))


def import_model(
    model: torch.nn.Module,
    example_inputs: Sequence[torch.Tensor],
    func_name: str = "main",
    rename: Callable[[str], str] | None = None,
) -> Imported:
    """Exports `model` for the shapes of `example_inputs` and lowers it; see import_functions."""
    return import_functions([Function(func_name, model, example_inputs)], rename)


def import_functions(
    functions: Sequence[Function], rename: Callable[[str], str] | None = None
) -> Imported:
    """Exports each of `functions` and lowers them to one module, where they share their weights.

    Resources take the names of the models' parameters and buffers, after
    `rename` where one is given. Parameters that share their memory appear
    once; the other names are returned as aliases and recorded on the module.
    """
    rename = rename or (lambda name: name)
    names: dict[tuple, str] = {}
    aliases: dict[str, str] = {}
    for function in functions:
        its_names, its_aliases = _names_by_storage(function.model, rename)
        names = its_names | names
        aliases |= its_aliases

    context = ir.Context()
    torch_dialect.register_dialect(context)
    hooks = _NamedLiterals(names, rename)
    importer = FxImporter(context=context, hooks=hooks)
    for function in functions:
        with step(f"exporting '{function.name}' with torch.export"):
            program = _export(function)
        with step(f"importing the graph of '{function.name}' into MLIR"):
            # import_program, unlike import_frozen_program, also knows buffers that
            # are not part of the state_dict (rotary tables, masks).
            importer.import_program(program, func_name=function.name)
        del program
    module = importer.module

    with step("lowering to linalg on tensors"):
        # What torch_mlir.fx does, less its habit of printing the whole module
        # with all weights before each pipeline in case that one fails.
        _run(module, "builtin.module(func.func(torch-match-quantized-custom-ops),"
                     "torchdynamo-export-to-torch-backend-pipeline{extra-library=})")  # fmt: skip
        _run(module, "builtin.module(torch-backend-to-linalg-on-tensors-backend-pipeline"
                     "{allow-non-finites=true})")  # fmt: skip
        aliases = {alias: key for alias, key in aliases.items() if key in hooks.weights}
        if aliases:
            with context:
                module.operation.attributes[ALIASES_ATTRIBUTE] = ir.DictAttr.get(
                    {alias: ir.StringAttr.get(key) for alias, key in sorted(aliases.items())}
                )
        for function in functions:
            _mark_in_place(module, function)
        text = module.operation.get_asm(large_resource_limit=0)
    return Imported(text, hooks.weights, aliases)


def _export(function: Function) -> torch.export.ExportedProgram:
    model = function.model
    with torch.no_grad(), exportable_experts(model), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        program = torch.export.export(model, tuple(function.inputs), strict=False)
        return program.run_decompositions(get_decomposition_table() | decomposition_table())


def _mark_in_place(module: ir.Module, function: Function) -> None:
    """Says at the arguments of a lowered function which result is their next value."""
    if not function.in_place:
        return
    (op,) = (op for op in module.body.operations if op.attributes["sym_name"].value == function.name)
    with module.context:
        number = ir.IntegerType.get_signless(64)
        op.attributes["arg_attrs"] = ir.ArrayAttr.get(
            [
                ir.DictAttr.get(
                    {IN_PLACE_ATTRIBUTE: ir.IntegerAttr.get(number, function.in_place[i])}
                    if i in function.in_place
                    else {}
                )
                for i in range(len(function.inputs))
            ]
        )


def _run(module: ir.Module, pipeline: str) -> None:
    with module.context as context:
        context.emit_error_diagnostics = True
        try:
            PassManager.parse(pipeline).run(module.operation)
        except ir.MLIRError as error:
            raise ImportFailed(f"torch-mlir could not lower the model: {error}") from None


def _storage_key(tensor: torch.Tensor) -> tuple:
    return (tensor.data_ptr(), tensor.dtype, tuple(tensor.shape), tuple(tensor.stride()))


def _names_by_storage(
    model: torch.nn.Module, rename: Callable[[str], str]
) -> tuple[dict[tuple, str], dict[str, str]]:
    """The first name of every parameter and buffer, and the later names of the same memory."""
    names: dict[tuple, str] = {}
    aliases: dict[str, str] = {}
    tensors = list(model.named_parameters(remove_duplicate=False))
    tensors += model.named_buffers(remove_duplicate=False)
    for name, tensor in tensors:
        if tensor.device.type == "meta":
            raise ImportFailed(
                f"'{name}' has no data (device meta): load the weights before importing"
            )
        if tensor.numel() == 0:
            continue
        first = names.setdefault(_storage_key(tensor), rename(name))
        if first != rename(name):
            aliases[rename(name)] = first
    return names, aliases


class _NamedLiterals(FxImporterHooks):
    """Turns each tensor of a program into a resource named after its parameter.

    The blob points at the tensor's own memory. (The importer's default goes
    through Python lists and names blobs by shape.)
    """

    def __init__(self, names: dict[tuple, str], rename: Callable[[str], str]):
        self.names = names
        self.rename = rename
        self.weights: dict[str, Stored] = {}
        self._attributes: dict[tuple, ir.Attribute] = {}
        self._owners: list[torch.Tensor] = []

    def resolve_literal(self, gni, literal, info):
        if not isinstance(literal, torch.Tensor):
            return None
        entry = _TYPES.get(literal.dtype)
        if entry is None:
            raise ImportFailed(f"tensors of type {literal.dtype} are not supported")
        with torch.utils._python_dispatch._disable_current_modes():
            if literal.numel() == 0:
                return None
            attribute = (
                self._splat(literal, entry[0])
                if literal.numel() == 1
                else self._resource(literal, info, entry[0])
            )
        return ir.Operation.create(
            name="torch.vtensor.literal",
            results=[gni._cc.tensor_to_vtensor_type(literal)],
            attributes={"value": attribute},
        ).result

    @staticmethod
    def _splat(tensor: torch.Tensor, element: str) -> ir.Attribute:
        # By its bits: exact for every type.
        shape = "".join(f"{size}x" for size in tensor.shape)
        stored = store(tensor)
        bits = int.from_bytes(stored.data.tobytes(), "little", signed=element.startswith("si"))
        value = f"0x{bits:0{2 * stored.nbytes}X}" if "f" in element else str(bits)
        return ir.Attribute.parse(f"dense<{value}> : tensor<{shape}{element}>")

    def _resource(self, tensor: torch.Tensor, info, element: str) -> ir.Attribute:
        storage = _storage_key(tensor)
        # Of each tensor there is one resource, whichever functions read it.
        attribute = self._attributes.get(storage)
        if attribute is None:
            attribute = self._attributes[storage] = self._new_resource(tensor, info, element)
        return attribute

    def _new_resource(self, tensor: torch.Tensor, info, element: str) -> ir.Attribute:
        key = self.names.get(_storage_key(tensor))
        if key is None:
            # A constant that tracing made: no parameter's name is its own.
            key = self.rename(info.input_spec.target) if info is not None else "constant"
        stem, count = key, 0
        while key in self.weights:
            count += 1
            key = f"{stem}_{count}"
        self._owners.append(tensor)
        self.weights[key] = store(tensor)
        shape = "".join(f"{size}x" for size in tensor.shape)
        return ir.DenseResourceElementsAttr.get_from_buffer(
            self.weights[key].data, key, ir.Type.parse(f"tensor<{shape}{element}>")
        )
