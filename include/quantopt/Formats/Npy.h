//===- Npy.h - NumPy array files --------------------------------*- C++ -*-===//
//
// Part of quant-opt, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
//
// Format versions 1 to 3, C order, little-endian numbers and booleans.
//
//===----------------------------------------------------------------------===//

#ifndef QUANTOPT_FORMATS_NPY_H
#define QUANTOPT_FORMATS_NPY_H

#include "quantopt/Formats/HostArray.h"

#include "llvm/Support/Error.h"

namespace quantopt {

/// The array in the .npy file `path`, mapped. Refused, with a message that
/// says what to do: Fortran order, big-endian numbers, objects, strings,
/// structures, and a file shorter or longer than its header says.
llvm::Expected<HostArray> readNpy(llvm::StringRef path);

/// The array in `bytes`, which hold a .npy file and live as long as `owner`.
/// `name` stands for the file in messages.
llvm::Expected<HostArray> parseNpy(llvm::StringRef name, llvm::StringRef bytes,
                                   std::shared_ptr<const void> owner);

/// Writes `array` to `path`, whole or not at all. bfloat16 and the 8-bit
/// float types have no name in this format and are refused.
llvm::Error writeNpy(llvm::StringRef path, const HostArray &array);

} // namespace quantopt

#endif // QUANTOPT_FORMATS_NPY_H
