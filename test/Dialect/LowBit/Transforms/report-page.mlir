// RUN: quant-opt %s --gptq-quantize="group-size=4 skip=^left progress=none report=%t.html" -o /dev/null
// RUN: FileCheck %s < %t.html

// A report whose name ends in .html is a page. What a reader has to know of is
// in its headline: here a layer whose inputs were all zero, with a name that
// would end the embedded data if it were not escaped.
func.func @main(%x: tensor<1x4xf32> {lowbit.calibration = dense<[[[0.0, 0.0, 0.0, 0.0]], [[0.0, 0.0, 0.0, -0.0]]]> : tensor<2x1x4xf32>}) -> (tensor<1x2xf32>, tensor<1x2xf32>) {
  %w = arith.constant dense<[[0.0, 5.0, 10.0, 15.0], [15.0, 0.0, 1.0, 2.0]]> : tensor<2x4xf32>
  %y = lowbit.linear %x, %w {name = "</script>"} : (tensor<1x4xf32>, tensor<2x4xf32>) -> tensor<1x2xf32>
  %v = arith.constant dense<1.0> : tensor<2x4xf32>
  %z = lowbit.linear %x, %v {name = "left"} : (tensor<1x4xf32>, tensor<2x4xf32>) -> tensor<1x2xf32>
  return %y, %z : tensor<1x2xf32>, tensor<1x2xf32>
}
// CHECK: <!DOCTYPE html>
// CHECK: <h1>Quantization report</h1>
// CHECK: gptq-quantize{{.*}}2 calibration samples
// CHECK: <h3>To know</h3>
// CHECK: &lt;/<wbr>script&gt;{{.*}}: its inputs were all zero on the calibration data: rounded to nearest
// CHECK: <tbody>
// CHECK: <th scope="row">{{.*}}&lt;/<wbr>script&gt;
// CHECK: <h2>Left alone</h2>
// CHECK: left{{.*}}option skip
// CHECK: id="report-data">{"layers":[{{.*}}"name":"\u003c/script>"{{.*}}</script>
// CHECK: id="page-data">{{.*}}"histograms":[{"units":
// CHECK: </html>
