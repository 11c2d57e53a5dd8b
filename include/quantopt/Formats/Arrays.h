//===- Arrays.h - Arrays from any file that we read -------------*- C++ -*-===//
//
// Part of quant-opt, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#ifndef QUANTOPT_FORMATS_ARRAYS_H
#define QUANTOPT_FORMATS_ARRAYS_H

#include "quantopt/Formats/HostArray.h"

#include "llvm/Support/Error.h"

namespace quantopt {

/// The arrays of a .npy file (one, named "arg0"), a .npz file or a
/// safetensors file. Which of them it is, its first bytes tell.
llvm::Expected<ArrayMap> readArrays(llvm::StringRef path);

} // namespace quantopt

#endif // QUANTOPT_FORMATS_ARRAYS_H
