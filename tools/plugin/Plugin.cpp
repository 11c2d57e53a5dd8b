//===- Plugin.cpp - The dialect and its passes as an MLIR plugin ----------===//
//
// Part of quant-opt, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
//
// mlir-opt --load-dialect-plugin=libQuantOptPlugin.so
//          --load-pass-plugin=libQuantOptPlugin.so
//          --pass-pipeline='builtin.module(rtn-quantize)' model.mlir
//
//===----------------------------------------------------------------------===//

#include "quantopt/Dialect/LowBit/Transforms/Passes.h"

#include "mlir/Tools/Plugins/DialectPlugin.h"
#include "mlir/Tools/Plugins/PassPlugin.h"

using namespace quantopt::lowbit;

/// Everything else in this library is hidden.
#define QUANTOPT_PLUGIN_ENTRY extern "C" __attribute__((visibility("default")))

static constexpr const char *kName = "quant-opt";

QUANTOPT_PLUGIN_ENTRY mlir::DialectPluginLibraryInfo
mlirGetDialectPluginInfo() {
  return {MLIR_PLUGIN_API_VERSION, kName, QUANTOPT_VERSION,
          [](mlir::DialectRegistry *registry) {
            registry->insert<LowBitDialect>();
          }};
}

QUANTOPT_PLUGIN_ENTRY mlir::PassPluginLibraryInfo mlirGetPassPluginInfo() {
  return {MLIR_PLUGIN_API_VERSION, kName, QUANTOPT_VERSION,
          [] { registerLowBitPasses(); }};
}
