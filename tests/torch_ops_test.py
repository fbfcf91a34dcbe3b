"""torch.ops.fewshift.sparse_shift from Python: values, gradients, autocast, shape inference, torch.compile."""
import sys
import unittest

import torch

torch.ops.load_library(sys.argv.pop(1))
sparse_shift = torch.ops.fewshift.sparse_shift


def plain(x, displacement, stride=1):
    """The rounded shift by padding and slicing, a channel at a time."""
    n, c, h, w = x.shape
    pad = 8
    padded = torch.nn.functional.pad(x, (pad, pad, pad, pad))
    rows = []
    for k in range(c):
        dy, dx = (int(v) for v in displacement[k].round())
        rows.append(padded[:, k, pad + dy : pad + dy + h : stride, pad + dx : pad + dx + w : stride])
    return torch.stack(rows, 1)


class SparseShift(unittest.TestCase):
    def setUp(self):
        torch.manual_seed(0)
        self.x = torch.randn(2, 6, 7, 5)
        self.u = torch.randn(6, 2) * 2

    def test_values_and_gradients(self):
        for stride in (1, 2):
            for layout in (torch.contiguous_format, torch.channels_last):
                x = self.x.clone(memory_format=layout).requires_grad_()
                y = sparse_shift(x, self.u, stride)
                self.assertTrue(torch.equal(y, plain(x, self.u, stride)))
                g = torch.randn_like(y)
                (ours,) = torch.autograd.grad(y, x, g)
                (expected,) = torch.autograd.grad(plain(x, self.u, stride), x, g)
                self.assertTrue(torch.equal(ours, expected))

    def test_registrations(self):
        x = self.x.requires_grad_()
        u = self.u.requires_grad_()
        for stride in (1, 2):
            torch.library.opcheck(sparse_shift.default, (x, u, stride))

    def test_meta(self):
        y = sparse_shift(torch.empty(2, 6, 7, 5, device="meta"), torch.empty(6, 2, device="meta"), 2)
        self.assertEqual(y.shape, (2, 6, 4, 3))

    def test_autocast(self):
        with torch.autocast("cpu", dtype=torch.bfloat16):
            y = sparse_shift(self.x.bfloat16(), self.u.bfloat16())
        self.assertEqual(y.dtype, torch.bfloat16)

    def test_compile_does_not_break_the_graph(self):
        def step(x, u):
            return (sparse_shift(x * 2, u).relu() * 3).sum()

        compiled = torch.compile(step, fullgraph=True, backend="aot_eager", dynamic=True)
        for size in (7, 9):
            x = torch.randn(2, 6, size, 5)
            grads = []
            for function in (step, compiled):
                u = self.u.clone().requires_grad_()
                function(x, u).backward()
                grads.append(u.grad)
            self.assertTrue(torch.allclose(*grads, rtol=1e-5, atol=1e-5))


if __name__ == "__main__":
    unittest.main()
