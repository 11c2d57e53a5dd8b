//===- TargetClones.h - One function, several processors --------*- C++ -*-===//
//
// Part of quant-opt, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#ifndef QUANTOPT_QUANTIZE_TARGETCLONES_H
#define QUANTOPT_QUANTIZE_TARGETCLONES_H

/// Compiles a function for several levels of x86-64 and picks one at load time.
/// Only on functions with vector loops: each copy costs space. Not under a
/// sanitizer, whose runtime is not up yet when the choice is made. May be
/// defined from outside to compile for one level only.
#ifndef QUANTOPT_CLONES
#if defined(__x86_64__) && defined(__clang__) && defined(__ELF__)
#if !__has_feature(address_sanitizer) && !__has_feature(thread_sanitizer) &&   \
    !__has_feature(memory_sanitizer) &&                                        \
    !__has_feature(undefined_behavior_sanitizer)
#define QUANTOPT_CLONES                                                        \
  __attribute__((target_clones("arch=x86-64-v4", "arch=x86-64-v3", "default")))
#endif
#endif
#endif
#ifndef QUANTOPT_CLONES
#define QUANTOPT_CLONES
#endif

#endif // QUANTOPT_QUANTIZE_TARGETCLONES_H
