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

QuantizationRun::QuantizationRun(StringRef method,
                                 const QuantizeOptions &options,
                                 QuantizePlan plan)
    : quantizeOptions(options), quantizePlan(std::move(plan)),
      weights(quantizePlan.layers.size()),
      recorded(quantizePlan.layers.size(), false),
      progress(options.progress, llvm::errs(), totalCost(quantizePlan)),
      wallStart(wallSeconds()), cpuStart(cpuSeconds()) {
  modelReport.method = method;
  modelReport.layers.resize(quantizePlan.layers.size());
  modelReport.skipped = quantizePlan.skipped;
}

static WeightType weightType(LinearOp linear, const Scheme &scheme) {
  auto type = cast<RankedTensorType>(linear.getWeight().getType());
  MLIRContext *context = linear.getContext();
  return WeightType::get(context, linear.getN(), linear.getK(),
                         type.getElementType(), getSchemeAttr(context, scheme),
                         LayoutAttr());
}

InFlightDiagnostic QuantizationRun::emitError() {
  return LinearOp(quantizePlan.layers[0].linear)
      ->getParentOfType<ModuleOp>()
      .emitError();
}

void QuantizationRun::take(unsigned index, PackedStorage weight,
                           LayerReport row) {
  const PlannedLayer &layer = quantizePlan.layers[index];
  weights[index] = std::move(weight);
  recorded[index] = true;
  // A file may not hold the name as it is: JSON takes no byte that is not
  // UTF-8.
  row.name = layer.name;
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
      << getSchemeAttr(layer.linear->getContext(), matrix.scheme);
  PackedStorage packed = pack(matrix);
  if (checkpoint)
    if (llvm::Error error = checkpoint->write(index, packed.view(), row))
      return emitError() << "checkpoint: " << llvm::toString(std::move(error));
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
      return emitError() << "checkpoint: "
                         << llvm::toString(stored.takeError());
    if (!*stored)
      continue;
    auto &[packed, row] = **stored;
    if (isReportPage(quantizeOptions.report)) {
      FailureOr<WeightValues> weight = readWeight(layer.linear);
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

/// A lowbit.weight for `linear` with the planes of `storage`: in front of it,
/// or at the start of the function if others share it, so that it dominates
/// them.
static WeightOp createWeight(LinearOp linear, const PackedStorage &storage,
                             bool isShared) {
  OpBuilder b(linear);
  if (isShared)
    b.setInsertionPointToStart(
        &linear->getParentOfType<func::FuncOp>().getBody().front());
  WeightType type = weightType(linear, storage.scheme);
  SmallVector<ArrayRef<char>> data;
  storage.view().forEachPlane([&](const char *, std::span<const uint8_t> raw) {
    data.emplace_back(reinterpret_cast<const char *>(raw.data()), raw.size());
  });
  SmallVector<NamedAttribute> planes;
  for (auto [plane, bytes] : llvm::zip_equal(type.getPlanes(), data)) {
    std::string key = llvm::formatv("{0}.{1}", linear.getName(), plane.name);
    planes.emplace_back(b.getStringAttr(plane.name),
                        createResource(plane.type, key, bytes));
  }
  return WeightOp::create(b, linear.getLoc(), type, linear.getNameAttr(),
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
/// of `linear`. The remark goes by the layer's name: locations need not differ.
static void emitRemark(LinearOp linear, const LayerReport &row) {
  using remark::metric;
  remark::detail::InFlightRemark remark = remark::passed(
      linear.getLoc(),
      remark::RemarkOpts::name(linear.getName())
          .category("lowbit")
          .subCategory("quantize")
          .function(linear->getParentOfType<func::FuncOp>().getName()));
  if (!remark)
    return;
  remark << metric("method", row.method) << metric("scheme", row.scheme)
         << metric("bits_per_weight", row.bitsPerWeight)
         << metric("relative_error", row.relativeError)
         << metric("error_measure", row.errorMeasure);
  if (!row.fallback.empty())
    remark << metric("fallback", row.fallback);
}

LogicalResult QuantizationRun::finish() {
  std::vector<WeightOp> ops(weights.size());
  std::vector<bool> isShared(weights.size(), false);
  for (const PlannedLayer &layer : quantizePlan.layers)
    if (layer.leader)
      isShared[*layer.leader] = true;
  double bits = 0, count = 0;
  TableReaders tables(
      LinearOp(quantizePlan.layers[0].linear)->getParentOfType<ModuleOp>());
  for (auto [i, layer] : llvm::enumerate(quantizePlan.layers)) {
    LinearOp linear = layer.linear;
    auto constant = linear.getWeight().getDefiningOp<arith::ConstantOp>();
    auto type = cast<RankedTensorType>(constant.getType());
    SmallVector<TableGather> gathers;
    if (layer.leader) {
      ops[i] = ops[*layer.leader];
    } else {
      gathers = tables.take(constant, layer.n, layer.k);
      ops[i] =
          createWeight(linear, weights[i], isShared[i] || !gathers.empty());
      modelReport.bytesBefore += blobSize(type);
      weights[i].view().forEachPlane(
          [&](const char *, std::span<const uint8_t> plane) {
            modelReport.bytesAfter += plane.size();
          });
      double elements = static_cast<double>(layer.n) * layer.k;
      bits += modelReport.layers[i].bitsPerWeight * elements;
      count += elements;
      weights[i] = {};
    }
    SharedWeight shared(ops[i]);
    for (const TableGather &gather : gathers)
      replaceByLookup(gather, shared.forReader(gather.op));
    for (LinearOp other : layer.elsewhere)
      assignWeight(other, shared.forReader(other));
    assignWeight(linear, ops[i].getResult());
    if (!scaling.empty())
      modelReport.layers[i].awq = scaling[i].report;
    emitRemark(linear, modelReport.layers[i]);
  }
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
    return emitError() << "cannot write report '" << quantizeOptions.report
                       << "': " << llvm::toString(std::move(error));
  return success();
}

} // namespace quantopt::lowbit
