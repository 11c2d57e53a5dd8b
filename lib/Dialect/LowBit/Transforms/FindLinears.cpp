//===- FindLinears.cpp - Recognise linear layers --------------------------===//
//
// Part of quant-opt, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "Experts.h"
#include "LinearShapes.h"

#include "quantopt/Dialect/LowBit/IR/BlobData.h"
#include "quantopt/Dialect/LowBit/Transforms/FindLinears.h"
#include "quantopt/Dialect/LowBit/Transforms/Passes.h"

#include "mlir/Dialect/Func/IR/FuncOps.h"
#include "mlir/Dialect/Tensor/IR/Tensor.h"
#include "mlir/IR/Matchers.h"
#include "llvm/ADT/StringSet.h"
#include "llvm/Support/FormatVariadic.h"

namespace quantopt::lowbit {
#define GEN_PASS_DEF_LOWBITFINDLINEARS
#include "quantopt/Dialect/LowBit/Transforms/Passes.h.inc"
} // namespace quantopt::lowbit

using namespace mlir;
using namespace quantopt::lowbit;

//===----------------------------------------------------------------------===//
// Names
//===----------------------------------------------------------------------===//

namespace {
/// Gives each linear a name that nothing else in its function has. In functions
/// that share their weights the same layer has the same name.
class LayerNames {
public:
  explicit LayerNames(func::FuncOp function)
      : aliases(function->getParentOfType<ModuleOp>()
                    ->getAttrOfType<DictionaryAttr>(kAliasesAttr)) {
    function.walk([&](LinearOp op) { taken.insert(op.getName()); });
  }

  /// The name for the next linear, whose weight is `constant`; of `experts`
  /// linears, which add their number.
  std::string next(arith::ConstantOp constant, int64_t experts = 0) {
    std::string base = baseName(constant), name = base;
    auto isTaken = [&] {
      return taken.contains(experts ? expertName(name, 0) : name);
    };
    for (unsigned copy = 1; isTaken(); ++copy)
      name = llvm::formatv("{0}#{1}", base, copy);
    if (experts == 0)
      taken.insert(name);
    for (int64_t expert = 0; expert < experts; ++expert)
      taken.insert(expertName(name, expert));
    ++ordinal;
    return name;
  }

  static std::string expertName(StringRef base, int64_t expert) {
    return llvm::formatv("{0}.{1}", base, expert);
  }

private:
  std::string baseName(arith::ConstantOp constant) const {
    auto resource = dyn_cast<DenseResourceElementsAttr>(constant.getValue());
    if (!resource)
      return llvm::formatv("linear.{0}", ordinal);
    StringRef key = resource.getRawHandle().getKey();
    // A parameter that is shared with something else than a linear (the
    // embedding) goes by its other name, that of the linear (lm_head).
    if (aliases && !constant->hasOneUse())
      for (NamedAttribute alias : aliases)
        if (auto target = dyn_cast<StringAttr>(alias.getValue());
            target && target.getValue() == key) {
          key = alias.getName();
          break;
        }
    key.consume_back(".weight");
    return key.str();
  }

  DictionaryAttr aliases;
  llvm::StringSet<> taken;
  unsigned ordinal = 0;
};
} // namespace

//===----------------------------------------------------------------------===//
// Rewriting
//===----------------------------------------------------------------------===//

/// Whether `value` is all zeros.
static bool isZeroTensor(Value value) {
  value = skipViews(value);
  if (auto fill = value.getDefiningOp<linalg::FillOp>())
    return matchPattern(fill.getInputs()[0], m_AnyZeroFloat());
  DenseElementsAttr dense;
  return matchPattern(value, m_Constant(&dense)) && dense.isSplat() &&
         dense.getSplatValue<APFloat>().isZero();
}

/// `view` as a weight [n, k] in front of its constant.
static FailureOr<Value> emitWeight(const ConstantView &view,
                                   const ConstantContraction &contraction,
                                   StringRef name, ViewData &views) {
  FailureOr<ElementsAttr> data =
      views.materialize(view, contraction.n, contraction.k, name);
  if (failed(data))
    return failure();
  arith::ConstantOp constant = view.constant;
  if (*data == constant.getValue())
    return constant.getResult();
  OpBuilder b(constant);
  return arith::ConstantOp::create(b, constant.getLoc(), *data).getResult();
}

/// x times the weight, where all rows share it.
static FailureOr<Value> emitLinear(OpBuilder &b, Location loc, Value input,
                                   RankedTensorType type,
                                   const ConstantContraction &contraction,
                                   LayerNames &names, ViewData &views) {
  std::string name = names.next(contraction.weight.constant);
  FailureOr<Value> weight =
      emitWeight(contraction.weight, contraction, name, views);
  if (failed(weight))
    return failure();
  return LinearOp::create(b, loc, type, input, *weight, name).getResult();
}

