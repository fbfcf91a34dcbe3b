"""torch.ops.fewshift.sparse_shift and active_shift from Python: values, gradients, autocast, shape inference, torch.compile."""
import sys
import unittest

import torch

torch.ops.load_library(sys.argv.pop(1))
sparse_shift = torch.ops.fewshift.sparse_shift
active_shift = torch.ops.fewshift.active_shift


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


class Case(unittest.TestCase):
    def setUp(self):
        torch.manual_seed(0)
        self.x = torch.randn(2, 6, 7, 5)
        self.u = torch.randn(6, 2) * 2


class SparseShift(Case):
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


class ActiveShift(Case):
    def test_values_and_gradients(self):
        x, u = self.x.double(), self.u.double()
        for stride in (1, 2):
            rows, columns = (torch.arange(0, size, stride, dtype=x.dtype) for size in x.shape[2:])
            pixels = torch.stack(torch.meshgrid(rows, columns, indexing="ij"), -1)
            grid = (2 * (pixels + u[:, None, None, :]) + 1) / torch.tensor(x.shape[2:]) - 1
            expected = torch.nn.functional.grid_sample(x.transpose(0, 1), grid.flip(-1), align_corners=False)
            self.assertTrue(torch.allclose(active_shift(x, u, stride), expected.transpose(0, 1)))

            x.requires_grad_(), u.requires_grad_()
            self.assertTrue(torch.autograd.gradcheck(lambda *both: active_shift(*both, stride), (x, u)))
            x, u = x.detach(), u.detach()


class Both(Case):
    def test_registrations(self):
        for op in (sparse_shift, active_shift):
            x = self.x.requires_grad_()
            u = self.u.requires_grad_()
            for stride in (1, 2):
                torch.library.opcheck(op.default, (x, u, stride))

    def test_wrong_shapes_are_named(self):
        for op in (sparse_shift, active_shift):
            for x in (self.x[0], self.x[:, :, 0], self.x[:, :5]):
                for learns in (False, True):
                    with self.assertRaisesRegex(RuntimeError, "shift"):
                        op(x, self.u.clone().requires_grad_(learns))

    def test_meta(self):
        for op in (sparse_shift, active_shift):
            y = op(torch.empty(2, 6, 7, 5, device="meta"), torch.empty(6, 2, device="meta"), 2)
            self.assertEqual(y.shape, (2, 6, 4, 3))

    def test_autocast(self):
        for op in (sparse_shift, active_shift):
            with torch.autocast("cpu", dtype=torch.bfloat16):
                y = op(self.x.bfloat16(), self.u.bfloat16())
            self.assertEqual(y.dtype, torch.bfloat16)

    def test_compile_does_not_break_the_graph(self):
        for op in (sparse_shift, active_shift):
            def step(x, u):
                return (op(x * 2, u).relu() * 3).sum()

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
