//===- Arrays.cpp - Arrays from any file that we read ---------------------===//
//
// Part of quant-opt, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "quantopt/Formats/Arrays.h"
#include "quantopt/Formats/Files.h"
#include "quantopt/Formats/Npy.h"
#include "quantopt/Formats/Npz.h"
#include "quantopt/Formats/SafeTensors.h"

using namespace llvm;

namespace quantopt {

Expected<ArrayMap> readArrays(StringRef path) {
  Expected<std::shared_ptr<MemoryBuffer>> buffer = mapFile(path);
  if (!buffer)
    return buffer.takeError();
  StringRef bytes = (*buffer)->getBuffer();
  if (bytes.starts_with("\x93NUMPY")) {
    Expected<HostArray> array = readNpy(path);
    if (!array)
      return array.takeError();
    return ArrayMap{{"arg0", std::move(*array)}};
  }
  // An archive without members has the second magic only.
  if (bytes.starts_with("PK\3\4") || bytes.starts_with("PK\5\6"))
    return readNpz(path);
  if (path.ends_with(".safetensors") || bytes.substr(8).starts_with("{"))
    return readSafeTensors(path);
  return fileError(path, "not an array file; give a .npy, .npz or "
                         ".safetensors file");
}

} // namespace quantopt
