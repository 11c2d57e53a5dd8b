//===- Moves.cpp - Registers to registers ---------------------------------===//
//
// Part of quant-opt, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "Decode.h"
#include "LaneLoops.h"

using namespace quantopt::ptx;

namespace {

struct Copy {
  template <typename T> T operator()(T a) const { return a; }
};

void runMovePredicate(Warp &warp, const Instr &instr, uint32_t mask) {
  warp.setPredicate(instr.dst, mask, warp.predicate(instr.src[0]),
                    warp.isPredicateDefined(instr.src[0]));
}
/// mode[0]: the value.
void runSetPredicate(Warp &warp, const Instr &instr, uint32_t mask) {
  warp.setPredicate(instr.dst, mask, instr.mode[0]);
}

/// A time that goes on with every instruction.
void runClock(Warp &warp, const Instr &instr, uint32_t mask) {
  forLanes(mask, [&](unsigned lane) {
    warp.setValue(instr.dst, lane, warp.block.machine.instructions);
  });
  warp.define(instr.dst, mask);
}

/// {a, b, ...} into one register; `width` bytes each.
void runPack(Warp &warp, const Instr &instr, uint32_t mask) {
  const Ref *parts = warp.program.lists.data() + instr.list;
  uint32_t good = mask;
  for (unsigned i = 0; i < instr.listCount; ++i)
    good &= warp.isDefined(parts[i]);
  uint64_t partMask = (uint64_t(1) << (8 * instr.width)) - 1;
  forLanes(mask, [&](unsigned lane) {
    uint64_t value = 0;
    for (unsigned i = 0; i < instr.listCount; ++i)
      value |= (warp.value(parts[i], lane) & partMask) << (8 * instr.width * i);
    warp.setValue(instr.dst, lane, value);
  });
  warp.define(instr.dst, mask, good);
}

void runUnpack(Warp &warp, const Instr &instr, uint32_t mask) {
  const Ref *parts = warp.program.lists.data() + instr.list;
  uint64_t partMask = (uint64_t(1) << (8 * instr.width)) - 1;
  uint32_t good = warp.isDefined(instr.src[0]);
  // A part may be the register that is taken apart.
  uint64_t values[kWarp];
  forLanes(mask, [&](unsigned lane) {
    values[lane] = warp.value(instr.src[0], lane);
  });
  for (unsigned i = 0; i < instr.listCount; ++i) {
    if (parts[i].isSink())
      continue;
    forLanes(mask, [&](unsigned lane) {
      warp.setValue(parts[i], lane,
                    values[lane] >> (8 * instr.width * i) & partMask);
    });
    warp.define(parts[i], mask, good);
  }
}

Execute *copyOf(unsigned width) {
  switch (width) {
  case 16:
    return mapLanes<Copy, uint16_t, uint16_t>;
  case 32:
    return mapLanes<Copy, uint32_t, uint32_t>;
  case 64:
    return mapLanes<Copy, uint64_t, uint64_t>;
  default:
    return nullptr;
  }
}

void decodeMov(Decoder &d) {
  Type type = d.takeType();
  if (!d.expect(2))
    return;
  const Operand &to = d.operands[0], &from = d.operands[1];
  if (type.kind == Type::Pred) {
    d.instr.dst = d.predicate(0);
    if (from.kind == Operand::Integer) {
      d.instr.execute = runSetPredicate;
      d.instr.mode[0] = from.value ? ~0u : 0;
    } else {
      d.instr.execute = runMovePredicate;
      d.instr.src[0] = d.predicate(1);
    }
    return;
  }
  if (to.kind == Operand::Vector || from.kind == Operand::Vector) {
    bool pack = from.kind == Operand::Vector;
    const Operand &vector = pack ? from : to;
    unsigned count = vector.elements.size();
    if ((count != 2 && count != 4) || type.width() / count < 8)
      return d.fail("a vector of this size");
    d.instr.width = type.bytes() / count;
    std::vector<Ref> parts;
    for (const Operand &element : vector.elements)
      parts.push_back(d.anyWidth(element, d.instr.width * 8, !pack));
    d.setList(parts);
    d.instr.listResults = pack ? 0 : parts.size();
    d.instr.execute = pack ? runPack : runUnpack;
    if (pack)
      d.instr.dst = d.destination(0, type);
    else
      d.instr.src[0] = d.source(1, type);
    return;
  }
  if (from.kind == Operand::Clock) {
    d.instr.execute = runClock;
    d.instr.dst = d.destination(0, type);
    return;
  }
  d.instr.execute = copyOf(type.width());
  if (!d.instr.execute)
    return d.fail("no such operation on this type");
  d.instr.isMove = true;
  d.instr.dst = d.destination(0, type);
  d.instr.src[0] = d.source(1, type);
}

template <typename T>
void runSelp(Warp &warp, const Instr &instr, uint32_t mask) {
  uint32_t choice = warp.predicate(instr.src[2]);
  const T *a = warp.read<T>(instr.src[0]), *b = warp.read<T>(instr.src[1]);
  T *to = warp.write<T>(instr.dst);
  uint32_t good = ((warp.isDefined(instr.src[0]) & choice) |
                   (warp.isDefined(instr.src[1]) & ~choice)) &
                  warp.isPredicateDefined(instr.src[2]);
  forLanes(mask, [&](unsigned lane) {
    to[lane] = choice >> lane & 1 ? a[lane] : b[lane];
  });
  warp.define(instr.dst, mask, good);
}

void decodeSelp(Decoder &d) {
  Type type = d.takeType();
  if (!d.expect(4))
    return;
  d.instr.execute = type.width() == 64 ? runSelp<uint64_t> : runSelp<uint32_t>;
  d.instr.dst = d.destination(0, type);
  d.instr.src[0] = d.source(1, type);
  d.instr.src[1] = d.source(2, type);
  d.instr.src[2] = d.predicate(3);
}

struct SelectBySign {
  template <typename T, typename C> T operator()(T a, T b, C c) const {
    return c >= 0 ? a : b;
  }
};

void decodeSlct(Decoder &d) {
  d.take("ftz");
  Type type = d.takeType(), by = d.takeType();
  bool isFloat = by == Type{Type::Float, 32};
  if (!isFloat && by != Type{Type::Signed, 32})
    return d.fail("no such operation on this type");
  if (!d.expect(4))
    return;
  if (type.width() == 64)
    d.instr.execute =
        isFloat ? mapLanes<SelectBySign, uint64_t, uint64_t, uint64_t, float>
                : mapLanes<SelectBySign, uint64_t, uint64_t, uint64_t, int32_t>;
  else
    d.instr.execute =
        isFloat ? mapLanes<SelectBySign, uint32_t, uint32_t, uint32_t, float>
                : mapLanes<SelectBySign, uint32_t, uint32_t, uint32_t, int32_t>;
  d.instr.dst = d.destination(0, type);
  d.instr.src[0] = d.source(1, type);
  d.instr.src[1] = d.source(2, type);
  d.instr.src[2] = d.source(3, by);
}

//===----------------------------------------------------------------------===//
// Addresses
//===----------------------------------------------------------------------===//

uint64_t windowOf(Space space) {
  switch (space) {
  case Space::Shared:
    return kSharedWindow;
  case Space::Local:
    return kLocalWindow;
  case Space::Param:
    return kParamWindow;
  default:
    return 0;
  }
}

/// mode[0]: from generic. An address outside the window is given on as it is
/// and found where it is used.
void runCvta(Warp &warp, const Instr &instr, uint32_t mask) {
  uint64_t window = windowOf(instr.space);
  uint32_t good = warp.isDefined(instr.src[0]);
  forLanes(mask, [&](unsigned lane) {
    uint64_t address = warp.value(instr.src[0], lane);
    if (window && instr.mode[0])
      address = (address & kWindowMask) == window ? address - window
                                                  : ~uint64_t(0) << 1;
    else if (window)
      address += window;
    warp.setValue(instr.dst, lane, address);
  });
  warp.define(instr.dst, mask, good);
}

void decodeCvta(Decoder &d) {
  d.instr.mode[0] = d.take("to");
  d.instr.space = takeSpace(d);
  Type type = d.takeType();
  if (d.instr.space == Space::Generic)
    return d.fail("no state space");
  if (!d.expect(2))
    return;
  d.instr.execute = runCvta;
  d.instr.dst = d.destination(0, type);
  d.instr.src[0] = d.source(1, type);
}

void runIsSpace(Warp &warp, const Instr &instr, uint32_t mask) {
  uint64_t window = windowOf(instr.space);
  uint32_t bits = 0;
  forLanes(mask, [&](unsigned lane) {
    uint64_t address = warp.value(instr.src[0], lane);
    bool other = (address & kWindowMask) == kSharedWindow ||
                 (address & kWindowMask) == kLocalWindow ||
                 (address & kWindowMask) == kParamWindow;
    bits |= uint32_t(window ? (address & kWindowMask) == window : !other)
            << lane;
  });
  warp.setPredicate(instr.dst, mask, bits, warp.isDefined(instr.src[0]));
}

void decodeIsspacep(Decoder &d) {
  d.instr.space = takeSpace(d);
  if (d.instr.space == Space::Generic || d.instr.space == Space::Const)
    return d.fail("this state space");
  if (!d.expect(2))
    return;
  d.instr.execute = runIsSpace;
  d.instr.dst = d.predicate(0);
  d.instr.src[0] = d.source(1, {Type::Bits, 64});
}

} // namespace

void quantopt::ptx::addMoves(DecodeTable &table) {
  table["mov"] = decodeMov;
  table["selp"] = decodeSelp;
  table["slct"] = decodeSlct;
  table["cvta"] = decodeCvta;
  table["isspacep"] = decodeIsspacep;
}
