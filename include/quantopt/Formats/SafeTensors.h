//===- SafeTensors.h - Safetensors files ------------------------*- C++ -*-===//
//
// Part of quant-opt, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
//
// An 8-byte length, a JSON header of that length, and the data of all tensors
// one after another.
//
//===----------------------------------------------------------------------===//

#ifndef QUANTOPT_FORMATS_SAFETENSORS_H
#define QUANTOPT_FORMATS_SAFETENSORS_H

#include "quantopt/Formats/HostArray.h"

#include "llvm/Support/Error.h"

namespace quantopt {

/// What the header's "__metadata__" holds.
using StringTable = std::map<std::string, std::string>;

/// The tensors of the safetensors file `path`, mapped; `metadata`, if given,
/// receives the file's own remarks. Refused: a header over 100 MB or that is
/// not what the format says, a tensor whose bytes are not as many as its type
/// and shape take, that overlap another's or leave the file, and bytes that
/// belong to no tensor.
llvm::Expected<ArrayMap> readSafeTensors(llvm::StringRef path,
                                         StringTable *metadata = nullptr);

/// Writes `tensors` to `path`, whole or not at all; types of larger items
/// first so that all data is aligned, then by name.
llvm::Error writeSafeTensors(llvm::StringRef path, const ArrayMap &tensors,
                             const StringTable &metadata = {});

} // namespace quantopt

#endif // QUANTOPT_FORMATS_SAFETENSORS_H
