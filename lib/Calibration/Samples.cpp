//===- Samples.cpp - Calibration samples ----------------------------------===//
//
// Part of quant-opt, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "quantopt/Calibration/Samples.h"

#include "quantopt/Dialect/LowBit/IR/BlobData.h"
#include "quantopt/Dialect/LowBit/IR/LowBit.h"
#include "quantopt/Formats/Arrays.h"
#include "quantopt/Runtime/Matrix.h"

#include "llvm/ADT/TypeSwitch.h"
#include "llvm/Support/FormatVariadic.h"

using namespace mlir;

namespace quantopt {

void CalibrationSamples::truncate(int64_t newCount) {
  for (HostArray &array : arguments)
    array.shape[0] = newCount;
  count = newCount;
}

const std::byte *CalibrationSamples::data(int64_t sample,
                                          unsigned index) const {
  const HostArray &array = arguments[index];
  return array.data + array.sizeInBytes() / count * sample;
}

std::optional<DType> getDType(Type type) {
  return llvm::TypeSwitch<Type, std::optional<DType>>(type)
      .Case<Float16Type>([](auto) { return DType::F16; })
      .Case<BFloat16Type>([](auto) { return DType::BF16; })
      .Case<Float32Type>([](auto) { return DType::F32; })
      .Case<Float64Type>([](auto) { return DType::F64; })
      .Case<IntegerType>([](IntegerType type) -> std::optional<DType> {
        switch (type.getWidth()) {
        case 1:
          return DType::Bool;
        case 8:
          return type.isUnsigned() ? DType::U8 : DType::I8;
        case 16:
          return type.isUnsigned() ? DType::U16 : DType::I16;
        case 32:
          return type.isUnsigned() ? DType::U32 : DType::I32;
        case 64:
          return type.isUnsigned() ? DType::U64 : DType::I64;
        default:
          return std::nullopt;
        }
      })
      .Default([](Type) { return std::nullopt; });
}

Type getMLIRType(MLIRContext *context, DType dtype) {
  switch (dtype) {
  case DType::F16:
    return Float16Type::get(context);
  case DType::BF16:
    return BFloat16Type::get(context);
  case DType::F32:
    return Float32Type::get(context);
  case DType::F64:
    return Float64Type::get(context);
  case DType::Bool:
    return IntegerType::get(context, 1);
  case DType::F8E4M3:
    return Float8E4M3FNType::get(context);
  case DType::F8E5M2:
    return Float8E5M2Type::get(context);
  case DType::F8E8M0:
    return Float8E8M0FNUType::get(context);
  default:
    return IntegerType::get(context, itemSize(dtype) * 8);
  }
}

//===----------------------------------------------------------------------===//
// From a file
//===----------------------------------------------------------------------===//

static SmallVector<int64_t> withoutUnits(ArrayRef<int64_t> shape) {
  SmallVector<int64_t> result;
  llvm::copy_if(shape, std::back_inserter(result),
                [](int64_t extent) { return extent != 1; });
  return result;
}

template <typename To, typename From>
static void convertInto(const HostArray &from, std::byte *bytes) {
  auto *source = reinterpret_cast<const From *>(from.data);
  auto *target = reinterpret_cast<To *>(bytes);
  std::copy(source, source + from.size(), target);
}

template <typename To>
static bool convertIntegersInto(const HostArray &from, std::byte *bytes) {
  switch (from.dtype) {
  case DType::U8:
    return convertInto<To, uint8_t>(from, bytes), true;
  case DType::I8:
    return convertInto<To, int8_t>(from, bytes), true;
  case DType::U16:
    return convertInto<To, uint16_t>(from, bytes), true;
  case DType::I16:
    return convertInto<To, int16_t>(from, bytes), true;
  case DType::U32:
    return convertInto<To, uint32_t>(from, bytes), true;
  case DType::I32:
    return convertInto<To, int32_t>(from, bytes), true;
  case DType::U64:
    return convertInto<To, uint64_t>(from, bytes), true;
  case DType::I64:
    return convertInto<To, int64_t>(from, bytes), true;
  default:
    return false;
  }
}

/// `array` as `dtype` if both are integers, or f32 samples for a narrower float
/// (numpy has no bf16); itself if they agree already.
static std::optional<HostArray> convertSamples(const HostArray &array,
                                               DType dtype) {
  if (array.dtype == dtype)
    return array;
  std::byte *bytes = nullptr;
  HostArray result = HostArray::allocate(dtype, array.shape, bytes);
  if (array.dtype == DType::F32 &&
      (dtype == DType::F16 || dtype == DType::BF16)) {
    narrow(dtype == DType::F16 ? FloatKind::F16 : FloatKind::BF16,
           array.as<float>(), array.size(), bytes);
    return result;
  }
  bool done = dtype == DType::I64   ? convertIntegersInto<int64_t>(array, bytes)
              : dtype == DType::I32 ? convertIntegersInto<int32_t>(array, bytes)
                                    : false;
  return done ? std::optional(result) : std::nullopt;
}

/// `array` as samples of an argument of `type`; `count` is the number of
/// samples, 0 while it is not known.
static FailureOr<HostArray>
asSamples(const HostArray &array, RankedTensorType type, int64_t &count,
          function_ref<InFlightDiagnostic()> emitError) {
  auto shapeText = [](ArrayRef<int64_t> shape) {
    std::string text;
    llvm::raw_string_ostream os(text);
    llvm::interleave(shape, os, "x");
    return text;
  };
  if (!type.hasStaticShape()) {
    emitError() << "the argument has the dynamic type " << type
                << " - calibrate on a module with static shapes";
    return failure();
  }
  ArrayRef<int64_t> shape = array.shape;
  if (shape.empty() ||
      withoutUnits(shape.drop_front()) != withoutUnits(type.getShape())) {
    emitError() << "has shape " << shapeText(shape)
                << ", but samples of this argument are [samples, "
                << shapeText(type.getShape()) << "]";
    return failure();
  }
  if (shape[0] == 0) {
    emitError() << "holds no samples - give at least one";
    return failure();
  }
  if (count && shape[0] != count) {
    emitError() << "holds " << shape[0]
                << " samples, but an argument before it " << count;
    return failure();
  }
  count = shape[0];
  std::optional<DType> dtype = getDType(type.getElementType());
  std::optional<HostArray> converted;
  if (dtype)
    converted = convertSamples(array, *dtype);
  if (!converted) {
    emitError() << "holds " << dtypeName(array.dtype)
                << ", but the argument is " << type.getElementType();
    return failure();
  }
  converted->shape.assign(1, count);
  llvm::append_range(converted->shape, type.getShape());
  return *converted;
}

FailureOr<CalibrationSamples> readSamples(StringRef path, func::FuncOp entry) {
  llvm::Expected<ArrayMap> arrays = readArrays(path);
  if (!arrays) {
    entry.emitError("cannot read calibration samples: ")
        << llvm::toString(arrays.takeError());
    return failure();
  }
  CalibrationSamples samples;
  for (auto [i, type] : llvm::enumerate(entry.getArgumentTypes())) {
    std::string name = llvm::formatv("arg{0}", i);
    auto it = arrays->find(name);
    // Arrays that numpy.savez names itself, in order.
    if (it == arrays->end())
      it = arrays->find(llvm::formatv("arr_{0}", i).str());
    auto tensorType = dyn_cast<RankedTensorType>(type);
    if (it == arrays->end() || !tensorType) {
      entry.emitError("calibration file '")
          << path << "' has no array '" << name << "' for argument " << i
          << " of type " << type;
      return failure();
    }
    FailureOr<HostArray> array =
        asSamples(it->second, tensorType, samples.count, [&] {
          return entry.emitError("calibration file '")
                 << path << "': array '" << it->first << "' ";
        });
    if (failed(array))
      return failure();
    samples.arguments.push_back(*array);
  }
  return samples;
}

//===----------------------------------------------------------------------===//
// As attributes
//===----------------------------------------------------------------------===//

FailureOr<std::optional<CalibrationSamples>>
attachedSamples(func::FuncOp entry) {
  CalibrationSamples samples;
  unsigned found = 0;
  for (unsigned i = 0; i < entry.getNumArguments(); ++i) {
    auto attr =
        entry.getArgAttrOfType<ElementsAttr>(i, lowbit::kCalibrationAttr);
    if (!attr)
      continue;
    ++found;
    auto emitError = [&] {
      return entry.emitError("calibration samples of argument ") << i << ": ";
    };
    auto type = dyn_cast<RankedTensorType>(entry.getArgumentTypes()[i]);
    FailureOr<ArrayRef<char>> bytes = lowbit::getRawBytes(attr, emitError);
    if (failed(bytes) || !type)
      return failure();
    HostArray array;
    std::optional<DType> dtype = getDType(attr.getElementType());
    if (!dtype || attr.isSplat()) {
      emitError() << "cannot be read from " << attr.getShapedType();
      return failure();
    }
    array.dtype = *dtype;
    array.shape = attr.getShapedType().getShape().vec();
    array.data = reinterpret_cast<const std::byte *>(bytes->data());
    FailureOr<HostArray> checked =
        asSamples(array, type, samples.count, emitError);
    if (failed(checked))
      return failure();
    samples.arguments.push_back(*checked);
  }
  if (found == 0)
    return std::optional<CalibrationSamples>();
  if (found != entry.getNumArguments()) {
    entry.emitError("only ")
        << found << " of " << entry.getNumArguments()
        << " arguments have lowbit.calibration - attach samples for all";
    return failure();
  }
  return std::optional(samples);
}

void attachSamples(func::FuncOp entry, const CalibrationSamples &samples) {
  for (auto [i, array] : llvm::enumerate(samples.arguments)) {
    auto type = RankedTensorType::get(
        array.shape, getElementTypeOrSelf(entry.getArgumentTypes()[i]));
    ArrayRef<char> bytes(reinterpret_cast<const char *>(array.data),
                         array.sizeInBytes());
    auto attr = lowbit::createResource(
        type, llvm::formatv("calibration.arg{0}", i).str(),
        AsmResourceBlob(
            bytes, itemSize(array.dtype),
            [owner = array.owner](void *, size_t, size_t) mutable {
              owner.reset();
            },
            /*dataIsMutable=*/false));
    entry.setArgAttr(i, lowbit::kCalibrationAttr, attr);
  }
}

} // namespace quantopt