/// x times the weight of each row's expert: a chain of linears, one for each
/// expert, whose `input` is x.
static FailureOr<Value>
emitExpertLinears(OpBuilder &b, Location loc, Value input,
                  RankedTensorType type, const ConstantContraction &contraction,
                  ArrayRef<std::optional<unsigned>> leadingLoops,
                  LayerNames &names, ViewData &views) {
  const ExpertChoice &experts = *contraction.experts;
  Value routing = emitRouting(b, loc, experts, input, leadingLoops);
  SmallVector<OpFoldResult> sizes = tensor::getMixedSizes(b, loc, input);
  sizes.back() = b.getIndexAttr(contraction.n);
  Value empty = tensor::EmptyOp::create(b, loc, sizes, type.getElementType());
  Value zero =
      arith::ConstantOp::create(b, loc, b.getZeroAttr(type.getElementType()));
  Value result = linalg::FillOp::create(b, loc, zero, empty).getResult(0);
  std::string base = names.next(contraction.weight.constant, experts.count());
  for (int64_t expert = 0; expert < experts.count(); ++expert) {
    std::string name = LayerNames::expertName(base, expert);
    ConstantView view = contraction.weight;
    view.offset += experts.offset(expert);
    FailureOr<Value> weight = emitWeight(view, contraction, name, views);
    if (failed(weight))
      return failure();
    result = LinearOp::create(b, loc, type, input, *weight, routing, result,
                              name, b.getI64IntegerAttr(expert));
  }
  return result;
}

/// contraction(x, view(W), init) -> view(lowbit.linear(view(x), W)) [+ init]
static FailureOr<bool> rewrite(linalg::LinalgOp op, LayerNames &names,
                               ViewData &views, std::string &why) {
  std::optional<ConstantContraction> contraction = analyzeContraction(op, why);
  if (!contraction)
    return false;
  OpBuilder b(op);
  Location loc = op.getLoc();
  SmallVector<std::optional<unsigned>> leadingLoops;
  Value input = normalizeInput(b, op, *contraction, leadingLoops);
  if (!input) {
    why = "dynamic dimensions would have to be reshaped";
    return false;
  }
  // Keep the names and new constants only if all the rest works out.
  auto resultType = cast<RankedTensorType>(op->getResult(0).getType());
  auto inputType = cast<RankedTensorType>(input.getType());
  SmallVector<int64_t> shape(inputType.getShape().drop_back());
  shape.push_back(contraction->n);
  auto type = RankedTensorType::get(shape, resultType.getElementType());
  auto place = UnrealizedConversionCastOp::create(b, loc, type, ValueRange());
  Value result =
      denormalizeResult(b, loc, place.getResult(0), resultType, *contraction);
  if (!result) {
    place.erase();
    why = "dynamic dimensions would have to be reshaped";
    return false;
  }
  OpBuilder atPlace(place);
  FailureOr<Value> product =
      contraction->experts
          ? emitExpertLinears(atPlace, loc, input, type, *contraction,
                              leadingLoops, names, views)
          : emitLinear(atPlace, loc, input, type, *contraction, names, views);
  if (failed(product))
    return failure();
  if (result == place.getResult(0))
    result = *product;
  place.getResult(0).replaceAllUsesWith(*product);
  place.erase();
  Value init = op.getDpsInits()[0];
  if (!isZeroTensor(init)) {
    Value empty =
        tensor::EmptyOp::create(b, loc, tensor::getMixedSizes(b, loc, result),
                                resultType.getElementType());
    result = linalg::AddOp::create(b, loc, ValueRange{result, init}, empty)
                 ->getResult(0);
  }
  op->getResult(0).replaceAllUsesWith(result);
  op.erase();
  return true;
}

/// Erases what became dead (transposes and broadcasts of weights).
static void eraseDead(func::FuncOp function) {
  for (Block &block : function.getBody())
    for (Operation &op : llvm::make_early_inc_range(llvm::reverse(block)))
      if (isOpTriviallyDead(&op))
        op.erase();
}

FailureOr<FoundLinears> quantopt::lowbit::findLinears(ModuleOp module) {
  FoundLinears found;
  ViewData views;
  for (auto function : module.getOps<func::FuncOp>()) {
    LayerNames names(function);
    SmallVector<linalg::LinalgOp> contractions;
    function.walk([&](linalg::LinalgOp op) {
      if (isContraction(op))
        contractions.push_back(op);
    });
    for (linalg::LinalgOp contraction : contractions) {
      linalg::LinalgOp op = splitMergedExperts(contraction);
      std::string why;
      FailureOr<bool> done = rewrite(op, names, views, why);
      if (failed(done))
        return failure();
      if (*done) {
        ++found.linears;
        continue;
      }
      ++found.refused;
      op->setAttr(kRefusedAttr, StringAttr::get(op.getContext(), why));
    }
    eraseDead(function);
  }
  return found;
}

namespace {
struct FindLinearsPass
    : public quantopt::lowbit::impl::LowBitFindLinearsBase<FindLinearsPass> {
  void runOnOperation() override {
    FailureOr<FoundLinears> found = findLinears(getOperation());
    if (failed(found))
      return signalPassFailure();
    numLinears += found->linears;
    numRefused += found->refused;
  }
};
} // namespace
