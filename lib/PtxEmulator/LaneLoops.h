//===- LaneLoops.h - One operation on the lanes of a warp -------*- C++ -*-===//
//
// Part of quant-opt, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
//
// An operation is a function object on C++ values; these templates make of it
// the code that runs an instruction, and choose it by the instruction's type.
//
//===----------------------------------------------------------------------===//

#ifndef QUANTOPT_LIB_PTXEMULATOR_LANELOOPS_H
#define QUANTOPT_LIB_PTXEMULATOR_LANELOOPS_H

#include "Machine.h"
#include "Numeric.h"

#include <type_traits>
#include <utility>

namespace quantopt::ptx {

template <typename T>
using Word = std::conditional_t<sizeof(T) == 8, uint64_t, uint32_t>;

template <typename T> T fromWord(Word<T> word) {
  if constexpr (sizeof(T) == sizeof(word))
    return std::bit_cast<T>(word);
  else if constexpr (sizeof(T) == 2)
    return std::bit_cast<T>(static_cast<uint16_t>(word));
  else
    return std::bit_cast<T>(static_cast<uint8_t>(word));
}

template <typename T> Word<T> toWord(T value) {
  if constexpr (sizeof(T) == sizeof(Word<T>))
    return std::bit_cast<Word<T>>(value);
  else if constexpr (sizeof(T) == 2)
    return std::bit_cast<uint16_t>(value);
  else
    return std::bit_cast<uint8_t>(value);
}

template <typename T> struct IsPacked : std::false_type {};
template <typename T> struct IsPacked<Packed<T>> : std::true_type {};

/// Applies F, to each half of packed values.
template <typename F, typename First, typename... Rest>
auto applyOp(First first, Rest... rest) {
  if constexpr (IsPacked<First>::value)
    return First{F{}(first.lo, rest.lo...), F{}(first.hi, rest.hi...)};
  else
    return F{}(first, rest...);
}

template <typename FunctionT>
inline void forLanes(uint32_t mask, FunctionT function) {
  if (mask == ~0u) {
    for (unsigned lane = 0; lane < kWarp; ++lane)
      function(lane);
    return;
  }
  for (; mask; mask &= mask - 1)
    function(unsigned(std::countr_zero(mask)));
}

template <typename F, typename D, typename... S, size_t... I>
void mapSources(Warp &warp, const Instr &instr, uint32_t mask,
                std::index_sequence<I...>) {
  uint32_t good = (~0u & ... & warp.isDefined(instr.src[I]));
  Word<D> *to = warp.write<Word<D>>(instr.dst);
  auto from =
      std::tuple<const Word<S> *...>(warp.read<Word<S>>(instr.src[I])...);
  forLanes(mask, [&](unsigned lane) {
    to[lane] = toWord<D>(
        static_cast<D>(applyOp<F>(fromWord<S>(std::get<I>(from)[lane])...)));
  });
  warp.define(instr.dst, mask, good);
}

/// dst = F(src...), lane by lane.
template <typename F, typename D, typename... S>
void mapLanes(Warp &warp, const Instr &instr, uint32_t mask) {
  mapSources<F, D, S...>(warp, instr, mask, std::index_sequence_for<S...>());
}

/// Whether T is what instructions of this type compute with.
template <typename T> bool isTypeOf(Type type) {
  if constexpr (IsPacked<T>::value)
    return type.packed == 2 &&
           isTypeOf<decltype(T::lo)>({type.kind, type.bits, 1});
  else if constexpr (std::is_same_v<T, Half>)
    return type == Type{Type::Float, 16};
  else if constexpr (std::is_same_v<T, BHalf>)
    return type == Type{Type::BFloat, 16};
  else if constexpr (std::is_floating_point_v<T>)
    return type == Type{Type::Float, 8 * sizeof(T)};
  else if constexpr (std::is_signed_v<T>)
    return type == Type{Type::Signed, 8 * sizeof(T)};
  else
    return type.packed == 1 && type.bits == 8 * sizeof(T) &&
           (type.kind == Type::Unsigned || type.kind == Type::Bits);
}

/// The code of F on `Arity` values of the one among Ts that fits; null if none.
template <typename F, unsigned Arity, typename... Ts>
Execute *chooseLanes(Type type) {
  Execute *found = nullptr;
  auto consider = [&]<typename T>(T *) {
    if (!isTypeOf<T>(type))
      return;
    if constexpr (Arity == 1)
      found = mapLanes<F, T, T>;
    else if constexpr (Arity == 2)
      found = mapLanes<F, T, T, T>;
    else
      found = mapLanes<F, T, T, T, T>;
  };
  (consider(static_cast<Ts *>(nullptr)), ...);
  return found;
}

} // namespace quantopt::ptx

#endif // QUANTOPT_LIB_PTXEMULATOR_LANELOOPS_H
