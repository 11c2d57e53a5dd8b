//===- AwqFold.cpp - Where a factor per channel goes ----------------------===//
//
// Part of quant-opt, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "AwqFold.h"

#include "AwqBody.h"
#include "ConstantView.h"

#include "quantopt/Calibration/Calibrate.h"

#include "mlir/IR/DialectResourceBlobManager.h"
#include "llvm/ADT/StringExtras.h"

using namespace mlir;

namespace quantopt::lowbit {

//===----------------------------------------------------------------------===//
// Who reads what
//===----------------------------------------------------------------------===//

ConstantReaders::ConstantReaders(ModuleOp module) {
  module.walk([&](arith::ConstantOp constant) {
    if (!isa<ElementsAttr>(constant.getValue()))
      return;
    Readers &known = readers[dataIdentity(constant)];
    for (Operation *user : constant->getUsers())
      known[user->getParentOfType<func::FuncOp>()].push_back(user);
  });
}

const ConstantReaders::Readers *
ConstantReaders::readersOf(LinearOp linear) const {
  auto constant = linear.getWeight().getDefiningOp<arith::ConstantOp>();
  auto it = constant ? readers.find(dataIdentity(constant)) : readers.end();
  return it == readers.end() ? nullptr : &it->second;
}

bool ConstantReaders::isOwn(LinearOp linear) const {
  const Readers *known = readersOf(linear);
  return known && llvm::all_of(*known, [](const auto &function) {
           ArrayRef<Operation *> users = function.second;
           return users.size() == 1 && isa<LinearOp>(users[0]);
         });
}

SmallVector<LinearOp> ConstantReaders::elsewhere(LinearOp linear) const {
  SmallVector<LinearOp> found;
  for (const auto &[function, users] : *readersOf(linear))
    if (users[0] != linear)
      found.push_back(cast<LinearOp>(users[0]));
  return found;
}

//===----------------------------------------------------------------------===//
// The walk
//===----------------------------------------------------------------------===//

namespace {
/// Walks from a value against the direction of data.
class FoldSearch {
public:
  explicit FoldSearch(const ConstantReaders &readers) : readers(&readers) {}

  /// Lets the factors start at the input that `linears` share.
  bool start(ArrayRef<LinearOp> linears);

  Fold fold;
  std::string why;

private:
  bool enterReaders(Value value, ArrayRef<LinearOp> linears);
  bool take(Value value, const ChannelMap &channels, double shift);
  bool takeAsConstant(OpOperand &use, const ChannelMap &channels, double shift);
  bool takeAsLinear(LinearOp linear, const ChannelMap &channels);
  bool takeByOperands(linalg::LinalgOp op, const ChannelMap &channels,
                      double shift);
  bool othersAreAside(Value value, const ChannelMap &channels);
  bool refuse(const Twine &reason) {
    if (why.empty())
      why = reason.str();
    return false;
  }

