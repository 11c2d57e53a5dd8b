//===- Calibrate.cpp - Run a module and stop at its linears ---------------===//
//
// Part of quant-opt, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "quantopt/Calibration/Calibrate.h"

#include "Rendezvous.h"

#include "quantopt/Execution/CompiledModule.h"

#include "mlir/Dialect/Linalg/IR/Linalg.h"
#include "mlir/Dialect/Tensor/IR/Tensor.h"
#include "mlir/IR/Dominance.h"
#include "mlir/IR/IRMapping.h"
#include "mlir/IR/PatternMatch.h"
#include "mlir/Transforms/CSE.h"
#include "mlir/Transforms/RegionUtils.h"
#include "llvm/ADT/StringSet.h"

#include <omp.h>
#include <thread>

using namespace mlir;

namespace quantopt {

CalibrationClient::~CalibrationClient() = default;

namespace {
/// A copy of the module in which the observed linears call the host.
struct ObservedModule {
  OwningOpRef<ModuleOp> module;
  /// Linears that read one input, and which of these groups each belongs to.
  SmallVector<SmallVector<unsigned>> groups;
  SmallVector<unsigned> groupOf;
};
} // namespace

/// The value that `value` is a reshape of.
static Value skipReshapes(Value value) {
  while (Operation *op = value.getDefiningOp()) {
    if (!isa<tensor::CollapseShapeOp, tensor::ExpandShapeOp>(op))
      break;
    value = op->getOperand(0);
  }
  return value;
}

/// Makes `entry` return nothing and erases what then is unused.
static void keepOnlyObserved(func::FuncOp entry) {
  IRRewriter rewriter(entry.getContext());
  entry.walk([&](func::ReturnOp op) { op.getOperandsMutable().clear(); });
  entry.setFunctionType(
      FunctionType::get(entry.getContext(), entry.getArgumentTypes(), {}));
  entry.setAllResultAttrs(ArrayRef<Attribute>{});
  (void)runRegionDCE(rewriter, entry->getRegions());
}

static ObservedModule observeLinears(ModuleOp module, StringRef entry,
                                     ArrayRef<lowbit::LinearOp> linears) {
  ObservedModule observed;
  IRMapping mapping;
  observed.module = cast<ModuleOp>(module->clone(mapping));
  SmallVector<lowbit::HostLinearOp> calls;
  for (auto [i, linear] : llvm::enumerate(linears)) {
    Operation *original = lowbit::LinearOp(linear);
    auto clone = cast<lowbit::LinearOp>(mapping.lookup(original));
    OpBuilder b(clone);
    auto call = lowbit::HostLinearOp::create(
        b, clone.getLoc(), clone.getResult().getType(), clone.getInput(),
        static_cast<uint64_t>(i), /*observed=*/true);
    clone.getResult().replaceAllUsesWith(call);
    clone.erase();
    calls.push_back(call);
  }
  auto function = observed.module->lookupSymbol<func::FuncOp>(entry);
  keepOnlyObserved(function);
  // Importers reshape one value once per linear; merged, they show that the
  // linears read the same input. Calls are never merged: they are observed.
  IRRewriter rewriter(function.getContext());
  DominanceInfo dominance;
  eliminateCommonSubExpressions(rewriter, dominance, function);
  DenseMap<Value, unsigned> groupOfInput;
  for (auto [i, call] : llvm::enumerate(calls)) {
    auto [it, isNew] = groupOfInput.try_emplace(skipReshapes(call.getInput()),
                                                observed.groups.size());
    if (isNew)
      observed.groups.emplace_back();
    observed.groups[it->second].push_back(i);
    observed.groupOf.push_back(it->second);
  }
  return observed;
}

namespace {
/// Takes the calls of one sample's compiled code.
class SampleHandler : public LinearHandler {
public:
  SampleHandler(unsigned sample, const ObservedModule &observed,
                Rendezvous &rendezvous, CalibrationClient &client,
                LinearHandler &ownWeights)
      : sample(sample), observed(observed), rendezvous(rendezvous),
        client(client), ownWeights(ownWeights) {}

  std::string run(int64_t id, MatrixRef x, MutableMatrixRef y) override {
    // Linears that nobody observes keep their float weights.
    if (id >= static_cast<int64_t>(observed.groupOf.size()))
      return ownWeights.run(id, x, y);
    if (!rendezvous.meet(observed.groupOf[id], sample, x))
      return "calibration was stopped";
    client.multiply(id, x, y);
    return "";
  }

private:
  unsigned sample;
  const ObservedModule &observed;
  Rendezvous &rendezvous;
  CalibrationClient &client;
  LinearHandler &ownWeights;
};
} // namespace

/// The inputs of `sample` for an entry of `types`.
static SmallVector<HostArray> inputsOf(const CalibrationSamples &samples,
                                       unsigned sample,
                                       ArrayRef<RankedTensorType> types) {
  SmallVector<HostArray> inputs;
  for (auto [i, type] : llvm::enumerate(types)) {
    HostArray input;
    input.dtype = samples.arguments[i].dtype;
    input.shape = type.getShape().vec();
    input.data = samples.data(sample, i);
    inputs.push_back(std::move(input));
  }
  return inputs;
}

LogicalResult calibrate(ModuleOp module, StringRef entry,
                        ArrayRef<lowbit::LinearOp> linears,
                        const CalibrationSamples &samples, unsigned threads,
                        CalibrationClient &client) {
  ObservedModule observed = observeLinears(module, entry, linears);
  FailureOr<std::unique_ptr<CompiledModule>> compiled =
      CompiledModule::compile(*observed.module, entry);
  if (failed(compiled))
    return failure();

  Rendezvous rendezvous(observed.groups.size(), samples.count, threads);
  // What the samples report is said once, not by each; and once the run is
  // stopped the client has said why, and all that they report follows from it.
  llvm::StringSet<> said;
  std::mutex saidMutex;
  ScopedDiagnosticHandler once(module.getContext(), [&](Diagnostic &diag) {
    std::lock_guard<std::mutex> lock(saidMutex);
    return success(rendezvous.stopped() || !said.insert(diag.str()).second);
  });
  std::atomic<bool> ranAll = true;
  std::vector<std::thread> workers;
  for (unsigned sample = 0; sample < samples.count; ++sample)
    workers.emplace_back([&, sample] {
      // The samples are the parallelism; inside one there is none.
      omp_set_num_threads(1);
      SampleHandler handler(sample, observed, rendezvous, client,
                            (*compiled)->ownWeights());
      rendezvous.participate(sample, [&] {
        SmallVector<HostArray> results;
        if (failed((*compiled)->run(
                inputsOf(samples, sample, (*compiled)->inputTypes()), results,
                &handler)))
          ranAll = false;
      });
    });

  int threadsBefore = omp_get_max_threads();
  omp_set_num_threads(threads);
  bool conducted =
      rendezvous.conduct([&](unsigned group, std::vector<MatrixRef> inputs) {
        return succeeded(client.observe(observed.groups[group], inputs));
      });
  omp_set_num_threads(threadsBefore);
  for (std::thread &worker : workers)
    worker.join();
  return success(conducted && ranAll);
}

} // namespace quantopt
