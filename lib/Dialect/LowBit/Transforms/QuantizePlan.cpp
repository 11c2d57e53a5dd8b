//===- QuantizePlan.cpp - Which layers a quantizer takes ------------------===//
//
// Part of quant-opt, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "QuantizePlan.h"

#include "ConstantView.h"

#include "quantopt/Dialect/LowBit/Transforms/FindLinears.h"

#include "mlir/Dialect/Func/IR/FuncOps.h"
#include "mlir/Dialect/Linalg/IR/Linalg.h"
#include "mlir/IR/DialectResourceBlobManager.h"
#include "llvm/Support/FormatVariadic.h"

using namespace mlir;

namespace quantopt::lowbit {

namespace {
/// Sorts linears and tables into planned and skipped.
class Planner {
public:
  Planner(ModuleOp module, const QuantizeOptions &options)
      : options(options), tables(module) {}

  void add(LinearOp linear) {
    if (!isInEntry(linear)) {
      elsewhere.push_back(linear);
      return;
    }
    auto weight = linear.getWeight().getDefiningOp<arith::ConstantOp>();
    if (weight)
      ofEntry.insert(dataIdentity(weight));
    const LayerRule *rule = findRule(linear.getName());
    std::string reason = whyNot(linear, rule);
    if (!reason.empty()) {
      plan.skipped.push_back({linear.getName().str(), reason});
      return;
    }
    PlannedLayer layer;
    layer.linear = linear;
    layer.name = linear.getName();
    layer.n = linear.getN();
    layer.k = linear.getK();
    layer.spec = specOf(rule);
    layer.spec.scheme = layer.spec.scheme.forRows(layer.k);
    auto &sharers = leaders[dataIdentity(weight)];
    auto it = llvm::find_if(sharers, [&](unsigned leader) {
      return plan.layers[leader].spec == layer.spec;
    });
    // Where one weight is quantized in several ways, rows are of the first.
    if (sharers.empty())
      layer.gathers = llvm::to_vector(tables.gathers(weight, layer.n, layer.k));
    if (it == sharers.end())
      sharers.push_back(plan.layers.size());
    else
      layer.leader = *it;
    plan.layers.push_back(std::move(layer));
  }

  /// Lets the linears of other functions follow those of the entry; called once
  /// these are known.
  void addElsewhere() {
    for (LinearOp linear : elsewhere) {
      auto weight = linear.getWeight().getDefiningOp<arith::ConstantOp>();
      if (!weight || !ofEntry.contains(dataIdentity(weight))) {
        plan.skipped.push_back(
            {linear.getName().str(),
             linear.isQuantized()
                 ? "already quantized"
                 : llvm::formatv("not in the entry function '{0}' (option "
                                 "entry)",
                                 options.entry)
                       .str()});
        continue;
      }
      // What is done with layers of one weight may differ: then names decide.
      ArrayRef<unsigned> candidates = leaders[dataIdentity(weight)];
      auto sameName = llvm::find_if(candidates, [&](unsigned layer) {
        return plan.layers[layer].name == linear.getName();
      });
      if (sameName != candidates.end())
        plan.layers[*sameName].elsewhere.push_back(linear);
      else if (!candidates.empty())
        plan.layers[candidates.front()].elsewhere.push_back(linear);
    }
  }

  /// The tables of `entry`; called once all linears are known.
  void addTables(func::FuncOp entry) {
    for (auto [i, table] : llvm::enumerate(tables.tables(entry)))
      add(table, table.name.empty() ? llvm::formatv("embedding.{0}", i).str()
                                    : table.name);
    // Tables of an earlier run.
    entry.walk([&](WeightOp weight) {
      if (!weight->use_empty() &&
          llvm::all_of(weight->getUsers(), llvm::IsaPred<LookupOp>))
        plan.skipped.push_back({weight.getLayer().str(), "already quantized"});
    });
  }

  /// A pattern of the recipe that matches no layer is likely a slip.
  void warnOfUnmatched() const {
    for (const LayerRule &rule : options.rules)
      for (const RecipePattern &pattern : rule.from.match)
        if (!matched.contains(&pattern))
          emitWarning(pattern.loc, "no layer matches '") << pattern.text << "'";
  }

  QuantizePlan plan;

private:
  void add(const Table &table, std::string name) {
    const LayerRule *rule = findRule(name);
    PlannedLayer layer;
    layer.spec = specOf(rule);
    // Whoever keeps tables need not know why others could not be quantized.
    if (!layer.spec.quantizeEmbedding && table.gathers.empty())
      return;
    std::string reason = whyNot(name, rule);
    if (reason.empty() && !layer.spec.quantizeEmbedding)
      reason =
          "an embedding, whose rows stay float - embeddings=quantize takes "
          "it too";
    if (reason.empty() && !table.whyNot.empty())
      reason = "an embedding: " + table.whyNot;
    if (!reason.empty()) {
      plan.skipped.push_back({name, reason});
      return;
    }
    layer.gathers = table.gathers;
    std::swap(layer.gathers.front(),
              *llvm::find_if(layer.gathers, [&](const TableGather &gather) {
                return isInEntry(linalg::GenericOp(gather.op));
              }));
    auto type = cast<RankedTensorType>(layer.constant().getType());
    layer.n = type.getDimSize(0);
    layer.k = type.getDimSize(1);
    layer.name = std::move(name);
    layer.spec.scheme = layer.spec.scheme.forRows(layer.k);
    // There are no inputs that its rows multiply.
    if (layer.spec.method == Method::Gptq)
      layer.fallback = "an embedding has no inputs: rounded to nearest";
    else if (layer.spec.importance != Importance::None)
      layer.fallback = "an embedding has no inputs: not weighted by importance";
    layer.spec.method = Method::RoundToNearest;
    layer.spec.importance = Importance::None;
    layer.spec.scaling = Scaling::None;
    plan.layers.push_back(std::move(layer));
  }

