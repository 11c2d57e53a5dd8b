// RUN: quant-opt %s --lowbit-to-linalg --split-input-file | FileCheck %s
// RUN: quant-opt %s --lowbit-to-linalg --split-input-file | mlir-opt --split-input-file | FileCheck %s

// What comes out is upstream IR: Debian's mlir-opt reads it.

// CHECK-LABEL: func @float
// CHECK-SAME: (%[[X:.+]]: tensor<2x8xf32>, %[[W:.+]]: tensor<4x8xf32>)
func.func @float(%x: tensor<2x8xf32> {lowbit.calibration = dense<0.0> : tensor<1x2x8xf32>}, %w: tensor<4x8xf32>) -> tensor<2x4xf32> {
  // CHECK: %[[INIT:.+]] = linalg.fill
  // CHECK: %[[Y:.+]] = linalg.generic {{.+}} iterator_types = ["parallel", "parallel", "reduction"]} ins(%[[X]], %[[W]] : {{.+}}) outs(%[[INIT]]
  // CHECK: arith.mulf
  // CHECK: arith.addf
  // CHECK: return %[[Y]]
  %y = lowbit.linear %x, %w {name = "fc"} : (tensor<2x8xf32>, tensor<4x8xf32>) -> tensor<2x4xf32>
  return %y : tensor<2x4xf32>
}

// -----

// Sums are f32 whatever the operands are, rounded once at the end.
// CHECK-LABEL: func @half
func.func @half(%x: tensor<?x8xbf16>, %w: tensor<4x8xf16>) -> tensor<?x4xbf16> {
  // CHECK: linalg.generic
  // CHECK: arith.extf %{{.+}} : bf16 to f32
  // CHECK: arith.extf %{{.+}} : f16 to f32
  // CHECK: arith.mulf %{{.+}} : f32
  // CHECK: linalg.generic
  // CHECK: arith.truncf %{{.+}} : f32 to bf16
  %y = lowbit.linear %x, %w {name = "fc"} : (tensor<?x8xbf16>, tensor<4x8xf16>) -> tensor<?x4xbf16>
  return %y : tensor<?x4xbf16>
}

// -----

