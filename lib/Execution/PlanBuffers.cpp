//===- PlanBuffers.cpp - Places for buffers in one arena ------------------===//
//
// Part of quant-opt, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
//
// Each buffer of the entry, from its allocation to the op that frees it, gets a
// place in one block of memory. Buffers that are not alive together share
// places, so that what is written stays in the caches for who reads it. The
// block is allocated by the entry, or comes from the caller of an object file,
// which allocates nothing while it runs.
//
//===----------------------------------------------------------------------===//

#include "Stages.h"

#include "mlir/Dialect/Arith/IR/Arith.h"
#include "mlir/Dialect/MemRef/IR/MemRef.h"

using namespace mlir;
using namespace quantopt;
using namespace quantopt::execution;

static constexpr int64_t alignment = 64;

namespace {
struct Buffer {
  memref::AllocOp alloc;
  memref::DeallocOp dealloc;
  int64_t begin, end; ///< first and last op that it is needed by
  int64_t bytes, offset = 0;
};
} // namespace

/// The op that frees the buffer, if it is in the same block.
static memref::DeallocOp findDealloc(memref::AllocOp alloc) {
  memref::DeallocOp found;
  for (Operation *user : alloc->getUsers())
    if (auto dealloc = dyn_cast<memref::DeallocOp>(user)) {
      if (found || dealloc->getBlock() != alloc->getBlock())
        return {};
      found = dealloc;
    }
  return found;
}

/// The lowest place that is free while `buffer` is alive.
static void place(Buffer &buffer, ArrayRef<Buffer *> placed) {
  SmallVector<const Buffer *> alive;
  for (const Buffer *other : placed)
    if (other->begin <= buffer.end && buffer.begin <= other->end)
      alive.push_back(other);
  llvm::sort(alive, [](const Buffer *x, const Buffer *y) {
    return x->offset < y->offset;
  });
  for (const Buffer *other : alive) {
    if (buffer.offset + buffer.bytes <= other->offset)
      return;
    buffer.offset = std::max(buffer.offset, other->offset + other->bytes);
  }
}

/// The block: an argument behind the others, or memory for the time of a call.
static Value addArena(func::FuncOp entry, int64_t bytes, bool isArgument) {
  OpBuilder builder = OpBuilder::atBlockBegin(&entry.getBody().front());
  auto type = MemRefType::get({bytes}, builder.getI8Type());
  if (isArgument) {
    unsigned index = entry.getNumArguments();
    (void)entry.insertArgument(index, type, {}, entry.getLoc());
    return entry.getArgument(index);
  }
  Value arena = memref::AllocOp::create(builder, entry.getLoc(), type);
  builder.setInsertionPoint(entry.getBody().front().getTerminator());
  memref::DeallocOp::create(builder, entry.getLoc(), arena);
  return arena;
}

void execution::planBuffers(Compilation &compilation, func::FuncOp entry) {
  std::vector<Buffer> buffers;
  DenseMap<Operation *, int64_t> position;
  Block &body = entry.getBody().front();
  for (auto [index, op] : llvm::enumerate(body))
    position[&op] = index;
  for (auto alloc : body.getOps<memref::AllocOp>()) {
    MemRefType type = alloc.getType();
    memref::DeallocOp dealloc = findDealloc(alloc);
    if (!dealloc || !type.hasStaticShape() || !type.getLayout().isIdentity() ||
        !type.getElementType().isIntOrFloat())
      continue;
    int64_t bytes = type.getNumElements() *
                    llvm::divideCeil(type.getElementTypeBitWidth(), 8);
    buffers.push_back({alloc, dealloc, position[alloc], position[dealloc],
                       int64_t(llvm::alignTo(bytes, alignment))});
  }
  // Large ones first: they leave the fewest gaps.
  SmallVector<Buffer *> order, placed;
  for (Buffer &buffer : buffers)
    order.push_back(&buffer);
  llvm::sort(order, [](const Buffer *x, const Buffer *y) {
    return std::pair(-x->bytes, x->begin) < std::pair(-y->bytes, y->begin);
  });
  int64_t total = alignment;
  for (Buffer *buffer : order) {
    place(*buffer, placed);
    placed.push_back(buffer);
    total = std::max(total, buffer->offset + buffer->bytes);
  }
  if (buffers.empty() && !compilation.ahead)
    return;
  Value arena = addArena(entry, total, compilation.ahead);
  OpBuilder builder(entry.getContext());
  for (Buffer &buffer : buffers) {
    builder.setInsertionPoint(buffer.alloc);
    Location loc = buffer.alloc.getLoc();
    Value offset = arith::ConstantIndexOp::create(builder, loc, buffer.offset);
    buffer.alloc.replaceAllUsesWith(
        memref::ViewOp::create(builder, loc, buffer.alloc.getType(), arena,
                               offset, ValueRange())
            .getResult());
    buffer.dealloc.erase();
    buffer.alloc.erase();
  }
  compilation.arenaBytes = total;
}
