//===- Warpgroup.cpp - wgmma ----------------------------------------------===//
//
// Part of quant-opt, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
//
// wgmma.mma_async m64nNk16. A warp computes its 16 rows when it waits; until
// then its accumulators must not be touched, and nobody may write the shared
// memory that it reads.
//
//===----------------------------------------------------------------------===//

#include "Warpgroup.h"

#include "Decode.h"
#include "LaneLoops.h"
#include "MatrixMath.h"

#include <algorithm>
#include <cstring>

using namespace quantopt::ptx;

namespace {

constexpr Type kB32{Type::Bits, 32};
constexpr Type kB64{Type::Bits, 64};
constexpr unsigned kDepth = 16;

// mode[0]: N; mode[1]: flags. list: N/2 accumulators, then 4 registers of A.
enum : uint32_t {
  kADescriptor = 1,
  kTransposeA = 2,
  kTransposeB = 4,
  kNegateA = 8,
  kNegateB = 16
};

/// A matrix in shared memory, as a matrix descriptor says. Elements have two
/// bytes; the first index is that of M or N, the second that of K.
struct SharedMatrix {
  uint32_t start, leading, stride, swizzle; ///< bytes
  bool transposed;                          ///< M or N is contiguous

  SharedMatrix(uint64_t descriptor, bool transposed) : transposed(transposed) {
    auto field = [&](unsigned bit) {
      return uint32_t(descriptor >> bit & 0x3fff) << 4;
    };
    start = field(0);
    leading = field(16);
    stride = field(32);
    static constexpr uint32_t widths[] = {16, 128, 64, 32};
    swizzle = widths[descriptor >> 62];
  }

  /// Address of the 8 elements that are contiguous: of (row, k..k+7), or of
  /// (row..row+7, k) if it is transposed.
  uint32_t chunk(unsigned row, unsigned k) const {
    uint32_t at = start;
    if (!transposed) {
      at += row / 8 * stride + row % 8 * swizzle;
      at += k / 8 * (swizzle == 16 ? leading : 16);
    } else {
      unsigned wide =
          swizzle / 2; // elements of M or N in one row of the pattern
      at += row % wide * 2 + k % 8 * swizzle;
      at += row / wide * (swizzle == 16 ? stride : leading);
      at += k / 8 * (swizzle == 16 ? leading : stride);
    }
    // Bits 4 and up of the address are mixed with those from bit 7 on.
    return at ^ ((at >> 3) & (swizzle - 16) & 0x70);
  }