// A code of 4 bits stands in one byte.
// CHECK-LABEL: func @quantized
func.func @quantized(%x: tensor<2x4xf32>) -> tensor<2x1xf32> {
  %w = lowbit.weight "fc" {codes = dense<[[33, 67]]> : tensor<1x2xi8>, scales = dense<[[0.5, 2.0]]> : tensor<1x2xf16>, zeros = dense<[[18]]> : tensor<1x1xi8>}
      : !lowbit.weight<1x4xf32, #lowbit.affine<bits = 4, group = 3, integer_zero, scale = f16>>
  // CHECK-DAG: %[[CODES:.+]] = arith.constant dense<{{.+}}> : tensor<1x2xi8>
  // CHECK-DAG: %[[SCALES:.+]] = arith.constant dense<{{.+}}> : tensor<1x2xf16>
  // CHECK-DAG: %[[ZEROS:.+]] = arith.constant dense<18> : tensor<1x1xi8>
  // CHECK: %[[WEIGHT:.+]] = linalg.generic
  // CHECK: tensor.extract %[[CODES]]
  // CHECK-NOT: arith.ori
  // CHECK: tensor.extract %[[SCALES]]
  // CHECK: tensor.extract %[[ZEROS]]
  // CHECK: arith.subf
  // CHECK: arith.mulf
  // CHECK: linalg.generic {{.+}} ins(%{{.+}}, %[[WEIGHT]]
  %y = lowbit.linear %x, %w {name = "fc"} : (tensor<2x4xf32>, !lowbit.weight<1x4xf32, #lowbit.affine<bits = 4, group = 3, integer_zero, scale = f16>>) -> tensor<2x1xf32>
  return %y : tensor<2x1xf32>
}

// -----

// A code of 3 bits may go on in the next byte.
// CHECK-LABEL: func @straddling
func.func @straddling(%x: tensor<2x8xf32>) -> tensor<2x1xf32> {
  %w = lowbit.weight "fc" {codes = dense<[[33, 67, 3]]> : tensor<1x3xi8>, scales = dense<[[0.5]]> : tensor<1x1xf32>, minima = dense<[[1.5]]> : tensor<1x1xf32>}
      : !lowbit.weight<1x8xf32, #lowbit.affine<bits = 3, per_channel, float_minimum, scale = f32>>
  // CHECK: arith.ori
  // CHECK: arith.shrui
  // CHECK: arith.andi
  // CHECK: arith.mulf
  // CHECK: arith.addf
  %y = lowbit.linear %x, %w {name = "fc"} : (tensor<2x8xf32>, !lowbit.weight<1x8xf32, #lowbit.affine<bits = 3, per_channel, float_minimum, scale = f32>>) -> tensor<2x1xf32>
  return %y : tensor<2x1xf32>
}

// -----

// A code is looked up in its table, and so is a scale of one byte, which stands
// for a multiple of a second scale plus an offset.
// CHECK-LABEL: func @codebook
func.func @codebook(%x: tensor<2x6xf32>) -> tensor<2x2xf32> {
  %w = lowbit.weight "fc" {codes = dense<[[33, 67, 1], [2, 3, 4]]> : tensor<2x3xi8>, scales = dense<[[1, 2, 3]]> : tensor<1x3xi8>,
                           nested_scales = dense<0.5> : tensor<1xf32>, nested_offset = dense<2.0> : tensor<1xf32>}
      : !lowbit.weight<2x6xf32, #lowbit.codebook<nf4, flat = 4, scale = f32, nested = dynamic>>
  // CHECK-DAG: %[[CODES:.+]] = arith.constant dense<{{.+}}> : tensor<2x3xi8>
  // CHECK-DAG: %[[SCALES:.+]] = arith.constant dense<{{.+}}> : tensor<1x3xi8>
  // CHECK-DAG: %[[NESTED:.+]] = arith.constant dense<5.0{{.+}}> : tensor<1xf32>
  // CHECK-DAG: %[[OFFSET:.+]] = arith.constant dense<2.0{{.+}}> : tensor<1xf32>
  // CHECK-DAG: %[[TABLE:.+]] = arith.constant dense<{{.+}}> : tensor<16xf32>
  // CHECK-DAG: %[[MAP:.+]] = arith.constant dense<{{.+}}> : tensor<256xf32>
  // CHECK: linalg.generic
  // CHECK: tensor.extract %[[CODES]]
  // CHECK: tensor.extract %[[SCALES]]
  // CHECK: %[[LEVEL:.+]] = tensor.extract %[[MAP]]
  // CHECK: %[[FACTOR:.+]] = tensor.extract %[[NESTED]]
  // CHECK: %[[SCALED:.+]] = arith.mulf %[[LEVEL]], %[[FACTOR]]
  // CHECK: %[[ADDEND:.+]] = tensor.extract %[[OFFSET]]
  // CHECK: %[[SCALE:.+]] = arith.addf %[[SCALED]], %[[ADDEND]]
  // CHECK: %[[VALUE:.+]] = tensor.extract %[[TABLE]]
  // CHECK: arith.mulf %[[VALUE]], %[[SCALE]]
  %y = lowbit.linear %x, %w {name = "fc"} : (tensor<2x6xf32>, !lowbit.weight<2x6xf32, #lowbit.codebook<nf4, flat = 4, scale = f32, nested = dynamic>>) -> tensor<2x2xf32>
  return %y : tensor<2x2xf32>
}

// -----

// Scales of one byte without a second level.
// CHECK-LABEL: func @powers
func.func @powers(%x: tensor<2x4xf32>) -> tensor<2x1xf32> {
  %w = lowbit.weight "fc" {codes = dense<[[33, 67]]> : tensor<1x2xi8>, scales = dense<[[1.0]]> : tensor<1x1xf8E8M0FNU>}
      : !lowbit.weight<1x4xf32, #lowbit.codebook<e2m1, group = 32, scale = f8E8M0FNU>>
  // CHECK: arith.bitcast %{{.+}} : f8E8M0FNU to i8
  // CHECK: tensor.extract %{{.+}} : tensor<256xf32>
  %y = lowbit.linear %x, %w {name = "fc"} : (tensor<2x4xf32>, !lowbit.weight<1x4xf32, #lowbit.codebook<e2m1, group = 32, scale = f8E8M0FNU>>) -> tensor<2x1xf32>
  return %y : tensor<2x1xf32>
}

// -----

// The rows of an expert are not known before the run: all are multiplied.
// CHECK-LABEL: func @routed
// CHECK-SAME: (%[[X:.+]]: tensor<3x8xbf16>, %[[W:.+]]: tensor<4x8xbf16>, %[[EXPERT:.+]]: tensor<3xi64>, %[[OTHERS:.+]]: tensor<3x4xbf16>)
func.func @routed(%x: tensor<3x8xbf16>, %w: tensor<4x8xbf16>, %expert: tensor<3xi64>, %others: tensor<3x4xbf16>) -> tensor<3x4xbf16> {
  // CHECK: linalg.generic {{.+}} ins(%[[X]], %[[W]]
  // CHECK: %[[Y:.+]] = linalg.generic {{.+}} outs(%{{.+}} : tensor<3x4xbf16>)
  // CHECK: linalg.generic {{.+}} ins(%[[EXPERT]], %[[Y]], %[[OTHERS]] : {{.+}}) outs
  // CHECK: %[[MINE:.+]] = arith.cmpi eq, %{{.+}}, %c5_i64
  // CHECK: arith.select %[[MINE]]
  %y = lowbit.linear %x, %w routed(%expert, %others) {expert = 5 : i64, name = "up.5"}
      : (tensor<3x8xbf16>, tensor<4x8xbf16>, tensor<3xi64>, tensor<3x4xbf16>) -> tensor<3x4xbf16>
  return %y : tensor<3x4xbf16>
}

// -----

// They are where a dimension numbers the experts: a slice is multiplied.
// CHECK-LABEL: func @routed_by_dimension
// CHECK-SAME: (%[[X:.+]]: tensor<6x?x8xf32>, %[[W:.+]]: tensor<4x8xf32>, %[[OTHERS:.+]]: tensor<6x?x4xf32>, %[[N:.+]]: index)
func.func @routed_by_dimension(%x: tensor<6x?x8xf32>, %w: tensor<4x8xf32>, %others: tensor<6x?x4xf32>, %n: index) -> tensor<6x?x4xf32> {
  %empty = tensor.empty(%n) : tensor<6x?xi64>
  %expert = linalg.generic {indexing_maps = [affine_map<(e, m) -> (e, m)>], iterator_types = ["parallel", "parallel"]} outs(%empty : tensor<6x?xi64>) {
  ^bb0(%o: i64):
    %i = linalg.index 0 : index
    %v = arith.index_cast %i : index to i64
    linalg.yield %v : i64
  } -> tensor<6x?xi64>
  // CHECK: %[[IN:.+]] = tensor.extract_slice %[[X]][5, 0, 0] [1, %{{.+}}, 8] [1, 1, 1] : tensor<6x?x8xf32> to tensor<1x?x8xf32>
  // CHECK: %[[Y:.+]] = linalg.generic {{.+}} ins(%[[IN]], %[[W]]
  // CHECK: tensor.insert_slice %[[Y]] into %[[OTHERS]][5, 0, 0] [1, %{{.+}}, 4] [1, 1, 1] : tensor<1x?x4xf32> into tensor<6x?x4xf32>
  %y = lowbit.linear %x, %w routed(%expert, %others) {expert = 5 : i64, name = "up.5"}
      : (tensor<6x?x8xf32>, tensor<4x8xf32>, tensor<6x?xi64>, tensor<6x?x4xf32>) -> tensor<6x?x4xf32>
  return %y : tensor<6x?x4xf32>
}

// -----

// A look-up decodes the rows that it asks for; the whole matrix is not there.
// CHECK-LABEL: func @lookup
// CHECK-SAME: (%[[ROWS:.+]]: tensor<2x?xi32>)
func.func @lookup(%rows: tensor<2x?xi32>) -> tensor<2x?x4xbf16> {
  %w = lowbit.weight "fc" {codes = dense<[[33, 67]]> : tensor<1x2xi8>, scales = dense<[[0.5, 2.0]]> : tensor<1x2xf16>, zeros = dense<[[18]]> : tensor<1x1xi8>}
      : !lowbit.weight<1x4xbf16, #lowbit.affine<bits = 4, group = 3, integer_zero, scale = f16>>
  // CHECK: %[[CODES:.+]] = arith.constant dense<{{.+}}> : tensor<1x2xi8>
  // CHECK: linalg.generic {{.+}} ins(%[[ROWS]] : tensor<2x?xi32>)
  // CHECK: %[[ROW:.+]] = arith.index_cast %{{.+}} : i32 to index
  // CHECK: %[[INSIDE:.+]] = arith.cmpi ult, %[[ROW]]
  // CHECK: cf.assert %[[INSIDE]], "index out of range in a look-up of rows"
  // CHECK: %[[SAFE:.+]] = arith.minui %[[ROW]]
  // CHECK: tensor.extract %[[CODES]][%[[SAFE]],
  // CHECK: arith.truncf %{{.+}} : f32 to bf16
  // CHECK: linalg.yield
  // CHECK-NOT: linalg.generic
  %e = lowbit.lookup %rows, %w : (tensor<2x?xi32>, !lowbit.weight<1x4xbf16, #lowbit.affine<bits = 4, group = 3, integer_zero, scale = f16>>) -> tensor<2x?x4xbf16>
  return %e : tensor<2x?x4xbf16>
}

// -----

// One row, by a tensor of no dimensions.
// CHECK-LABEL: func @one_row
func.func @one_row(%row: tensor<i64>) -> tensor<4xf32> {
  %w = lowbit.weight "fc" {codes = dense<[[33, 67]]> : tensor<1x2xi8>, scales = dense<[[0.5]]> : tensor<1x1xf16>}
      : !lowbit.weight<1x4xf32, #lowbit.affine<bits = 4, per_channel, symmetric, scale = f16>>
  // CHECK: linalg.generic {{.+}} iterator_types = ["parallel"]} ins(%{{.+}} : tensor<i64>)
  %e = lowbit.lookup %row, %w : (tensor<i64>, !lowbit.weight<1x4xf32, #lowbit.affine<bits = 4, per_channel, symmetric, scale = f16>>) -> tensor<4xf32>
  return %e : tensor<4xf32>
}