  const LayerSpec &specOf(const LayerRule *rule) const {
    return rule ? rule->spec : options.layer;
  }

  bool isInEntry(Operation *op) const {
    return op->getParentOfType<func::FuncOp>().getName() == options.entry;
  }

  /// The first rule of the recipe that matches `name`, or null.
  const LayerRule *findRule(StringRef name) {
    const LayerRule *first = nullptr;
    for (const LayerRule &rule : options.rules)
      for (const RecipePattern &pattern : rule.from.match)
        if (pattern.regex.match(name)) {
          matched.insert(&pattern);
          first = first ? first : &rule;
        }
    return first;
  }

  /// Why the user leaves it out; empty if not so.
  std::string whyNot(StringRef name, const LayerRule *rule) const {
    auto matches = [&](const llvm::Regex &pattern) {
      return pattern.match(name);
    };
    if (llvm::any_of(options.skip, matches))
      return "left out by option skip";
    if (!options.only.empty() && !llvm::any_of(options.only, matches))
      return "left out by option only";
    if (rule && rule->from.skip)
      return llvm::formatv("left out by line {0} of the recipe",
                           rule->from.loc.getLine());
    return "";
  }

  std::string whyNot(LinearOp linear, const LayerRule *rule) {
    if (linear.isQuantized())
      return "already quantized";
    auto constant = linear.getWeight().getDefiningOp<arith::ConstantOp>();
    if (!constant)
      return "its weight is not a constant";
    if (std::string reason = whyNot(linear.getName(), rule); !reason.empty())
      return reason;
    Operation *reader = tables.find(constant);
    if (!reader || options.quantizeTied)
      return "";
    if (!tables.gathers(constant, linear.getN(), linear.getK()).empty())
      return llvm::formatv("tied: its weight is also used by '{0}' (an "
                           "embedding), which would read its rows with few "
                           "bits too - tied=quantize does that",
                           reader->getName());
    return llvm::formatv("tied: its weight is also used by '{0}', for which a "
                         "float copy would have to stay - tied=quantize does "
                         "that",
                         reader->getName());
  }

  const QuantizeOptions &options;
  DenseSet<const RecipePattern *> matched;
  TableReaders tables;
  /// Per weight the first layer of each spec.
  DenseMap<Attribute, SmallVector<unsigned, 1>> leaders;
  DenseSet<Attribute> ofEntry; // weights of its linears
  SmallVector<LinearOp> elsewhere;
};
} // namespace

/// A name for a contraction that is no linear: that of its weight, if it has
/// one, else its place.
static std::string contractionName(Operation *op, unsigned ordinal) {
  for (Value operand : op->getOperands())
    if (std::optional<ConstantView> view = traceConstant(operand))
      if (auto resource = dyn_cast<DenseResourceElementsAttr>(view->data()))
        return resource.getRawHandle().getKey().str();
  return llvm::formatv("contraction.{0}", ordinal);
}

FailureOr<QuantizePlan> planQuantization(ModuleOp module,
                                         const QuantizeOptions &options,
                                         bool withTables) {
  auto entry = module.lookupSymbol<func::FuncOp>(options.entry);
  if (!entry || entry.isExternal())
    return module.emitError("the module has no function '")
           << options.entry << "' - name its entry function with entry=NAME";
  if (failed(findLinears(module)))
    return failure();
  Planner planner(module, options);
  unsigned refused = 0;
  module.walk([&](Operation *op) {
    if (auto linear = dyn_cast<LinearOp>(op))
      planner.add(linear);
    else if (auto reason = op->getAttrOfType<StringAttr>(kRefusedAttr))
      planner.plan.skipped.push_back(
          {contractionName(op, refused++), reason.getValue().str()});
  });
  planner.addElsewhere();
  if (withTables)
    planner.addTables(entry);
  planner.warnOfUnmatched();
  if (!planner.plan.layers.empty())
    return std::move(planner.plan);

  InFlightDiagnostic diag = entry.emitError();
  if (planner.plan.skipped.empty())
    diag << "no linear layer found: the function holds no contraction - import "
            "the model to linalg on tensors, before any fusion";
  else
    diag << "no linear layer to quantize";
  for (const SkippedReport &skip : planner.plan.skipped)
    diag.attachNote() << skip.name << ": " << skip.reason;
  return failure();
}

SmallVector<LinearOp> linearsOf(const QuantizePlan &plan) {
  SmallVector<LinearOp> linears;
  for (const PlannedLayer &layer : plan.layers)
    if (layer.linear)
      linears.push_back(layer.linear);
  return linears;
}

SmallVector<unsigned> reportOrder(const QuantizePlan &plan) {
  SmallVector<unsigned> order;
  for (bool isLinear : {false, true})
    for (auto [i, layer] : llvm::enumerate(plan.layers))
      if (static_cast<bool>(layer.linear) == isLinear)
        order.push_back(i);
  return order;
}

} // namespace quantopt::lowbit
