//===- Npz.h - NumPy archives -----------------------------------*- C++ -*-===//
//
// Part of quant-opt, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
//
// Zip archives of .npy members, stored or deflated, with 64-bit sizes.
//
//===----------------------------------------------------------------------===//

#ifndef QUANTOPT_FORMATS_NPZ_H
#define QUANTOPT_FORMATS_NPZ_H

#include "quantopt/Formats/HostArray.h"

#include "llvm/Support/Error.h"

namespace quantopt {

/// The arrays of the .npz file `path` under their names (without ".npy").
/// Stored members stay mapped, deflated ones are unpacked; every member's
/// checksum is verified.
llvm::Expected<ArrayMap> readNpz(llvm::StringRef path);

} // namespace quantopt

#endif // QUANTOPT_FORMATS_NPZ_H
