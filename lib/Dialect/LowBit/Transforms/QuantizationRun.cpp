//===- QuantizationRun.cpp - Around the method ----------------------------===//
//
// Part of quant-opt, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "QuantizationRun.h"

#include "ConstantView.h"
#include "TableGather.h"

#include "quantopt/Dialect/LowBit/IR/BlobData.h"

#include "mlir/Dialect/Arith/IR/Arith.h"
#include "mlir/Dialect/Func/IR/FuncOps.h"
#include "mlir/IR/Remarks.h"
#include "llvm/Support/FormatVariadic.h"

#include <fstream>
#include <sys/resource.h>

using namespace mlir;

namespace quantopt::lowbit {

//===----------------------------------------------------------------------===//
// Clocks
//===----------------------------------------------------------------------===//

Seconds wallSeconds() {
  return std::chrono::duration<double>(
             std::chrono::steady_clock::now().time_since_epoch())
      .count();
}

/// User and system time of all threads.
static Seconds cpuSeconds(const rusage &usage) {
  auto seconds = [](timeval time) {
    return static_cast<double>(time.tv_sec) + 1e-6 * time.tv_usec;
  };
  return seconds(usage.ru_utime) + seconds(usage.ru_stime);
}

static rusage resourceUsage() {
  rusage usage{};
  getrusage(RUSAGE_SELF, &usage);
  return usage;
}

Seconds cpuSeconds() { return cpuSeconds(resourceUsage()); }

/// From Linux itself: getrusage counts what the process that started this one
/// held as well.
int64_t peakBytes() {
  std::ifstream status("/proc/self/status");
  for (std::string line; std::getline(status, line);) {
    StringRef text = line;
    int64_t kilobytes;
    if (text.consume_front("VmHWM:") &&
        !text.ltrim().consumeInteger(10, kilobytes))
      return kilobytes * 1024;
  }
  return int64_t(resourceUsage().ru_maxrss) * 1024;
}

//===----------------------------------------------------------------------===//
// QuantizationRun
//===----------------------------------------------------------------------===//

static double totalCost(const QuantizePlan &plan) {
  double total = 0;
  for (const PlannedLayer &layer : plan.layers)
    total += static_cast<double>(layer.n) * layer.k;
  return total;
}

QuantizationRun::QuantizationRun(ModuleOp module, StringRef method,
                                 const QuantizeOptions &options,
                                 QuantizePlan plan)
    : module(module), quantizeOptions(options), quantizePlan(std::move(plan)),
      weights(quantizePlan.layers.size()), ops(quantizePlan.layers.size()),
      recorded(quantizePlan.layers.size(), false),
      progress(options.progress, llvm::errs(), totalCost(quantizePlan)),
      wallStart(wallSeconds()), cpuStart(cpuSeconds()) {
  modelReport.method = method;
  modelReport.layers.resize(quantizePlan.layers.size());
  modelReport.skipped = quantizePlan.skipped;
}

void QuantizationRun::take(unsigned index, PackedStorage weight,
                           LayerReport row) {
  const PlannedLayer &layer = quantizePlan.layers[index];
  weights[index] = std::move(weight);
  recorded[index] = true;
  // A file may not hold the name as it is: JSON takes no byte that is not
  // UTF-8.
  row.name = layer.name;
  row.role = !layer.linear           ? LayerRole::Embedding
             : layer.gathers.empty() ? LayerRole::Linear
                                     : LayerRole::Both;
  modelReport.layers[index] = std::move(row);
  progress.advance(layer.name, static_cast<double>(layer.n) * layer.k);
}

LogicalResult QuantizationRun::record(unsigned index,
                                      const QuantizedMatrix &matrix,
                                      std::span<const float> weight,
                                      LayerReport row) {
  const PlannedLayer &layer = quantizePlan.layers[index];
  row.n = layer.n;
  row.k = layer.k;
  row.bitsPerWeight = matrix.scheme.bitsPerWeight(layer.n, layer.k);
  llvm::raw_string_ostream(row.scheme)
      << getSchemeAttr(module.getContext(), matrix.scheme);
  PackedStorage packed = pack(matrix);
  if (checkpoint)
    if (llvm::Error error = checkpoint->write(index, packed.view(), row))
      return module.emitError()
             << "checkpoint: " << llvm::toString(std::move(error));
  if (isReportPage(quantizeOptions.report))
    row.histogram = gridHistogram(weight, matrix);
  take(index, std::move(packed), std::move(row));
  return success();
}

LogicalResult QuantizationRun::resume(Checkpoint from) {
  checkpoint = std::move(from);
  for (auto [i, layer] : llvm::enumerate(quantizePlan.layers)) {
    if (layer.leader) {
      if (recorded[*layer.leader])
        recordShared(i);
      continue;
    }
    llvm::Expected<std::optional<Checkpoint::Layer>> stored =
        checkpoint->read(i, layer.spec.scheme, layer.n, layer.k);
    if (!stored)
      return module.emitError()
             << "checkpoint: " << llvm::toString(stored.takeError());
    if (!*stored)
      continue;
    auto &[packed, row] = **stored;
    if (isReportPage(quantizeOptions.report)) {
      FailureOr<WeightValues> weight = readWeight(layer);
      if (failed(weight))
        return failure();
      row.histogram = gridHistogram(weight->values, unpack(packed.view()));
    }
    take(i, std::move(packed), std::move(row));
  }
  return success();
}

void QuantizationRun::recordShared(unsigned index) {
  const PlannedLayer &layer = quantizePlan.layers[index];
  LayerReport row = modelReport.layers[*layer.leader];
  recorded[index] = true;
  row.sharesWeightOf = row.name;
  row.fallback = llvm::formatv("shares the weight of {0}", row.name);
  row.name = layer.name;
  row.outputDrift.reset(); // its own inputs are others
  row.seconds = 0;
  modelReport.layers[index] = std::move(row);
  progress.advance(layer.name, static_cast<double>(layer.n) * layer.k);
}

PackedMatrix QuantizationRun::weight(unsigned index) const {
  return weights[quantizePlan.layers[index].leader.value_or(index)].view();
}

/// The recorded weight of layer `index` as an op: in front of its reader, or at
/// the start of the function if others share it, so that it dominates them. Its
/// sizes are counted.
WeightOp QuantizationRun::createWeight(unsigned index, bool isShared) {
  const PlannedLayer &layer = quantizePlan.layers[index];
  PackedStorage storage = std::move(weights[index]);
  Operation *reader = layer.reader();
  OpBuilder b(reader);
  if (isShared || !layer.gathers.empty())
    b.setInsertionPointToStart(
        &reader->getParentOfType<func::FuncOp>().getBody().front());
  auto floats = cast<RankedTensorType>(layer.constant().getType());
  WeightType type = WeightType::get(
      b.getContext(), layer.n, layer.k, floats.getElementType(),
      getSchemeAttr(b.getContext(), storage.scheme), LayoutAttr());
  SmallVector<ArrayRef<char>> data;
  storage.view().forEachPlane([&](const char *, std::span<const uint8_t> raw) {
    data.emplace_back(reinterpret_cast<const char *>(raw.data()), raw.size());
    modelReport.bytesAfter += raw.size();
  });
  modelReport.bytesBefore += blobSize(floats);
  SmallVector<NamedAttribute> planes;
  for (auto [plane, bytes] : llvm::zip_equal(type.getPlanes(), data)) {
    std::string key = llvm::formatv("{0}.{1}", layer.name, plane.name);
    planes.emplace_back(b.getStringAttr(plane.name),
                        createResource(plane.type, key, bytes));
  }
  return WeightOp::create(b, reader->getLoc(), type, layer.name,
                          b.getDictionaryAttr(planes));
}

namespace {
/// A quantized weight for readers in any function: of its planes there is one
/// copy, of the op one for each function.
class SharedWeight {
public:
  /// `op` dominates all readers in its function.
  explicit SharedWeight(WeightOp op) {
    ops[op->getParentOfType<func::FuncOp>()] = op;
    first = op;
  }

