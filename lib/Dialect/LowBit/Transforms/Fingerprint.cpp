//===- Fingerprint.cpp - What the bytes of a result depend on -------------===//
//
// Part of quant-opt, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "Fingerprint.h"

#include "mlir/IR/DialectResourceBlobManager.h"
#include "llvm/ADT/StringExtras.h"
#include "llvm/Support/FormatVariadic.h"
#include "llvm/Support/xxhash.h"

using namespace mlir;
using namespace llvm;

namespace quantopt::lowbit {

namespace {
/// A digest of pieces in their order.
class Digest {
public:
  void add(ArrayRef<uint8_t> piece) {
    XXH128_hash_t hash = xxh3_128bits(piece);
    pieces.append({hash.low64, hash.high64, piece.size()});
  }
  void add(StringRef text) { add(arrayRefFromStringRef(text)); }

  std::string finish() const {
    XXH128_hash_t hash =
        xxh3_128bits({reinterpret_cast<const uint8_t *>(pieces.data()),
                      pieces.size() * sizeof(uint64_t)});
    return formatv("{0:x-16}{1:x-16}", hash.high64, hash.low64);
  }

private:
  SmallVector<uint64_t> pieces;
};
} // namespace

std::string digestModule(ModuleOp module) {
  Digest digest;
  std::string text;
  raw_string_ostream os(text);
  // In local scope the printer leaves the data of resources out.
  module->print(os, OpPrintingFlags().useLocalScope());
  digest.add(text);
  module.walk([&](Operation *op) {
    for (NamedAttribute attr : op->getAttrs()) {
      auto resource = dyn_cast<DenseResourceElementsAttr>(attr.getValue());
      AsmResourceBlob *blob =
          resource ? resource.getRawHandle().getBlob() : nullptr;
      if (blob)
        digest.add({reinterpret_cast<const uint8_t *>(blob->getData().data()),
                    blob->getData().size()});
    }
  });
  return digest.finish();
}

std::string digestSamples(const CalibrationSamples &samples) {
  Digest digest;
  digest.add(std::to_string(samples.count));
  for (const HostArray &argument : samples.arguments) {
    digest.add(dtypeName(argument.dtype));
    digest.add({reinterpret_cast<const uint8_t *>(argument.data),
                argument.sizeInBytes()});
  }
  return digest.finish();
}

json::Value toJSON(const Fingerprint &fingerprint) {
  json::Array layers;
  for (const auto &[name, spec] : fingerprint.layers)
    layers.push_back(json::Array{name, spec});
  return json::Object{{"program", fingerprint.program},
                      {"model", fingerprint.model},
                      {"data", fingerprint.data},
                      {"layers", std::move(layers)}};
}

bool fromJSON(const json::Value &value, Fingerprint &fingerprint,
              json::Path path) {
  std::vector<std::vector<std::string>> layers;
  json::ObjectMapper map(value, path);
  if (!map || !map.map("program", fingerprint.program) ||
      !map.map("model", fingerprint.model) ||
      !map.map("data", fingerprint.data) || !map.map("layers", layers))
    return false;
  for (const std::vector<std::string> &layer : layers) {
    if (layer.size() != 2) {
      path.field("layers").report("expected [name, what is done]");
      return false;
    }
    fingerprint.layers.emplace_back(layer[0], layer[1]);
  }
  return true;
}

/// What is different between two lists of words, as "a=1 b=2, now a=3 b=4".
static std::string changedWords(StringRef before, StringRef now) {
  SmallVector<StringRef> old, current;
  before.split(old, ' ');
  now.split(current, ' ');
  auto without = [](ArrayRef<StringRef> words, ArrayRef<StringRef> others) {
    return join(
        make_filter_range(
            words, [&](StringRef word) { return !is_contained(others, word); }),
        " ");
  };
  return without(old, current) + ", now " + without(current, old);
}

std::string describeChange(const Fingerprint &before, const Fingerprint &now) {
  if (before.program != now.program)
    return formatv("it was made by quant-opt {0}, this is {1}", before.program,
                   now.program);
  if (before.model != now.model)
    return "the model has changed";
  if (before.data != now.data)
    return "the calibration data has changed";
  if (before.layers.size() != now.layers.size())
    return formatv("{0} layers were to be quantized, now {1}",
                   before.layers.size(), now.layers.size());
  for (const auto &[old, current] : zip(before.layers, now.layers)) {
    if (old.first != current.first)
      return formatv("layer '{0}' stands where '{1}' was", current.first,
                     old.first);
    if (old.second != current.second)
      return formatv("layer '{0}' was to be quantized with {1}", old.first,
                     changedWords(old.second, current.second));
  }
  return "";
}

} // namespace quantopt::lowbit
