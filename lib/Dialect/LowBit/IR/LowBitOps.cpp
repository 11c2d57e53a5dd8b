//===- LowBitOps.cpp - Verifiers and accessors of the operations ----------===//
//
// Part of quant-opt, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "quantopt/Dialect/LowBit/IR/BlobData.h"
#include "quantopt/Dialect/LowBit/IR/LowBit.h"

using namespace mlir;
using namespace quantopt;
using namespace quantopt::lowbit;

#define GET_OP_CLASSES
#include "quantopt/Dialect/LowBit/IR/LowBitOps.cpp.inc"

//===----------------------------------------------------------------------===//
// lowbit.linear
//===----------------------------------------------------------------------===//

/// [N, K] of a float or quantized weight; {0, 0} if it is not a matrix.
static std::pair<int64_t, int64_t> weightShape(Type type) {
  if (auto weight = dyn_cast<WeightType>(type))
    return {weight.getN(), weight.getK()};
  auto tensor = cast<RankedTensorType>(type);
  if (tensor.getRank() != 2)
    return {0, 0};
  return {tensor.getDimSize(0), tensor.getDimSize(1)};
}

int64_t LinearOp::getN() { return weightShape(getWeight().getType()).first; }
int64_t LinearOp::getK() { return weightShape(getWeight().getType()).second; }
bool LinearOp::isQuantized() { return isa<WeightType>(getWeight().getType()); }

/// Checks that `op` maps [..., k] to the same leading dimensions.
static LogicalResult verifyLeadingDims(Operation *op, RankedTensorType input,
                                       RankedTensorType result) {
  if (input.getRank() < 1 || input.getRank() != result.getRank() ||
      input.getShape().drop_back() != result.getShape().drop_back())
    return op->emitOpError("keeps all dimensions of its input but the last, "
                           "so it cannot map ")
           << input << " to " << result;
  return success();
}

/// Checks that `routing` has an entry for each row of `input`.
static LogicalResult verifyRouting(Operation *op, Value routing, Value input) {
  auto type = cast<RankedTensorType>(routing.getType());
  auto rows = cast<RankedTensorType>(input.getType()).getShape().drop_back();
  if (type.getShape() != rows)
    return op->emitOpError("takes a routing with an entry for each row of ")
           << input.getType() << ", not " << type;
  return success();
}

LogicalResult LinearOp::verify() {
  auto input = cast<RankedTensorType>(getInput().getType());
  auto result = cast<RankedTensorType>(getResult().getType());
  Type weight = getWeight().getType();
  auto [n, k] = weightShape(weight);
  if (auto tensor = dyn_cast<RankedTensorType>(weight);
      tensor && (tensor.getRank() != 2 || !tensor.hasStaticShape()))
    return emitOpError("takes a weight of static shape [N, K], not ") << weight;
  if (failed(verifyLeadingDims(*this, input, result)))
    return failure();
  if (input.getShape().back() != k)
    return emitOpError("'")
           << getName() << "' multiplies over K, but the input has "
           << input.getShape().back() << " channels and the weight [N, K] = ["
           << n << ", " << k << "] - transpose one that is stored [K, N]";
  if (result.getShape().back() != n)
    return emitOpError("'") << getName() << "' has " << n
                            << " output channels, but the result has "
                            << result.getShape().back();
  bool hasOthers = static_cast<bool>(getOthers());
  if (isRouted() != getExpert().has_value() || isRouted() != hasOthers)
    return emitOpError("'") << getName()
                            << "' takes other rows and 'expert' if it is "
                               "routed, and only then";
  if (!isRouted())
    return success();
  if (getOthers().getType() != result)
    return emitOpError("'") << getName() << "' takes its other rows as "
                            << result << ", not " << getOthers().getType();
  return verifyRouting(*this, getRouting(), getInput());
}

//===----------------------------------------------------------------------===//
// lowbit.weight
//===----------------------------------------------------------------------===//

SmallVector<ElementsAttr> WeightOp::getPlaneAttrs() {
  SmallVector<ElementsAttr> attrs;
  for (const Plane &plane : getResult().getType().getPlanes())
    attrs.push_back(getPlanes().getAs<ElementsAttr>(plane.name));
  return attrs;
}

FailureOr<SmallVector<ArrayRef<char>>> WeightOp::getPlaneData() {
  SmallVector<ArrayRef<char>> data;
  for (ElementsAttr attr : getPlaneAttrs()) {
    FailureOr<ArrayRef<char>> bytes = getRawBytes(
        attr, [&] { return emitOpError("of layer '") << getLayer() << "': "; });
    if (failed(bytes))
      return failure();
    data.push_back(*bytes);
  }
  return data;
}

