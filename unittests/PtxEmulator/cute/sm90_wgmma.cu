// Part of quant-opt, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// C = A * B^T, [64, 64] from [64, 64] and [64, 64], by one warpgroup, where CuTe
// chooses every layout and descriptor: A in registers or shared memory, B with
// 128B swizzle, K-major ([n, k] in memory) or MN-major ([k, n]).

#include <cute/tensor.hpp>
#include <cute/atom/mma_atom.hpp>
#include <cute/arch/mma_sm90.hpp>
#include <cute/atom/mma_traits_sm90_gmma.hpp>

using namespace cute;

template <class Atom, class LayoutA, class LayoutB, bool RegisterA, bool Transposed>
__device__ void multiply(const half_t *a, const half_t *b, float *c) {
  using Size = Int<64>;
  auto layoutA = tile_to_shape(LayoutA{}, Shape<Size, Size>{});
  auto layoutB = tile_to_shape(LayoutB{}, Shape<Size, Size>{});
  __shared__ alignas(1024) half_t storageA[64 * 64];
  __shared__ alignas(1024) half_t storageB[64 * 64];
  Tensor sharedA = make_tensor(make_smem_ptr(storageA), layoutA);
  Tensor sharedB = make_tensor(make_smem_ptr(storageB), layoutB);
  for (int i = threadIdx.x; i < 64 * 64; i += 128) {
    sharedA(i / 64, i % 64) = a[i];
    sharedB(i / 64, i % 64) = Transposed ? b[i % 64 * 64 + i / 64] : b[i];
  }
  asm volatile("fence.proxy.async.shared::cta;" ::: "memory");
  __syncthreads();

  TiledMMA mma = make_tiled_mma(Atom{});
  auto thread = mma.get_slice(threadIdx.x);
  Tensor global = make_tensor(make_gmem_ptr(c), Layout<Shape<Size, Size>, Stride<Size, _1>>{});
  Tensor globalC = thread.partition_C(global);
  Tensor sums = thread.make_fragment_C(globalC);
  clear(sums);
  Tensor fragmentB = thread.make_fragment_B(thread.partition_B(sharedB));
  if constexpr (RegisterA) {
    Tensor partA = thread.partition_A(sharedA);
    Tensor fragmentA = make_tensor<half_t>(partA.layout().shape());
    copy(partA, fragmentA);
    warpgroup_fence_operand(sums);
    warpgroup_arrive();
    gemm(mma, fragmentA, fragmentB, sums);
    warpgroup_commit_batch();
    warpgroup_wait<0>();
    warpgroup_fence_operand(sums);
  } else {
    Tensor fragmentA = thread.make_fragment_A(thread.partition_A(sharedA));
    warpgroup_fence_operand(sums);
    warpgroup_arrive();
    gemm(mma, fragmentA, fragmentB, sums);
    warpgroup_commit_batch();
    warpgroup_wait<0>();
    warpgroup_fence_operand(sums);
  }
  copy(sums, globalC);
}

using Swizzled = GMMA::Layout_K_SW128_Atom<half_t>;

extern "C" __global__ void rs_k(const half_t *a, const half_t *b, float *c) {
  multiply<SM90_64x64x16_F32F16F16_RS<GMMA::Major::K, GMMA::Major::K>, Swizzled, Swizzled, true,
           false>(a, b, c);
}
extern "C" __global__ void rs_mn(const half_t *a, const half_t *b, float *c) {
  multiply<SM90_64x64x16_F32F16F16_RS<GMMA::Major::K, GMMA::Major::MN>, Swizzled,
           GMMA::Layout_MN_SW128_Atom<half_t>, true, true>(a, b, c);
}
#define BY_DESCRIPTOR(name, layout)                                                                \
  extern "C" __global__ void ss_k_##name(const half_t *a, const half_t *b, float *c) {             \
    multiply<SM90_64x64x16_F32F16F16_SS<GMMA::Major::K, GMMA::Major::K>,                           \
             GMMA::Layout_K_##layout##_Atom<half_t>, GMMA::Layout_K_##layout##_Atom<half_t>,       \
             false, false>(a, b, c);                                                               \
  }                                                                                                \
  extern "C" __global__ void ss_mn_##name(const half_t *a, const half_t *b, float *c) {            \
    multiply<SM90_64x64x16_F32F16F16_SS<GMMA::Major::MN, GMMA::Major::MN>,                         \
             GMMA::Layout_MN_##layout##_Atom<half_t>, GMMA::Layout_MN_##layout##_Atom<half_t>,     \
             false, true>(a, b, c);                                                                \
  }
BY_DESCRIPTOR(none, INTER)
BY_DESCRIPTOR(32, SW32)
BY_DESCRIPTOR(64, SW64)
BY_DESCRIPTOR(128, SW128)
