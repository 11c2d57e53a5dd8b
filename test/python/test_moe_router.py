# Part of quant-opt, under the Apache License v2.0 with LLVM Exceptions.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""The operations of a router, decomposed for import, against PyTorch's own."""

import pytest

torch = pytest.importorskip(
    "torch", reason="NOT TESTED: no torch here; pip install 'quantopt[torch]'"
)
pytest.importorskip(
    "torch_mlir", reason="NOT TESTED: no torch_mlir here; pip install 'quantopt[torch]'"
)

from quantopt import decompositions, importer  # noqa: E402


def same(a, b):
    assert len(a) == len(b)
    for left, right in zip(a, b):
        assert left.dtype == right.dtype
        assert torch.equal(left, right)


@pytest.mark.parametrize("largest", [True, False])
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize(
    "shape, k, dim", [((5, 8), 3, -1), ((2, 7, 4), 2, 1), ((6,), 6, 0), ((3, 16), 1, 1)]
)
def test_topk(shape, k, dim, largest, dtype):
    # No two values are equal: which comes first of equals, ATen does not say.
    size = torch.Size(shape).numel()
    x = torch.randperm(size, generator=torch.manual_seed(size)).reshape(shape).to(dtype) - 7
    same(decompositions.topk(x, k, dim, largest), torch.topk(x, k, dim, largest))


def test_topk_of_infinities():
    x = torch.tensor([[1.0, -torch.inf, torch.inf, 0.0]])
    same(decompositions.topk(x, 4), torch.topk(x, 4))


@pytest.mark.parametrize("descending", [True, False])
def test_sort_keeps_the_order_of_equals(descending):
    x = torch.randint(0, 3, (4, 9), generator=torch.manual_seed(0))
    same(
        decompositions.sort(x, -1, descending),
        torch.sort(x, dim=-1, stable=True, descending=descending),
    )


@pytest.mark.parametrize("dim", [0, 1, -1])
def test_scatter(dim):
    generator = torch.manual_seed(1)
    x = torch.randn(6, 6, generator=generator)
    index = torch.stack([torch.randperm(6, generator=generator) for _ in range(6)])
    index = index[:3] if dim == 0 else index[:, :3]
    if dim == 0:
        index = torch.stack([torch.randperm(6, generator=generator)[:3] for _ in range(6)]).T
    source = torch.randn(index.shape, generator=generator)
    same([decompositions.scatter_value(x, dim, index, 2.5)], [x.scatter(dim, index, 2.5)])
    same([decompositions.scatter_source(x, dim, index, source)], [x.scatter(dim, index, source)])


def test_rows_that_are_too_long_are_left():
    long = torch.zeros(1, decompositions.LONGEST_ROW + 1)
    index = torch.zeros(1, 1, dtype=torch.int64)
    assert decompositions.topk(long, 2) is NotImplemented
    assert decompositions.sort(long) is NotImplemented
    assert decompositions.scatter_value(long, 1, index, 1.0) is NotImplemented
    # Rows of `index` that stand for only some of those of x.
    x = torch.zeros(3, 4)
    assert decompositions.scatter_value(x, 1, index, 1.0) is NotImplemented
    assert decompositions.scatter_source(x, 1, index, torch.ones(1, 1)) is NotImplemented


def test_a_router_is_imported_to_plain_linalg():
    class Router(torch.nn.Module):
        def forward(self, logits):
            weights, experts = torch.topk(logits.softmax(-1), 2)
            order = experts.sort(dim=-1).values
            return torch.zeros_like(logits).scatter(1, experts, weights), order

    imported = importer.import_model(Router(), (torch.randn(5, 8),))
    assert "tm_tensor" not in imported.text
    assert "linalg.generic" in imported.text
