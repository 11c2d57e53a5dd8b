//===- Interface.cpp - What C sees of an object file ----------------------===//
//
// Part of quant-opt, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "Interface.h"

#include "llvm/ADT/StringSet.h"
#include "llvm/IR/IRBuilder.h"
#include "llvm/Support/FormatVariadic.h"

using namespace quantopt;
using namespace quantopt::execution;

std::string execution::compiledName(const ObjectEntry &entry) {
  return "quantopt." + entry.name;
}

//===----------------------------------------------------------------------===//
// The header
//===----------------------------------------------------------------------===//

/// C has no names for some types; the second says what is in the first.
static std::pair<llvm::StringRef, llvm::StringRef> typeInC(mlir::Type element) {
  if (element.isF64())
    return {"double", ""};
  if (element.isF32())
    return {"float", ""};
  if (element.isF16())
    return {"uint16_t", " of f16"};
  if (element.isBF16())
    return {"uint16_t", " of bf16"};
  switch (element.getIntOrFloatBitWidth()) {
  case 1:
    return {"uint8_t", " of 0 or 1"};
  case 8:
    return {"int8_t", ""};
  case 16:
    return {"int16_t", ""};
  case 32:
    return {"int32_t", ""};
  default:
    return {"int64_t", ""};
  }
}

static void declareArray(llvm::raw_ostream &os, mlir::RankedTensorType type,
                         const llvm::Twine &name, llvm::StringRef qualifier,
                         llvm::StringRef remark) {
  auto [element, meaning] = typeInC(type.getElementType());
  os << ",\n    " << qualifier << element << " *" << name << " /* [";
  llvm::interleave(type.getShape(), os, "][");
  os << "]" << meaning << remark << " */";
}

std::string execution::headerText(const ObjectInterface &interface) {
  std::string text;
  llvm::raw_string_ostream os(text);
  os << llvm::formatv(R"(/* Made by quant-translate --to-object.

   Link with {0}.o, the C and math libraries and LLVM's OpenMP runtime
   (-lm -lomp). Arrays are in C order. */

#ifndef QUANTOPT_OBJECT_{0}_H
#define QUANTOPT_OBJECT_{0}_H

#include <stdint.h>

#ifdef __cplusplus
extern "C" {{
#endif

typedef struct {0}_model {0}_model;

/* Maps the file of weights ({1} bytes) and takes {2} bytes for activations.
   On failure returns NULL and writes a message to `error`, if that is not
   NULL. Several models may be open at once. */
{0}_model *{0}_open(const char *weights, char error[256]);
void {0}_close({0}_model *model);

/* The functions of the model. One thread at a time may use a {0}_model; the
   work is shared among omp_get_max_threads() threads, and the results do not
   depend on how many. Each returns 0, or a code that {0}_message explains;
   the results then mean nothing. */
)",
                      interface.name, interface.weightsSize,
                      interface.arenaBytes);
  for (const ObjectEntry &entry : interface.entries) {
    os << llvm::formatv("int {0}_{1}({0}_model *model", interface.name,
                        entry.name);
    for (auto [i, type] : llvm::enumerate(entry.inputs))
      declareArray(os, type, "input" + llvm::Twine(i),
                   entry.updated[i] ? "" : "const ",
                   entry.updated[i] ? ", updated" : "");
    for (auto [i, type] : llvm::enumerate(entry.results))
      declareArray(os, type, "result" + llvm::Twine(i), "", "");
    os << ");\n";
  }
  os << llvm::formatv(R"(
const char *{0}_message(int code);

#ifdef __cplusplus
}
#endif
#endif
)",
                      interface.name);
  return text;
}

//===----------------------------------------------------------------------===//
// The functions
//===----------------------------------------------------------------------===//

namespace {
class InterfaceBuilder {
public:
  InterfaceBuilder(llvm::Module &module, const ObjectInterface &interface)
      : module(module), interface(interface), b(module.getContext()) {}

  void run() {
    addOpenAndClose();
    std::vector<std::string> messages = {"no error"};
    for (const ObjectEntry &entry : interface.entries) {
      addEntry(entry, messages.size() - 1);
      llvm::append_range(messages, entry.checks);
    }
    addMessage(messages);
    for (llvm::GlobalValue &value : module.global_values())
      if (!value.isDeclaration() && !visible.contains(value.getName()))
        value.setLinkage(llvm::GlobalValue::InternalLinkage);
  }

private:
  llvm::Function *define(const llvm::Twine &name, llvm::Type *result,
                         llvm::ArrayRef<llvm::Type *> arguments) {
    auto *type = llvm::FunctionType::get(result, arguments, false);
    auto *function =
        llvm::Function::Create(type, llvm::GlobalValue::ExternalLinkage,
                               interface.name + "_" + name, module);
    visible.insert(function->getName());
    b.SetInsertPoint(
        llvm::BasicBlock::Create(module.getContext(), "", function));
    return function;
  }

