//===- DecoderPtx.cpp - A kernel that only decodes weights ----------------===//
//
// Part of quant-opt, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
//
// Prints the PTX of a kernel that decodes blocks of 16 x 64 codes and stores
// the A registers: test/python/test_ptxas.py counts what a block more costs.
//
//===----------------------------------------------------------------------===//

#include "../../lib/Codegen/GPU/WeightDecoder.h"
#include "quantopt/Codegen/GPU/Serialize.h"
#include "quantopt/Dialect/LowBit/IR/LowBit.h"

#include "mlir/IR/MLIRContext.h"
#include "llvm/Support/CommandLine.h"
#include "llvm/Support/TargetSelect.h"

using namespace mlir;
using namespace quantopt;
using namespace quantopt::kernels;
namespace cl = llvm::cl;

static cl::opt<unsigned> bits("bits", cl::init(4));
static cl::opt<unsigned> blocks("blocks", cl::init(1));
static cl::opt<std::string> chip("chip", cl::init("sm_90a"));
static cl::opt<bool> bf16("bf16");
static cl::opt<ZeroKind>
    zero("zero", cl::init(ZeroKind::Symmetric),
         cl::values(clEnumValN(ZeroKind::Symmetric, "symmetric", ""),
                    clEnumValN(ZeroKind::Integer, "integer", ""),
                    clEnumValN(ZeroKind::Minimum, "minimum", "")));
static cl::opt<bool> nf4("nf4");

static LinearProblem problemOf() {
  LinearProblem problem;
  problem.scheme.bits = bits;
  problem.scheme.zero = zero;
  problem.scheme.groupSize = fragment::kBlockK;
  problem.scheme.table = nf4 ? CodeTable::NF4 : CodeTable::Linear;
  problem.scheme.scaleType = bf16 ? ScaleKind::BF16 : ScaleKind::F16;
  problem.x = problem.y = problem.compute =
      bf16 ? FloatKind::BF16 : FloatKind::F16;
  problem.n = fragment::kBlockRows;
  problem.k = fragment::kBlockK * blocks;
  problem.chip = *parseChip(chip);
  return problem;
}

int main(int argc, char **argv) {
  cl::ParseCommandLineOptions(argc, argv);
  LLVMInitializeNVPTXTargetInfo();
  LLVMInitializeNVPTXTarget();
  LLVMInitializeNVPTXTargetMC();
  LLVMInitializeNVPTXAsmPrinter();
  DialectRegistry registry;
  registerSerialization(registry);
  registry.insert<lowbit::LowBitDialect>();
  MLIRContext context(registry);
  context.loadAllAvailableDialects();
  LinearProblem problem = problemOf();
  OpBuilder builder(&context);
  OwningOpRef<ModuleOp> top = ModuleOp::create(builder.getUnknownLoc());
  builder.setInsertionPointToStart(top->getBody());
  auto module = mlir::gpu::GPUModuleOp::create(
      builder, builder.getUnknownLoc(), "kernels",
      ArrayRef<Attribute>{targetAttr(&context, problem.chip)});
  SmallVector<Operand> operands = {Operand::Codes, Operand::Scales};
  if (zero != ZeroKind::Symmetric)
    operands.push_back(Operand::Offsets);
  operands.push_back(Operand::Y);
  KernelBuilder b(module, "decode", problem, operands, /*threads=*/32,
                  /*blocksPerProcessor=*/1);
  WeightDecoder decoder(b, problem, Scaling::Weights, /*reused=*/true);
  Value to = b.advance(b.operand(Operand::Y), b.lane(), 16);
  for (int64_t column = 0; column < blocks; ++column) {
    WeightDecoder::Block block =
        decoder.open(decoder.load(b.constant(0), b.constant(column), Value()));
    for (unsigned step = 0; step < fragment::kSteps; ++step)
      b.storeWords(b.advance(to, b.constant((column * 4 + step) * 512)),
                   decoder.fragment(block, step));
  }
  b.finish();
  if (failed(lowerToNvvm(module)))
    return 1;
  FailureOr<std::string> ptx = toPtx(module);
  if (failed(ptx))
    return 1;
  llvm::outs() << *ptx;
  return 0;
}
