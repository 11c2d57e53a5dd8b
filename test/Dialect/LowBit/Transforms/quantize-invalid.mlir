// RUN: quant-opt %s --gptq-quantize="progress=none" --split-input-file --verify-diagnostics

// expected-error @+1 {{no calibration data: give calibration=FILE}}
func.func @main(%x: tensor<2x4xf32>) -> tensor<2x2xf32> {
  %w = arith.constant dense<[[0.0, 5.0, 10.0, 15.0], [15.0, 0.0, 1.0, 2.0]]> : tensor<2x4xf32>
  %y = lowbit.linear %x, %w {name = "fc"} : (tensor<2x4xf32>, tensor<2x4xf32>) -> tensor<2x2xf32>
  return %y : tensor<2x2xf32>
}

// -----

// expected-error @+1 {{calibration samples of argument 0: has shape 3x2x5, but samples of this argument are [samples, 2x4]}}
func.func @main(%x: tensor<2x4xf32> {lowbit.calibration = dense_resource<calib> : tensor<3x2x5xf32>}) -> tensor<2x2xf32> {
  %w = arith.constant dense<[[0.0, 5.0, 10.0, 15.0], [15.0, 0.0, 1.0, 2.0]]> : tensor<2x4xf32>
  %y = lowbit.linear %x, %w {name = "fc"} : (tensor<2x4xf32>, tensor<2x4xf32>) -> tensor<2x2xf32>
  return %y : tensor<2x2xf32>
}
{-# dialect_resources: { builtin: { calib: "0x04000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000" } } #-}

// -----

// expected-error @+1 {{holds no samples - give at least one}}
func.func @main(%x: tensor<2x4xf32> {lowbit.calibration = dense_resource<empty> : tensor<0x2x4xf32>}) -> tensor<2x2xf32> {
  %w = arith.constant dense<[[0.0, 5.0, 10.0, 15.0], [15.0, 0.0, 1.0, 2.0]]> : tensor<2x4xf32>
  %y = lowbit.linear %x, %w {name = "fc"} : (tensor<2x4xf32>, tensor<2x4xf32>) -> tensor<2x2xf32>
  return %y : tensor<2x2xf32>
}
{-# dialect_resources: { builtin: { empty: "0x04000000" } } #-}

// -----

// expected-error @+1 {{only 1 of 2 arguments have lowbit.calibration - attach samples for all}}
func.func @main(%x: tensor<1x4xf32> {lowbit.calibration = dense<[[[1.0, 2.0, 3.0, 4.0]]]> : tensor<1x1x4xf32>}, %z: tensor<1x2xf32>) -> tensor<1x2xf32> {
  %w = arith.constant dense<[[0.0, 5.0, 10.0, 15.0], [15.0, 0.0, 1.0, 2.0]]> : tensor<2x4xf32>
  %y = lowbit.linear %x, %w {name = "fc"} : (tensor<1x4xf32>, tensor<2x4xf32>) -> tensor<1x2xf32>
  return %y : tensor<1x2xf32>
}

// -----

func.func @main(%x: tensor<1x4xf32> {lowbit.calibration = dense<[[[1.0, 2.0, 3.0, 4.0]]]> : tensor<1x1x4xf32>}) -> tensor<1x2xf32> {
  %w = arith.constant dense<[[0.0, 5.0, 0x7FC00000, 15.0], [15.0, 0.0, 1.0, 2.0]]> : tensor<2x4xf32>
  // expected-error @+1 {{layer 'fc': weight is not finite at row 0 column 2 - mend the model, or leave the layer out with option skip}}
  %y = lowbit.linear %x, %w {name = "fc"} : (tensor<1x4xf32>, tensor<2x4xf32>) -> tensor<1x2xf32>
  return %y : tensor<1x2xf32>
}

// -----

func.func @main(%x: tensor<1x4xf32> {lowbit.calibration = dense<[[[1.0, 2.0, 3.0, 4.0]]]> : tensor<1x1x4xf32>}) -> tensor<1x2xf32> {
  %w = arith.constant dense_resource<missing> : tensor<2x4xf32>
  // expected-error @+1 {{weight of layer 'fc': resource 'missing' has no data (missing or elided) - attach it with --lowbit-attach-data=weights=FILE, or print the module without eliding resources}}
  %y = lowbit.linear %x, %w {name = "fc"} : (tensor<1x4xf32>, tensor<2x4xf32>) -> tensor<1x2xf32>
  return %y : tensor<1x2xf32>
}

// -----

func.func @main(%x: tensor<1x4xf32> {lowbit.calibration = dense<[[[1.0, 2.0, 3.0, 4.0]]]> : tensor<1x1x4xf32>}) -> tensor<1x2xf32> {
  %w = arith.constant dense_resource<short> : tensor<2x4xf32>
  // expected-error @+1 {{weight of layer 'fc': resource 'short' holds 4 bytes where 'tensor<2x4xf32>' takes 32 - the file is damaged or its type was edited}}
  %y = lowbit.linear %x, %w {name = "fc"} : (tensor<1x4xf32>, tensor<2x4xf32>) -> tensor<1x2xf32>
  return %y : tensor<1x2xf32>
}
{-# dialect_resources: { builtin: { short: "0x0400000000000000" } } #-}

// -----

// expected-error @+1 {{no linear layer found: the function holds no contraction}}
func.func @main(%x: tensor<1x4xf32> {lowbit.calibration = dense<[[[1.0, 2.0, 3.0, 4.0]]]> : tensor<1x1x4xf32>}) -> tensor<1x4xf32> {
  return %x : tensor<1x4xf32>
}

// -----

// expected-error @+2 {{no linear layer to quantize}}
// expected-note @+1 {{contraction.0: operand 1 is function argument 1}}
func.func @main(%x: tensor<1x4xf32> {lowbit.calibration = dense<[[[1.0, 2.0, 3.0, 4.0]]]> : tensor<1x1x4xf32>},
                %w: tensor<4x1xf32> {lowbit.calibration = dense<[[[1.0], [2.0], [3.0], [4.0]]]> : tensor<1x4x1xf32>}) -> tensor<1x1xf32> {
  %zero = arith.constant dense<0.0> : tensor<1x1xf32>
  %a = math.absf %x : tensor<1x4xf32>
  %y = linalg.matmul ins(%a, %w : tensor<1x4xf32>, tensor<4x1xf32>) outs(%zero : tensor<1x1xf32>) -> tensor<1x1xf32>
  return %y : tensor<1x1xf32>
}
