// Part of quant-opt, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// C = A * B^T, [64, 64] from [64, 64] and [64, 64], by one warp, where CuTe
// chooses every layout: swizzled shared memory, ldmatrix for A, and for B either
// ldmatrix (B is [n, k] in memory) or ldmatrix.trans (B is [k, n]).

#include <cute/tensor.hpp>
#include <cute/atom/mma_atom.hpp>
#include <cute/atom/copy_atom.hpp>

using namespace cute;

template <bool Transposed>
__device__ void multiply(const half_t *a, const half_t *b, float *c) {
  using Size = Int<64>;
  auto swizzled = composition(Swizzle<3, 3, 3>{}, Layout<Shape<_8, _64>, Stride<_64, _1>>{});
  auto layoutK = tile_to_shape(swizzled, Shape<Size, Size>{});
  // [n, k] with n contiguous.
  auto swizzledN = composition(Swizzle<3, 3, 3>{}, Layout<Shape<_64, _8>, Stride<_1, _64>>{});
  auto layoutN = tile_to_shape(swizzledN, Shape<Size, Size>{});
  __shared__ alignas(128) half_t storageA[64 * 64];
  __shared__ alignas(128) half_t storageB[64 * 64];
  Tensor sharedA = make_tensor(make_smem_ptr(storageA), layoutK);
  auto sharedB = [&] {
    if constexpr (Transposed)
      return make_tensor(make_smem_ptr(storageB), layoutN);
    else
      return make_tensor(make_smem_ptr(storageB), layoutK);
  }();
  for (int i = threadIdx.x; i < 64 * 64; i += 32) {
    sharedA(i / 64, i % 64) = a[i];
    sharedB(i / 64, i % 64) = Transposed ? b[i % 64 * 64 + i / 64] : b[i];
  }
  __syncthreads();

  TiledMMA mma = make_tiled_mma(SM80_16x8x16_F32F16F16F32_TN{}, Layout<Shape<_1, _1>>{},
                                Tile<_16, _16, _16>{});
  auto thread = mma.get_slice(threadIdx.x);
  Tensor global = make_tensor(make_gmem_ptr(c), Layout<Shape<Size, Size>, Stride<Size, _1>>{});
  Tensor globalC = thread.partition_C(global);
  Tensor sums = thread.make_fragment_C(globalC);
  Tensor fragmentA = thread.partition_fragment_A(sharedA);
  Tensor fragmentB = thread.partition_fragment_B(sharedB);
  clear(sums);
  using CopyB = std::conditional_t<Transposed, SM75_U16x8_LDSM_T, SM75_U32x4_LDSM_N>;
  auto copyA = make_tiled_copy_A(Copy_Atom<SM75_U32x4_LDSM_N, half_t>{}, mma);
  auto copyB = make_tiled_copy_B(Copy_Atom<CopyB, half_t>{}, mma);
  auto sliceA = copyA.get_slice(threadIdx.x);
  auto sliceB = copyB.get_slice(threadIdx.x);
  copy(copyA, sliceA.partition_S(sharedA), sliceA.retile_D(fragmentA));
  copy(copyB, sliceB.partition_S(sharedB), sliceB.retile_D(fragmentB));
  gemm(mma, fragmentA, fragmentB, sums);
  copy(sums, globalC);
}

extern "C" __global__ void gemm_tn(const half_t *a, const half_t *b, float *c) {
  multiply<false>(a, b, c);
}
extern "C" __global__ void gemm_tt(const half_t *a, const half_t *b, float *c) {
  multiply<true>(a, b, c);
}
