//===- OpenMPRegistration.cpp - What killed processes leave ---------------===//
//
// Part of quant-opt, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "quantopt/Runtime/OpenMPRegistration.h"
#include <string>
#include <sys/mman.h>
#include <unistd.h>

void quantopt::removeStaleOpenMPRegistration() {
  std::string name = "/__KMP_REGISTERED_LIB_" + std::to_string(getpid()) + "_" +
                     std::to_string(getuid());
  // There is none as a rule.
  (void)shm_unlink(name.c_str());
}
