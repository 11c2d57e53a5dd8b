//===- BlobData.h - Bytes behind constant attributes ------------*- C++ -*-===//
//
// Part of quant-opt, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#ifndef QUANTOPT_DIALECT_LOWBIT_IR_BLOBDATA_H
#define QUANTOPT_DIALECT_LOWBIT_IR_BLOBDATA_H

#include "mlir/IR/BuiltinAttributes.h"
#include "mlir/IR/BuiltinDialect.h"
#include "mlir/IR/Diagnostics.h"
#include "mlir/IR/DialectResourceBlobManager.h"

namespace quantopt::lowbit {

/// Bytes that a value of `type` takes in a blob (sub-byte elements count as one
/// byte, as MLIR stores them).
int64_t blobSize(mlir::ShapedType type);

/// The bytes of a dense or dense_resource constant, not copied; they live as
/// long as the context. A splat has the bytes of one element. A resource that
/// is missing, elided or of the wrong size is an error that names its key and
/// the way out. (The MLIR parser does not compare a blob with its type.)
mlir::FailureOr<llvm::ArrayRef<char>>
getRawBytes(mlir::ElementsAttr attr,
            llvm::function_ref<mlir::InFlightDiagnostic()> emitError);

/// A new resource of `type` that owns a copy-free buffer; `key` is made unique.
mlir::DenseResourceElementsAttr createResource(mlir::RankedTensorType type,
                                               llvm::StringRef key,
                                               mlir::AsmResourceBlob blob);

/// The same from bytes, which are copied into the resource.
mlir::DenseResourceElementsAttr createResource(mlir::RankedTensorType type,
                                               llvm::StringRef key,
                                               llvm::ArrayRef<char> bytes);

} // namespace quantopt::lowbit

#endif // QUANTOPT_DIALECT_LOWBIT_IR_BLOBDATA_H