  template <typename FunctionT>
  void forChunks(unsigned firstRow, unsigned rows, FunctionT function) const {
    for (unsigned row = firstRow; row < firstRow + rows;
         row += transposed ? 8 : 1)
      for (unsigned k = 0; k < kDepth; k += transposed ? 1 : 8)
        function(chunk(row, k), row - firstRow, k);
  }
};

float toFloat(Type type, uint16_t bits) {
  return type.kind == Type::BFloat ? bfloatToFloat(bits) : halfToFloat(bits);
}

/// Checks what an operand in shared memory asks for and marks it as being read.
bool startReading(Warp &warp, const Instr &instr, const SharedMatrix &matrix,
                  unsigned firstRow, unsigned rows) {
  Block &block = warp.block;
  bool races = block.machine.options.checkRaces;
  bool good = true;
  matrix.forChunks(firstRow, rows, [&](uint32_t at, unsigned, unsigned) {
    if (!good || !block.inShared(warp, instr, 0, at, 16, 16)) {
      good = false;
      return;
    }
    Access who{warp.index, 0, instr.line, false, true};
    if (std::string wrong = block.shadow.read(who, at, 16, races);
        !wrong.empty()) {
      warp.fail(instr, 0, wrong);
      good = false;
      return;
    }
    block.shadow.addAsyncReader(at, 16, 1);
  });
  return good;
}

/// Reads it: to[k * rows + row], or to[row * 16 + k] with `rowMajor`.
void readMatrix(Warp &warp, const Instr &instr, const SharedMatrix &matrix,
                unsigned firstRow, unsigned rows, bool rowMajor, bool negate,
                float *to) {
  Block &block = warp.block;
  matrix.forChunks(firstRow, rows, [&](uint32_t at, unsigned row, unsigned k) {
    uint16_t elements[8];
    std::memcpy(elements, block.shared.data() + at, 16);
    for (unsigned i = 0; i < 8; ++i) {
      float value = toFloat(instr.from, elements[i]);
      unsigned r = matrix.transposed ? row + i : row,
               c = matrix.transposed ? k : k + i;
      to[rowMajor ? r * kDepth + c : c * rows + r] = negate ? -value : value;
    }
    block.shadow.addAsyncReader(at, 16, -1);
    // From now on it counts as a read of this warp.
    Access who{warp.index, 0, instr.line};
    block.shadow.read(who, at, 16, block.machine.options.checkRaces);
  });
}

/// The same value in all lanes; false and the launch has failed if not.
bool uniformValue(Warp &warp, const Instr &instr, Ref ref, uint64_t &value) {
  if (!warp.require(instr, ~0u, ref, "a matrix descriptor"))
    return false;
  value = warp.value(ref, 0);
  for (unsigned lane = 1; lane < kWarp; ++lane)
    if (warp.value(ref, lane) != value) {
      warp.fail(instr, lane, "matrix descriptors that differ between lanes");
      return false;
    }
  if (value >> 49 & 7) {
    warp.fail(instr, 0,
              "a matrix descriptor with a base offset, which is not modelled");
    return false;
  }
  return true;
}

/// Marks the registers of everything in flight.
void markRegisters(Warp &warp) {
  WarpgroupQueue &queue = warp.warpgroup;
  std::fill(queue.writing.begin(), queue.writing.end(), 0);
  std::fill(queue.reading.begin(), queue.reading.end(), 0);
  for (const PendingMma &mma : queue.pending) {
    if (!mma.instr) {
      queue.writing[mma.to.slot] = mma.group + 1;
      continue;
    }
    const Ref *refs = warp.program.lists.data() + mma.instr->list;
    for (unsigned i = 0; i < mma.instr->listCount; ++i)
      if (refs[i].bank == Bank::Register)
        (i < mma.instr->listResults ? queue.writing
                                    : queue.reading)[refs[i].slot] =
            mma.group + 1;
  }
}

void runMmaAsync(Warp &warp, const Instr &instr, uint32_t mask) {
  WarpgroupQueue &queue = warp.warpgroup;
  const Ref *refs = warp.program.lists.data() + instr.list;
  const Ref *a = refs + instr.listResults;
  bool inRegisters = !(instr.mode[1] & kADescriptor);
  if (!(inRegisters ? queue.fencedGroup : queue.fenced))
    return warp.fail(
        instr, 0,
        "no wgmma.fence before this wgmma: its registers may still be "
        "written");
  PendingMma mma;
  mma.instr = &instr;
  mma.group = queue.committed;
  uint32_t scale = warp.predicate(instr.src[2]);
  if (!warp.require(instr, mask, instr.src[2], "scale-d"))
    return;
  if (scale != 0 && scale != ~0u)
    return warp.fail(instr, 0, "a scale-d that differs between lanes");
  mma.addsToD = scale;
  for (unsigned i = 0; i < instr.listResults; ++i)
    if (mma.addsToD && !queue.writing[refs[i].slot] &&
        !warp.require(instr, mask, refs[i], "an accumulator"))
      return;
  if (inRegisters) {
    mma.a.resize(16 * kDepth);
    for (unsigned r = 0; r < 4; ++r) {
      if (!warp.require(instr, mask, a[r], "a register of A"))
        return;
      if (a[r].bank == Bank::Register && queue.writing[a[r].slot])
        return warp.fail(
            instr, 0,
            "a register of A is an accumulator of a wgmma that has not "
            "been waited for");
      const uint32_t *words = warp.read<uint32_t>(a[r]);
      for (unsigned lane = 0; lane < kWarp; ++lane)
        for (unsigned i = 0; i < 2; ++i) {
          unsigned row = lane / 4 + 8 * (r & 1),
                   column = 2 * (lane % 4) + i + 8 * (r >> 1);
          float value = toFloat(instr.from, words[lane] >> 16 * i);
          mma.a[row * kDepth + column] =
              instr.mode[1] & kNegateA ? -value : value;
        }
    }
  } else {
    if (!uniformValue(warp, instr, instr.src[0], mma.descriptorA) ||
        !startReading(
            warp, instr,
            SharedMatrix(mma.descriptorA, instr.mode[1] & kTransposeA),
            warp.index % 4 * 16, 16))
      return;
  }
  if (!uniformValue(warp, instr, instr.src[1], mma.descriptorB) ||
      !startReading(warp, instr,
                    SharedMatrix(mma.descriptorB, instr.mode[1] & kTransposeB),
                    0, instr.mode[0]))
    return;
  queue.pending.push_back(std::move(mma));
  for (unsigned i = 0; i < instr.listCount; ++i)
    if (refs[i].bank == Bank::Register)
      (i < instr.listResults ? queue.writing : queue.reading)[refs[i].slot] =
          queue.committed + 1;
}

void finish(Warp &warp, PendingMma &mma) {
  const Instr &instr = *mma.instr;
  const Ref *refs = warp.program.lists.data() + instr.list;
  unsigned n = instr.mode[0];
  if (mma.a.empty()) {
    mma.a.resize(16 * kDepth);
    readMatrix(
        warp, instr, SharedMatrix(mma.descriptorA, instr.mode[1] & kTransposeA),
        warp.index % 4 * 16, 16, true, instr.mode[1] & kNegateA, mma.a.data());
  }
  std::vector<float> b(kDepth * n), sums(16 * n);
  readMatrix(warp, instr,
             SharedMatrix(mma.descriptorB, instr.mode[1] & kTransposeB), 0, n,
             false, instr.mode[1] & kNegateB, b.data());
  auto forSums = [&](auto function) {
    for (unsigned i = 0; i < n / 2; ++i) {
      uint32_t *words = warp.write<uint32_t>(refs[i]);
      for (unsigned lane = 0; lane < kWarp; ++lane) {
        unsigned row = lane / 4 + 8 * (i / 2 % 2),
                 column = i / 4 * 8 + 2 * (lane % 4) + i % 2;
        function(words[lane], sums[row * n + column]);
      }
    }
  };
  if (mma.addsToD)
    forSums(
        [](uint32_t &word, float &sum) { sum = std::bit_cast<float>(word); });
  multiplyAdd(mma.a.data(), b.data(), sums.data(), n, kDepth);
  forSums(
      [](uint32_t &word, float &sum) { word = std::bit_cast<uint32_t>(sum); });
  for (unsigned i = 0; i < n / 2; ++i)
    warp.define(refs[i], ~0u);
}

void runFence(Warp &warp, const Instr &, uint32_t) {
  warp.warpgroup.fenced = warp.warpgroup.fencedGroup = true;
}

void runCommit(Warp &warp, const Instr &, uint32_t) {
  ++warp.warpgroup.committed;
  warp.warpgroup.fencedGroup = false;
}

/// mode[0]: groups that may be left.
void runWait(Warp &warp, const Instr &instr, uint32_t) {
  WarpgroupQueue &queue = warp.warpgroup;
  std::vector<PendingMma> left;
  for (PendingMma &mma : queue.pending) {
    if (mma.group + instr.mode[0] >= queue.committed) {
      left.push_back(std::move(mma));
    } else if (mma.instr) {
      finish(warp, mma);
    } else {
      std::copy_n(warp.words(mma.from), kWarp, warp.words(mma.to));
      warp.define(mma.to, ~0u, warp.isDefined(mma.from));
    }
  }
  queue.pending = std::move(left);
  queue.fenced = queue.fencedGroup = false;
  markRegisters(warp);
}

//===----------------------------------------------------------------------===//
// Decoding
//===----------------------------------------------------------------------===//

void decodeMmaAsync(Decoder &d) {
  Instr &instr = d.instr;
  unsigned n = 0;
  for (unsigned columns = 8; columns <= 256; columns += 8)
    if (d.take("m64n" + std::to_string(columns) + "k16"))
      n = columns;
  Type result = d.takeType();
  instr.from = d.takeType();
  Type typeB = d.takeType();
  if (!n || result != Type{Type::Float, 32} || typeB != instr.from ||
      instr.from.bits != 16 || instr.from.packed != 1 || instr.from.isInteger())
    return d.fail("this combination of types and shape");
  if (!d.expect(7, 8))
    return;
  bool inRegisters = d.operands[1].kind == Operand::Vector;
  if (d.operands.size() != (inRegisters ? 7 : 8))
    return d.fail("wrong number of operands");
  std::vector<Operand> sums = d.elements(0);
  std::vector<Ref> refs;
  for (const Operand &sum : sums)
    refs.push_back(d.destination(sum, kB32));
  if (inRegisters)
    for (const Operand &element : d.elements(1))
      refs.push_back(d.source(element, kB32));
  else
    instr.src[0] = d.source(1, kB64);
  if (sums.size() != n / 2 || (inRegisters && refs.size() != n / 2 + 4))
    return d.fail("wrong number of registers in a fragment");
  d.setList(refs);
  instr.listResults = n / 2;
  instr.src[1] = d.source(2, kB64);
  instr.src[2] = d.predicate(3);
  uint64_t scaleA = d.literal(4), scaleB = d.literal(5);
  auto isScale = [](uint64_t value) {
    return value == 1 || value == ~uint64_t(0);
  };
  if (!isScale(scaleA) || !isScale(scaleB))
    return d.fail("a scale that is neither 1 nor -1");
  instr.mode[0] = n;
  instr.mode[1] = (inRegisters ? 0 : kADescriptor) |
                  (scaleA != 1 ? kNegateA : 0) | (scaleB != 1 ? kNegateB : 0);
  if (!inRegisters && d.literal(6))
    instr.mode[1] |= kTransposeA;
  if (d.literal(inRegisters ? 6 : 7))
    instr.mode[1] |= kTransposeB;
  instr.flow = Flow::Warpgroup;
  instr.execute = runMmaAsync;
}

void decodeWgmma(Decoder &d) {
  d.builder.getProgram().usesAsyncProxy = true;
  int kind = d.takeOneOf({"mma_async", "fence", "commit_group", "wait_group"});
  if (!d.take("sync") || !d.take("aligned"))
    return d.fail("this form");
  if (kind == 0)
    return decodeMmaAsync(d);
  d.instr.flow = Flow::WarpSync;
  if (kind == 3)
    d.instr.mode[0] = d.literal(0);
  if (!d.expect(kind == 3 ? 1 : 0))
    return;
  d.instr.execute = kind == 1 ? runFence : kind == 2 ? runCommit : runWait;
}

} // namespace

