//===- FindLinears.cpp - Recognise linear layers --------------------------===//
//
// Part of quant-opt, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "Contraction.h"

#include "quantopt/Dialect/LowBit/IR/BlobData.h"
#include "quantopt/Dialect/LowBit/Transforms/FindLinears.h"
#include "quantopt/Dialect/LowBit/Transforms/Passes.h"

#include "mlir/Dialect/Func/IR/FuncOps.h"
#include "mlir/Dialect/Tensor/IR/Tensor.h"
#include "mlir/Dialect/Utils/ReshapeOpsUtils.h"
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
/// Gives each linear a name that nothing else in the module has.
class LayerNames {
public:
  explicit LayerNames(ModuleOp module)
      : aliases(module->getAttrOfType<DictionaryAttr>(kAliasesAttr)) {
    module.walk([&](LinearOp op) { taken.insert(op.getName()); });
  }

  /// The name for the next linear, whose weight is `constant`.
  std::string next(arith::ConstantOp constant) {
    std::string base = baseName(constant), name = base;
    for (unsigned copy = 1; !taken.insert(name).second; ++copy)
      name = llvm::formatv("{0}#{1}", base, copy);
    ++ordinal;
    return name;
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

/// `value` permuted so that dimension i of the result is `permutation[i]`.
static Value transpose(OpBuilder &b, Location loc, Value value,
                       ArrayRef<int64_t> permutation) {
  if (llvm::equal(permutation, llvm::seq<int64_t>(0, permutation.size())))
    return value;
  SmallVector<OpFoldResult> sizes = tensor::getMixedSizes(b, loc, value);
  SmallVector<OpFoldResult> permuted;
  for (int64_t dim : permutation)
    permuted.push_back(sizes[dim]);
  Value init =
      tensor::EmptyOp::create(b, loc, permuted, getElementTypeOrSelf(value));
  return linalg::TransposeOp::create(b, loc, value, init, permutation)
      ->getResult(0);
}

/// `value` in `type`, elements in the same row-major order; null if that takes
/// a reshape of dynamic dimensions that cannot be written as one.
static Value reshape(OpBuilder &b, Location loc, Value value,
                     RankedTensorType type) {
  auto from = cast<RankedTensorType>(value.getType());
  if (from == type)
    return value;
  if (auto groups = getReassociationIndicesForReshape(from, type);
      groups && from.getRank() != type.getRank()) {
    if (from.getRank() > type.getRank())
      return tensor::CollapseShapeOp::create(b, loc, type, value, *groups);
    if (type.hasStaticShape())
      return tensor::ExpandShapeOp::create(b, loc, type, value, *groups);
  }
  if (!from.hasStaticShape() || !type.hasStaticShape())
    return {};
  auto flat =
      RankedTensorType::get({from.getNumElements()}, from.getElementType());
  auto all = [](int64_t rank) {
    SmallVector<ReassociationIndices> groups(1);
    llvm::append_range(groups[0], llvm::seq<int64_t>(0, rank));
    return groups;
  };
  if (from.getRank() != 1)
    value = tensor::CollapseShapeOp::create(b, loc, flat, value,
                                            all(from.getRank()));
  if (type.getRank() == 1)
    return value;
  return tensor::ExpandShapeOp::create(b, loc, type, value,
                                       all(type.getRank()));
}

/// x as [leading..., K]: summed dimensions moved to the end and merged.
static Value normalizeInput(OpBuilder &b, Location loc, Value input,
                            const ConstantContraction &contraction) {
  SmallVector<int64_t> order, kDims;
  for (auto [dim, loop] : llvm::enumerate(contraction.inputLoops))
    if (!loop || !llvm::is_contained(contraction.kLoops, *loop))
      order.push_back(dim);
  // The remaining dimensions in the order of the output's m loops; those of
  // extent 1 keep their place in front of their successor.
  auto rank = [&](int64_t dim) {
    int64_t end = contraction.inputLoops.size();
    int64_t next = dim;
    while (next < end && !contraction.inputLoops[next])
      ++next;
    int64_t place = -1;
    if (next < end)
      place = llvm::find(contraction.mLoops, *contraction.inputLoops[next]) -
              contraction.mLoops.begin();
    return std::make_pair(place, dim);
  };
  llvm::sort(order, [&](int64_t a, int64_t b) { return rank(a) < rank(b); });
  unsigned leading = order.size();
  for (unsigned loop : contraction.kLoops)
    order.push_back(
        llvm::find(contraction.inputLoops, std::optional<unsigned>(loop)) -
        contraction.inputLoops.begin());
  Value moved = transpose(b, loc, input, order);
  auto type = cast<RankedTensorType>(moved.getType());
  SmallVector<int64_t> shape(type.getShape().take_front(leading));
  shape.push_back(contraction.k);
  return reshape(b, loc, moved,
                 RankedTensorType::get(shape, type.getElementType()));
}

/// The result [leading..., N] of the linear in the type of the contraction.
static Value denormalizeResult(OpBuilder &b, Location loc, Value result,
                               RankedTensorType type,
                               const ConstantContraction &contraction) {
  // Where each loop of (m..., n...) goes in the output, units left out.
  SmallVector<unsigned> loops(contraction.mLoops);
  llvm::append_range(loops, contraction.nLoops);
  SmallVector<int64_t> permutation, shape;
  for (std::optional<unsigned> loop : contraction.outputLoops)
    if (loop)
      permutation.push_back(llvm::find(loops, *loop) - loops.begin());
  if (llvm::equal(permutation, llvm::seq<int64_t>(0, permutation.size())))
    return reshape(b, loc, result, type);
  for (unsigned loop : loops)
    for (auto [dim, at] : llvm::enumerate(contraction.outputLoops))
      if (at == loop)
        shape.push_back(type.getDimSize(dim));
  Value split = reshape(b, loc, result,
                        RankedTensorType::get(shape, type.getElementType()));
  if (!split)
    return {};
  return reshape(b, loc, transpose(b, loc, split, permutation), type);
}

/// Whether `value` is all zeros.
static bool isZeroTensor(Value value) {
  if (auto fill = value.getDefiningOp<linalg::FillOp>())
    return matchPattern(fill.getInputs()[0], m_AnyZeroFloat());
  DenseElementsAttr dense;
  return matchPattern(value, m_Constant(&dense)) && dense.isSplat() &&
         dense.getSplatValue<APFloat>().isZero();
}

/// contraction(x, view(W), init) -> view(lowbit.linear(view(x), W)) [+ init]
static FailureOr<bool> rewrite(linalg::LinalgOp op, LayerNames &names,
                               std::string &why) {
  std::optional<ConstantContraction> contraction = analyzeContraction(op, why);
  if (!contraction)
    return false;
  OpBuilder b(op);
  Location loc = op.getLoc();
  Value input = normalizeInput(
      b, loc, op.getDpsInputOperand(contraction->inputIndex)->get(),
      *contraction);
  if (!input) {
    why = "dynamic dimensions would have to be reshaped";
    return false;
  }
  // Keep the name and the new constant only if all the rest works out.
  auto resultType = cast<RankedTensorType>(op->getResult(0).getType());
  auto inputType = cast<RankedTensorType>(input.getType());
  SmallVector<int64_t> shape(inputType.getShape().drop_back());
  shape.push_back(contraction->n);
  auto linearType = RankedTensorType::get(shape, resultType.getElementType());
  std::string name = names.next(contraction->weight.constant);
  FailureOr<ElementsAttr> data =
      materialize(contraction->weight, contraction->n, contraction->k, name);
  if (failed(data))
    return failure();
  arith::ConstantOp constant = contraction->weight.constant;
  Value weight = constant;
  if (*data != constant.getValue()) {
    OpBuilder atConstant(constant);
    weight = arith::ConstantOp::create(atConstant, constant.getLoc(), *data);
  }
  auto linear = LinearOp::create(b, loc, linearType, input, weight, name);
  Value result = denormalizeResult(b, loc, linear, resultType, *contraction);
  if (!result) {
    linear.erase();
    why = "dynamic dimensions would have to be reshaped";
    return false;
  }
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
  LayerNames names(module);
  for (auto function : module.getOps<func::FuncOp>()) {
    SmallVector<linalg::LinalgOp> contractions;
    function.walk([&](linalg::LinalgOp op) {
      if (isContraction(op))
        contractions.push_back(op);
    });
    for (linalg::LinalgOp op : contractions) {
      std::string why;
      FailureOr<bool> done = rewrite(op, names, why);
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
