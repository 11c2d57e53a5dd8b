//===- Checkpoint.cpp - Solved layers on disk -----------------------------===//
//
// Part of quant-opt, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "Checkpoint.h"

#include "quantopt/Formats/Files.h"
#include "quantopt/Formats/SafeTensors.h"

#include "llvm/Support/FileSystem.h"
#include "llvm/Support/FormatVariadic.h"
#include "llvm/Support/Path.h"

using namespace llvm;

namespace quantopt::lowbit {

static constexpr StringLiteral kRunFile = "run.json";
static constexpr StringLiteral kRowKey = "report";

static std::string join(StringRef directory, const Twine &file) {
  SmallString<128> path(directory);
  sys::path::append(path, file);
  return std::string(path);
}

static Error otherRun(StringRef directory, const Twine &why) {
  return fileError(directory, why + " - give another folder, or remove this "
                                    "one to start anew");
}

/// What a process that was killed while it wrote has left. Fails if the folder
/// holds anything that no run made.
static Error removeLeftovers(StringRef directory, bool isCheckpoint) {
  std::error_code code;
  for (sys::fs::directory_iterator it(directory, code), end; it != end && !code;
       it.increment(code)) {
    StringRef name = sys::path::filename(it->path());
    if (name.ends_with(".tmp") &&
        (name.starts_with(kRunFile) || name.starts_with("layer-")))
      sys::fs::remove(it->path());
    else if (!isCheckpoint)
      return otherRun(directory,
                      "holds '" + name + "', so it is no checkpoint of a run");
  }
  return code ? fileError(directory, code.message()) : Error::success();
}

Expected<Checkpoint> Checkpoint::open(StringRef directory,
                                      const Fingerprint &fingerprint) {
  if (std::error_code code = sys::fs::create_directories(directory))
    return fileError(directory, "cannot be made: " + code.message());
  std::string runFile = join(directory, kRunFile);
  bool isCheckpoint = sys::fs::exists(runFile);
  if (Error error = removeLeftovers(directory, isCheckpoint))
    return std::move(error);
  Checkpoint checkpoint(directory);
  if (!isCheckpoint) {
    Error error = writeFile(runFile, [&](raw_ostream &os) {
      os << formatv("{0:2}", toJSON(fingerprint)) << "\n";
      return Error::success();
    });
    if (error)
      return std::move(error);
    return checkpoint;
  }
  Expected<std::shared_ptr<MemoryBuffer>> buffer = mapFile(runFile);
  if (!buffer)
    return buffer.takeError();
  Expected<Fingerprint> before =
      json::parse<Fingerprint>((*buffer)->getBuffer());
  if (!before)
    return otherRun(runFile, toString(before.takeError()));
  std::string change = describeChange(*before, fingerprint);
  if (!change.empty())
    return otherRun(directory, "is the checkpoint of another run: " + change);
  return checkpoint;
}

std::string Checkpoint::pathOf(unsigned index) const {
  return join(directory, "layer-" + Twine(index) + ".safetensors");
}

Error Checkpoint::write(unsigned index, const PackedMatrix &weight,
                        const LayerReport &row) const {
  ArrayMap planes;
  weight.forEachPlane([&](const char *name, std::span<const uint8_t> bytes) {
    HostArray plane;
    plane.dtype = DType::U8;
    plane.shape = {static_cast<int64_t>(bytes.size())};
    plane.data = reinterpret_cast<const std::byte *>(bytes.data());
    planes.emplace(name, std::move(plane));
  });
  return writeSafeTensors(pathOf(index), planes,
                          {{kRowKey.str(), formatv("{0}", toJSON(row))}});
}

Expected<std::optional<Checkpoint::Layer>>
Checkpoint::read(unsigned index, const Scheme &scheme, int64_t n,
                 int64_t k) const {
  std::string path = pathOf(index);
  if (!sys::fs::exists(path))
    return std::nullopt;
  StringTable metadata;
  Expected<ArrayMap> planes = readSafeTensors(path, &metadata);
  if (!planes)
    return planes.takeError();
  Expected<LayerReport> row = json::parse<LayerReport>(metadata[kRowKey.str()]);
  if (!row)
    return otherRun(path, toString(row.takeError()));
  Layer layer;
  layer.row = std::move(*row);
  layer.weight.scheme = scheme;
  layer.weight.n = n;
  layer.weight.k = k;
  layer.weight.forEachPlane([&](const char *name, std::vector<uint8_t> &bytes) {
    const HostArray &plane = (*planes)[name];
    auto *data = reinterpret_cast<const uint8_t *>(plane.data);
    bytes.assign(data, data + (data ? plane.sizeInBytes() : 0));
  });
  std::string defect = verify(layer.weight.view());
  if (!defect.empty())
    return otherRun(path, defect);
  return std::optional(std::move(layer));
}

} // namespace quantopt::lowbit
