// RUN: quant-opt %s --rtn-quantize="group-size=64 zero=none progress=none" -o %t.mlir 2>/dev/null
// RUN: quant-opt %t.mlir --lowbit-to-cpu="isa=amx compute=i8 input-group=64" | FileCheck %s
// RUN: quant-opt %t.mlir --lowbit-to-cpu="isa=amx compute=bf16" | FileCheck %s --check-prefix=BF16
// RUN: quant-opt %t.mlir --lowbit-to-cpu="isa=amx compute=f32" | FileCheck %s --check-prefix=F32

// 19 rows are one register of 16, and 3 rows of vectors.
// CHECK-LABEL: func.func private @lowbit_linear_amx_i8g64_
// CHECK:       call @[[TILE:lowbit_tile_amx_i8_[^(]*_16x2_[^(]*]](
// CHECK:       call @[[REST:lowbit_tile_amx_i8_[^(]*_3x2_[^(]*]](
func.func @main(%x: tensor<19x128xf32>) -> tensor<19x32xf32> {
  %w = arith.constant dense<0.5> : tensor<32x128xf32>
  %y = lowbit.linear %x, %w {name = "linear"} : (tensor<19x128xf32>, tensor<32x128xf32>) -> tensor<19x32xf32>
  return %y : tensor<19x32xf32>
}

// Codes are decoded into memory, around 0, and multiplied; sums go through
// memory to be scaled.
// CHECK:       func.func private @[[TILE]](
// CHECK:       "llvm.x86.ldtilecfg"
// CHECK:       llvm.store {{.*}} : vector<16xi32>
// CHECK:       "llvm.x86.tilezero"
// CHECK:       "llvm.x86.tileloadd64"
// CHECK:       "llvm.x86.tdpbssd"
// CHECK:       "llvm.x86.tilestored64"
// CHECK:       arith.sitofp
// CHECK:       "llvm.x86.tilerelease"
// CHECK:       func.func private @[[REST]](
// CHECK-NOT:   llvm.x86.t
// CHECK:       "llvm.x86.avx512.vpdpbusd.512"

// BF16: "llvm.x86.tdpbf16ps"
// F32-NOT: "llvm.x86.t