RegisterUse quantopt::ptx::checkPendingRegisters(Warp &warp, const Instr &instr,
                                                 uint32_t mask) {
  WarpgroupQueue &queue = warp.warpgroup;
  if (instr.flow == Flow::Warpgroup)
    return RegisterUse::Fine; // it checks its own
  auto writing = [&](Ref ref) {
    return ref.bank == Bank::Register ? queue.writing[ref.slot] : 0;
  };
  auto reading = [&](Ref ref) {
    return ref.bank == Bank::Register ? queue.reading[ref.slot] : 0;
  };
  if (instr.isMove && mask == ~0u && writing(instr.src[0]) &&
      !reading(instr.dst)) {
    PendingMma move;
    move.group = writing(instr.src[0]) - 1;
    move.from = instr.src[0];
    move.to = instr.dst;
    if (instr.dst.bank == Bank::Register)
      queue.writing[instr.dst.slot] = move.group + 1;
    queue.pending.push_back(std::move(move));
    return RegisterUse::Deferred;
  }
  const Ref *list = warp.program.lists.data() + instr.list;
  const char *wrong = nullptr;
  if (writing(instr.dst) || writing(instr.dst2))
    wrong =
        "an accumulator is overwritten before its wgmma has been waited for";
  if (reading(instr.dst) || reading(instr.dst2))
    wrong =
        "a register of A is overwritten before its wgmma has been waited for";
  for (Ref ref : instr.src)
    if (writing(ref))
      wrong = "an accumulator is read before its wgmma has been waited for";
  for (unsigned i = 0; i < instr.listCount; ++i) {
    bool isResult = i < instr.listResults;
    if (writing(list[i]))
      wrong =
          isResult
              ? "an accumulator is overwritten before its wgmma has been "
                "waited for"
              : "an accumulator is read before its wgmma has been waited for";
    if (isResult && reading(list[i]))
      wrong =
          "a register of A is overwritten before its wgmma has been waited for";
  }
  if (!wrong)
    return RegisterUse::Fine;
  warp.fail(instr, std::countr_zero(mask), wrong);
  return RegisterUse::Wrong;
}

void quantopt::ptx::addWarpgroups(DecodeTable &table) {
  table["wgmma"] = decodeWgmma;
}