  const ConstantReaders *readers;
  /// What was asked of each value that changes.
  llvm::SmallDenseMap<Value, std::pair<ChannelMap, double>> changed;
  /// The uses of values that change which may see them changed.
  llvm::SmallPtrSet<OpOperand *, 16> path;
};
} // namespace

/// Whether `use` looks at the type of a value only.
static bool readsShapeOnly(const OpOperand &use) {
  return isa<tensor::DimOp>(use.getOwner());
}

/// The reason that `use` sees a change that it must not see.
static std::string describeReader(const OpOperand &use) {
  Operation *op = use.getOwner();
  if (auto linear = dyn_cast<LinearOp>(op))
    return ("'" + linear.getName() + "' reads it too").str();
  return ("'" + op->getName().getStringRef() + "' reads it too").str();
}

/// Marks all uses of `value`, which must be `linears`, perhaps behind reshapes.
bool FoldSearch::enterReaders(Value value, ArrayRef<LinearOp> linears) {
  for (OpOperand &use : value.getUses()) {
    Operation *op = use.getOwner();
    if (readsShapeOnly(use))
      continue;
    path.insert(&use);
    if (auto linear = dyn_cast<LinearOp>(op);
        linear && use.getOperandNumber() == 0 &&
        llvm::is_contained(linears, linear))
      continue;
    if (!isReshape(op) || !enterReaders(op->getResult(0), linears))
      return refuse(describeReader(use));
  }
  return true;
}

bool FoldSearch::start(ArrayRef<LinearOp> linears) {
  Value input = skipReshapes(LinearOp(linears[0]).getInput());
  if (!enterReaders(input, linears))
    return false;
  std::optional<ChannelMap> shared;
  for (LinearOp linear : linears) {
    Value value = linear.getInput();
    auto type = cast<RankedTensorType>(value.getType());
    if (!type.hasStaticShape())
      return refuse("its shape is dynamic");
    std::optional<ChannelMap> channels = ChannelMap::ofLastDim(type);
    for (; channels && value != input;
         value = value.getDefiningOp()->getOperand(0))
      channels = channelsOfSource(value.getDefiningOp(), *channels);
    if (!channels || (shared && *shared != *channels))
      return refuse("its readers see it as matrices of different shapes");
    shared = channels;
  }
  return take(input, *shared, /*shift=*/0);
}

/// Whether nothing off the path reads elements of `value` that have a channel.
bool FoldSearch::othersAreAside(Value value, const ChannelMap &channels) {
  for (OpOperand &use : value.getUses()) {
    if (path.contains(&use) || readsShapeOnly(use))
      continue;
    auto slice = dyn_cast<tensor::ExtractSliceOp>(use.getOwner());
    if (slice && slice.hasUnitStride() &&
        llvm::none_of(slice.getStaticOffsets(), ShapedType::isDynamic) &&
        llvm::none_of(slice.getStaticSizes(), ShapedType::isDynamic) &&
        channels.isDisjoint(slice.getStaticOffsets(), slice.getStaticSizes()))
      continue;
    return refuse(describeReader(use));
  }
  return true;
}

/// Whether what `value` is computed from can take the factors: each element e
/// of it has to become f e + (f - 1) shift.
bool FoldSearch::take(Value value, const ChannelMap &channels, double shift) {
  Operation *op = value.getDefiningOp();
  if (!op)
    return refuse("it is an argument");
  auto asked = std::make_pair(channels, shift);
  if (auto [it, isNew] = changed.try_emplace(value, asked); !isNew)
    return it->second == asked || refuse("it would have to change in two ways");
  if (!othersAreAside(value, channels))
    return false;
  if (auto linear = dyn_cast<LinearOp>(op))
    return shift == 0 ? takeAsLinear(linear, channels)
                      : refuse("a number is added to it");
  if (auto linalgOp = dyn_cast<linalg::LinalgOp>(op))
    return takeByOperands(linalgOp, channels, shift);
  if (std::optional<ChannelMap> source = channelsOfSource(op, channels)) {
    OpOperand &operand = op->getOpOperand(0);
    path.insert(&operand);
    return operand.get().getDefiningOp<arith::ConstantOp>()
               ? takeAsConstant(operand, *source, shift)
               : take(operand.get(), *source, shift);
  }
  return refuse("it is computed by '" + op->getName().getStringRef() + "'");
}

/// A constant is copied for its use on the path: others keep the old one.
bool FoldSearch::takeAsConstant(OpOperand &use, const ChannelMap &channels,
                                double shift) {
  auto type = dyn_cast<RankedTensorType>(use.get().getType());
  if (!type || !getFloatKind(type.getElementType()))
    return refuse("its type is not f32, f16 or bf16");
  fold.constants.push_back({&use, channels, shift});
  return true;
}

bool FoldSearch::takeAsLinear(LinearOp linear, const ChannelMap &channels) {
  // A copy of a weight would cost more than all else; and of a quantized one it
  // would take new codes.
  if (linear.isQuantized() || !readers->isOwn(linear))
    return refuse("the weight of '" + linear.getName() +
                  "' is quantized, shared or no constant");
  if (linear.isRouted())
    return refuse("'" + linear.getName() + "' gives some of its rows only");
  if (!channels.isLastDimOnly())
    return refuse("channels are no rows of '" + linear.getName() + "'");
  fold.rows.push_back({linear, channels.dims.back()});
  return true;
}

bool FoldSearch::takeByOperands(linalg::LinalgOp op, const ChannelMap &channels,
                                double shift) {
  for (ArrayRef<OperandScaling> way : waysToScale(op, shift)) {
    FoldSearch attempt = *this;
    for (const OperandScaling &scaling : way)
      attempt.path.insert(scaling.operand);
    bool taken = llvm::all_of(way, [&](const OperandScaling &scaling) {
      OpOperand &operand = *scaling.operand;
      std::optional<ChannelMap> source =
          channelsOfOperand(op, operand, channels);
      if (!source)
        return attempt.refuse("it is the same for several channels");
      return operand.get().getDefiningOp<arith::ConstantOp>()
                 ? attempt.takeAsConstant(operand, *source, scaling.shift)
                 : attempt.take(operand.get(), *source, scaling.shift);
    });
    if (taken) {
      *this = std::move(attempt);
      return true;
    }
    refuse(attempt.why);
  }
  return refuse("'" + op->getName().getStringRef() +
                "' does not carry a factor");
}

FailureOr<Fold> findFold(ArrayRef<LinearOp> linears,
                         const ConstantReaders &readers, std::string &why) {
  FoldSearch search(readers);
  if (search.start(linears))
    return std::move(search.fold);
  why = std::move(search.why);
  return failure();
}

bool isSameFold(const Fold &a, const Fold &b) {
  auto dataOf = [](Value constant) {
    return dataIdentity(constant.getDefiningOp<arith::ConstantOp>());
  };
  return llvm::equal(a.constants, b.constants,
                     [&](const Fold::Constant &x, const Fold::Constant &y) {
                       return dataOf(x.use->get()) == dataOf(y.use->get()) &&
                              x.channels == y.channels && x.shift == y.shift;
                     }) &&
         llvm::equal(a.rows, b.rows,
                     [&](const Fold::Rows &x, const Fold::Rows &y) {
                       return dataOf(LinearOp(x.linear).getWeight()) ==
                                  dataOf(LinearOp(y.linear).getWeight()) &&
                              x.channels == y.channels;
                     });
}

std::string Fold::describe() const {
  SmallVector<std::string> names;
  for (const Constant &constant : constants) {
    auto op = constant.use->get().getDefiningOp<arith::ConstantOp>();
    auto resource = dyn_cast<DenseResourceElementsAttr>(op.getValue());
    names.push_back(resource ? resource.getRawHandle().getKey().str()
                             : "a constant");
  }
  for (const Rows &taker : rows)
    names.push_back(LinearOp(taker.linear).getName().str());
  return llvm::join(names, ", ");
}

} // namespace quantopt::lowbit
