// Part of quant-opt, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// Runs one generated kernel on another kind of processor, without a C library:
// the operands come from standard input, one after the other, and y goes to
// standard output. KERNEL, OPERANDS and SIZES come with the command line.

typedef unsigned char u8;
typedef unsigned long size;

static long call(long number, long a, const void *b, long c) {
  register long x8 __asm__("x8") = number;
  register long x0 __asm__("x0") = a;
  register const void *x1 __asm__("x1") = b;
  register long x2 __asm__("x2") = c;
  __asm__ volatile("svc 0" : "+r"(x0) : "r"(x8), "r"(x1), "r"(x2) : "memory");
  return x0;
}
enum { kRead = 63, kWrite = 64, kExit = 93 };

// One thread is all that there is.
typedef void (*Task)(int *, int *, void *);
void __kmpc_fork_call(void *where, int count, Task task, void *arguments) {
  int zero = 0;
  task(&zero, &zero, arguments);
}
int __kmpc_global_thread_num(void *where) { return 0; }
void __kmpc_barrier(void *where, int thread) {}
void __kmpc_for_static_init_8u(void *where, int thread, int schedule, int *last,
                               size *lower, size *upper, long *stride, long a,
                               long b) {
  *last = 1;
}
void __kmpc_for_static_fini(void *where, int thread) {}
void *memset(void *to, int value, size count) {
  for (size i = 0; i < count; ++i)
    ((volatile u8 *)to)[i] = value;
  return to;
}
void *memcpy(void *to, const void *from, size count) {
  for (size i = 0; i < count; ++i)
    ((volatile u8 *)to)[i] = ((const u8 *)from)[i];
  return to;
}

static const size sizes[OPERANDS] = {SIZES};
static u8 memory[1 << 24] __attribute__((aligned(64)));

extern void KERNEL(u8 *, u8 *, u8 *, u8 *, u8 *, u8 *);

void _start(void) {
  u8 *operands[6];
  size at = 0;
  for (int i = 0; i < OPERANDS; ++i) {
    operands[i] = memory + at;
    for (size got = 0; got < sizes[i];) {
      long n = call(kRead, 0, operands[i] + got, sizes[i] - got);
      if (n <= 0)
        call(kExit, 1, 0, 0);
      got += n;
    }
    at += (sizes[i] + 63) / 64 * 64;
  }
  KERNEL(operands[0], operands[1], operands[2], operands[3], operands[4],
         operands[5]);
  call(kWrite, 1, operands[OPERANDS - 1], sizes[OPERANDS - 1]);
  call(kExit, 0, 0, 0);
}
