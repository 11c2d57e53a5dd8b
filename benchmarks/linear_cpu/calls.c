// Part of quant-opt, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// Linked with our kernels: calls one on several weights, since a call from
// Python takes as long as a small layer.

#include <sys/syscall.h>
#include <unistd.h>

/// Linux wants to be asked for AMX's registers; elsewhere nothing happens.
void allowMatrices(void) {
#ifdef __x86_64__
  syscall(SYS_arch_prctl, 0x1023, 18);
#endif
}

typedef void Four(void *, void *, void *, void *);
typedef void Five(void *, void *, void *, void *, void *);
typedef void Six(void *, void *, void *, void *, void *, void *);

/// Calls `function` with `count` (4 to 6) of `arguments` at a time.
void callEach(void (*function)(void), void **arguments, int count, int calls) {
  for (int call = 0; call < calls; ++call) {
    void **a = arguments + call * count;
    if (count == 4)
      ((Four *)function)(a[0], a[1], a[2], a[3]);
    else if (count == 5)
      ((Five *)function)(a[0], a[1], a[2], a[3], a[4]);
    else
      ((Six *)function)(a[0], a[1], a[2], a[3], a[4], a[5]);
  }
}