  Value forReader(Operation *reader) {
    auto function = reader->getParentOfType<func::FuncOp>();
    WeightOp &op = ops[function];
    if (!op) {
      OpBuilder b = OpBuilder::atBlockBegin(&function.getBody().front());
      op = cast<WeightOp>(b.clone(*first.getOperation()));
    }
    return op.getResult();
  }

private:
  WeightOp first;
  DenseMap<Operation *, WeightOp> ops; // by function
};
} // namespace

static void assignWeight(LinearOp linear, Value weight) {
  auto constant = linear.getWeight().getDefiningOp<arith::ConstantOp>();
  linear.getWeightMutable().assign(weight);
  if (constant->use_empty())
    constant.erase();
}

/// Tells MLIR's remark engine (mlir/IR/Remarks.h), if it is on, what `row` says
/// of a layer that `reader` reads. The remark goes by the layer's name:
/// locations need not differ.
static void emitRemark(Operation *reader, const LayerReport &row) {
  using remark::metric;
  remark::detail::InFlightRemark remark = remark::passed(
      reader->getLoc(),
      remark::RemarkOpts::name(row.name)
          .category("lowbit")
          .subCategory("quantize")
          .function(reader->getParentOfType<func::FuncOp>().getName()));
  if (!remark)
    return;
  remark << metric("method", row.method) << metric("scheme", row.scheme)
         << metric("bits_per_weight", row.bitsPerWeight)
         << metric("relative_error", row.relativeError)
         << metric("error_measure", row.errorMeasure);
  if (!row.fallback.empty())
    remark << metric("fallback", row.fallback);
}

void QuantizationRun::rewriteTable(unsigned index) {
  const PlannedLayer &layer = quantizePlan.layers[index];
  emitRemark(layer.reader(), modelReport.layers[index]);
  ops[index] = createWeight(index, /*isShared=*/true);
  SharedWeight shared(ops[index]);
  for (const TableGather &gather : layer.gathers)
    replaceByLookup(gather, shared.forReader(gather.op));
}

void QuantizationRun::rewriteLinear(unsigned index, bool isShared) {
  const PlannedLayer &layer = quantizePlan.layers[index];
  ops[index] =
      layer.leader ? ops[*layer.leader] : createWeight(index, isShared);
  SharedWeight shared(ops[index]);
  for (const TableGather &gather : layer.gathers)
    replaceByLookup(gather, shared.forReader(gather.op));
  for (LinearOp other : layer.elsewhere)
    assignWeight(other, shared.forReader(other));
  assignWeight(layer.linear, ops[index].getResult());
  emitRemark(layer.reader(), modelReport.layers[index]);
}

LogicalResult QuantizationRun::finish() {
  std::vector<bool> isShared(weights.size(), false);
  for (const PlannedLayer &layer : quantizePlan.layers)
    if (layer.leader)
      isShared[*layer.leader] = true;
  double bits = 0, count = 0;
  for (auto [i, layer] : llvm::enumerate(quantizePlan.layers)) {
    LayerReport &row = modelReport.layers[i];
    if (layer.linear)
      rewriteLinear(i, isShared[i]);
    if (!scaling.empty())
      row.awq = scaling[i].report;
    if (layer.leader)
      continue;
    double elements = static_cast<double>(layer.n) * layer.k;
    bits += row.bitsPerWeight * elements;
    count += elements;
  }
  std::vector<LayerReport> rows;
  for (unsigned i : reportOrder(quantizePlan))
    rows.push_back(std::move(modelReport.layers[i]));
  modelReport.layers = std::move(rows);
  modelReport.bitsPerWeight = bits / count;
  modelReport.wallSeconds = wallSeconds() - wallStart;
  modelReport.cpuSeconds = cpuSeconds() - cpuStart;
  modelReport.peakBytes = lowbit::peakBytes();
  if (quantizeOptions.progress != ProgressStyle::None) {
    progress.finish();
    modelReport.print(llvm::errs());
  }
  if (quantizeOptions.report.empty())
    return success();
  if (llvm::Error error = writeReport(quantizeOptions.report, modelReport))
    return module.emitError()
           << "cannot write report '" << quantizeOptions.report
           << "': " << llvm::toString(std::move(error));
  return success();
}

} // namespace quantopt::lowbit