LogicalResult WeightOp::verify() {
  WeightType type = getResult().getType();
  SmallVector<Plane> planes = type.getPlanes();
  for (const Plane &plane : planes) {
    auto attr = dyn_cast_or_null<ElementsAttr>(getPlanes().get(plane.name));
    if (!attr)
      return emitOpError("of layer '")
             << getLayer() << "' lacks the plane '" << plane.name << "' that "
             << type.getScheme() << " stores";
    if (attr.getShapedType() != plane.type)
      return emitOpError("of layer '")
             << getLayer() << "' has plane '" << plane.name << "' of type "
             << attr.getShapedType() << ", but its type takes " << plane.type;
    auto dense = dyn_cast<DenseElementsAttr>(attr);
    if (dense && dense.isSplat() && attr.getNumElements() != 1)
      return emitOpError("of layer '")
             << getLayer() << "' has a splat as plane '" << plane.name
             << "' - write every element out";
    // An elided resource is allowed, so that text for people can be parsed;
    // one of the wrong size is not.
    auto resource = dyn_cast<DenseResourceElementsAttr>(attr);
    if (resource && resource.getRawHandle().getBlob() &&
        failed(getRawBytes(attr, [&] {
          return emitOpError("of layer '") << getLayer() << "': ";
        })))
      return failure();
  }
  if (getPlanes().size() != planes.size())
    return emitOpError("of layer '")
           << getLayer() << "' has " << getPlanes().size() << " planes, but "
           << type.getScheme() << " stores " << planes.size();
  return success();
}

//===----------------------------------------------------------------------===//
// lowbit.lookup
//===----------------------------------------------------------------------===//

LogicalResult LookupOp::verify() {
  auto rows = cast<RankedTensorType>(getRows().getType());
  auto result = cast<RankedTensorType>(getResult().getType());
  int64_t k = cast<WeightType>(getWeight().getType()).getK();
  SmallVector<int64_t> shape(rows.getShape());
  shape.push_back(k);
  if (result.getShape() != ArrayRef(shape))
    return emitOpError("finds rows of ")
           << k << " values for " << rows << ", which cannot be " << result;
  return success();
}

//===----------------------------------------------------------------------===//
// lowbit.host_linear
//===----------------------------------------------------------------------===//

LogicalResult HostLinearOp::verify() {
  if (static_cast<int64_t>(getId()) < 0)
    return emitOpError("takes an id of at least 0, not ")
           << static_cast<int64_t>(getId());
  if (getResidual()) {
    auto type = cast<RankedTensorType>(getResidual().getType());
    auto result = cast<RankedTensorType>(getResult().getType());
    if (!type.hasStaticShape() || !result.hasStaticShape() ||
        type.getRank() < 1 ||
        type.getShape().back() != result.getShape().back() ||
        type.getNumElements() != result.getNumElements())
      return emitOpError("has a residual of ")
             << type << ", which is not rows of " << result;
  }
  return verifyLeadingDims(*this, cast<RankedTensorType>(getInput().getType()),
                           cast<RankedTensorType>(getResult().getType()));
}

void HostLinearOp::getEffects(
    SmallVectorImpl<SideEffects::EffectInstance<MemoryEffects::Effect>>
        &effects) {
  if (getObserved())
    effects.emplace_back(MemoryEffects::Write::get());
}

//===----------------------------------------------------------------------===//
// lowbit.host_experts
//===----------------------------------------------------------------------===//

LogicalResult HostExpertsOp::verify() {
  if (getExperts().size() != getIds().size())
    return emitOpError("takes an id for each of its ")
           << getExperts().size() << " experts, not " << getIds().size();
  for (int64_t id : getIds())
    if (id < 0)
      return emitOpError("takes ids of at least 0, not ") << id;
  if (failed(verifyLeadingDims(*this,
                               cast<RankedTensorType>(getInput().getType()),
                               cast<RankedTensorType>(getResult().getType()))))
    return failure();
  return verifyRouting(*this, getRouting(), getInput());
}

void HostExpertsOp::getEffects(
    SmallVectorImpl<SideEffects::EffectInstance<MemoryEffects::Effect>>
        &effects) {
  if (getObserved())
    effects.emplace_back(MemoryEffects::Write::get());
}