  void addOpenAndClose() {
    llvm::Constant *words[] = {
        b.getInt64(interface.weightsSize), b.getInt64(interface.weightsDigest),
        b.getInt64(interface.arenaBytes), b.getInt64(interface.usesMatrices)};
    auto *value = llvm::ConstantArray::get(
        llvm::ArrayType::get(b.getInt64Ty(), std::size(words)), words);
    auto *description =
        new llvm::GlobalVariable(module, value->getType(), /*isConstant=*/true,
                                 llvm::GlobalValue::PrivateLinkage, value);
    llvm::Function *open =
        define("open", b.getPtrTy(), {b.getPtrTy(), b.getPtrTy()});
    b.CreateRet(b.CreateCall(module.getFunction("quantoptOpen"),
                             {open->getArg(0), open->getArg(1), description}));
    llvm::Function *close = define("close", b.getVoidTy(), {b.getPtrTy()});
    b.CreateCall(module.getFunction("quantoptClose"), {close->getArg(0)});
    b.CreateRetVoid();
  }

  void addEntry(const ObjectEntry &entry, uint64_t checksBefore) {
    size_t arrays = entry.inputs.size() + entry.results.size();
    llvm::SmallVector<llvm::Type *> types(1 + arrays, b.getPtrTy());
    llvm::Function *function = define(entry.name, b.getInt32Ty(), types);
    b.CreateCall(module.getFunction("quantoptBegin"));
    // The first two members of Model.
    llvm::Value *model = function->getArg(0);
    llvm::Value *weights = b.CreateLoad(b.getPtrTy(), model);
    llvm::Value *arena = b.CreateLoad(
        b.getPtrTy(), b.CreateConstGEP1_64(b.getPtrTy(), model, 1));
    llvm::SmallVector<llvm::Value *> arguments;
    for (size_t i = 0; i < entry.inputs.size(); ++i)
      arguments.push_back(function->getArg(1 + i));
    for (int64_t offset : entry.constants)
      arguments.push_back(b.CreateConstGEP1_64(b.getInt8Ty(), weights, offset));
    for (size_t i = entry.inputs.size(); i < arrays; ++i)
      arguments.push_back(function->getArg(1 + i));
    arguments.push_back(arena);
    b.CreateCall(module.getFunction(compiledName(entry)), arguments);
    llvm::Value *failed = b.CreateCall(module.getFunction("quantoptEnd"));
    llvm::Value *none = b.CreateICmpEQ(failed, b.getInt64(0));
    llvm::Value *code = b.CreateAdd(failed, b.getInt64(checksBefore));
    b.CreateRet(
        b.CreateTrunc(b.CreateSelect(none, failed, code), b.getInt32Ty()));
  }

  void addMessage(llvm::ArrayRef<std::string> messages) {
    llvm::Function *function =
        define("message", b.getPtrTy(), {b.getInt32Ty()});
    llvm::SmallVector<llvm::Constant *> texts;
    for (const std::string &message : messages)
      texts.push_back(b.CreateGlobalString(message));
    auto *type = llvm::ArrayType::get(b.getPtrTy(), texts.size());
    auto *table = new llvm::GlobalVariable(
        module, type, /*isConstant=*/true, llvm::GlobalValue::PrivateLinkage,
        llvm::ConstantArray::get(type, texts));
    llvm::Value *code = b.CreateZExt(function->getArg(0), b.getInt64Ty());
    llvm::Value *known = b.CreateICmpULT(code, b.getInt64(texts.size()));
    llvm::Value *index = b.CreateSelect(known, code, b.getInt64(0));
    b.CreateRet(
        b.CreateLoad(b.getPtrTy(), b.CreateGEP(b.getPtrTy(), table, index)));
  }

  llvm::Module &module;
  const ObjectInterface &interface;
  llvm::IRBuilder<> b;
  llvm::StringSet<> visible;
};
} // namespace

void execution::addInterface(llvm::Module &module,
                             const ObjectInterface &interface) {
  InterfaceBuilder(module, interface).run();
}
