"""fewshift.torch: its operators in PyTorch held to those in C++, its layers in networks of one's own, and what it loads
held to what `fewshift run` makes of the same run's export.
usage: python_torch_test.py FEWSHIFT LIBFEWSHIFT_TORCH PICTURES"""
import copy
import itertools
import json
import os
import pathlib
import random
import shutil
import subprocess
import sys
import tempfile
import unittest

sys.dont_write_bytecode = True  # the sources stay free of caches
program, library, pictures = sys.argv[1:4]
del sys.argv[1:4]
os.environ["FEWSHIFT_TORCH_LIBRARY"] = library
os.environ.pop("FEWSHIFT_TORCH_BACKEND", None)
package = pathlib.Path(__file__).resolve().parents[1] / "bindings" / "python"
sys.path.insert(0, str(package))

import numpy as np
import torch
import torch.nn.functional as F
from torch import nn

import fewshift.torch as ft
from fewshift.torch import python_operators

torch.set_num_threads(1)
NAMES = ("sparse_shift", "active_shift")
BACKENDS = {"c++": torch.ops.fewshift, "python": python_operators}
ROUNDING = {torch.float64: 1e-12, torch.float32: 1e-5, torch.bfloat16: 1e-2}


def step(op, x, u, stride, grad):
    x, u = x.detach().requires_grad_(), u.detach().requires_grad_()
    y = op(x, u, stride)
    y.backward(grad)
    return y.detach(), x.grad, u.grad


def distance(a, b):
    if b.numel() == 0:
        return 0.0
    a, b = a.double(), b.double()
    return ((a - b).abs().max() / b.abs().max().clamp(min=1e-30)).item()


class Operators(unittest.TestCase):
    def setUp(self):
        torch.manual_seed(0)

    def compare(self, x, u, stride, where):
        size = [-(-side // stride) for side in x.shape[2:]]
        grad = torch.randn(*x.shape[:2], *size).to(x.dtype)
        for name in NAMES:
            ours, theirs = (step(getattr(b, name), x, u, stride, grad) for b in (python_operators, BACKENDS["c++"]))
            self.assertEqual([t.dtype for t in ours], [t.dtype for t in theirs], where)
            if x.numel() and min(x.shape[1:]) > 1 and min(size) > 1:
                self.assertEqual(ours[0].stride(), theirs[0].stride(), where)
            if name == "sparse_shift":
                self.assertTrue(torch.equal(ours[0], theirs[0]), where)
                self.assertTrue(torch.equal(ours[1], theirs[1]), where)
            # Sums over images and pixels: a type's rounding, of the largest of them.
            for part, a, b, limit in zip("yxu", ours, theirs, (1, 1, 10)):
                limit *= ROUNDING[x.dtype if part != "u" or x.dtype == u.dtype else torch.float32]
                self.assertLess(distance(a, b), limit, (name, part, *where))

    def test_backends_agree(self):
        rng = random.Random(0)
        side = lambda: rng.choice([1, 2, 3, 5, 7, 8, 13])
        for k in range(150):
            shape = (rng.choice([1, 2, 3]), rng.choice([1, 3, 8, 17]), side(), side())
            dtype, stride = rng.choice(list(ROUNDING)), rng.choice([1, 2])
            u = (2 * torch.rand(shape[1], 2, dtype=torch.float64) - 1) * rng.choice([0.6, 1.5, 3.0, 12.0, 1e7])
            if k % 4 == 0:  # exact halves and wholes
                u = (2 * u).round() / 2
            x = torch.randn(shape).to(dtype)
            if rng.random() < 0.5:
                x = x.contiguous(memory_format=torch.channels_last)
            u = u if dtype == torch.float64 else u.float()
            self.compare(x, u, stride, (shape, dtype, stride, k))

    def test_where_nothing_is_read(self):
        inf, nan = float("inf"), float("nan")
        u = torch.tensor([[5.0, 0.0], [0.0, -5.0], [1e30, 0.0], [0.0, -inf], [nan, 0.0]])
        for name, backend in itertools.product(NAMES, BACKENDS.values()):
            y, _, slope = step(getattr(backend, name), torch.ones(1, 5, 5, 5), u, 1, torch.ones(1, 5, 5, 5))
            self.assertEqual(y.abs().sum(), 0)
            self.assertFalse(slope.isnan().any())
        for shape in ((0, 3, 4, 4), (2, 0, 4, 4), (2, 3, 0, 4)):
            self.compare(torch.zeros(shape), torch.zeros(shape[1], 2), 2, (shape,))

    def test_exact_halves_go_to_even(self):
        x = torch.arange(7.0).view(1, 1, 1, 7)
        for u, place in ((0.5, 3), (1.5, 5), (2.5, 5), (-0.5, 3), (-1.5, 1)):
            self.assertEqual(python_operators.sparse_shift(x, torch.tensor([[0.0, u]]))[0, 0, 0, 3], place)

    def test_gradients_are_those_of_differences(self):
        x = torch.randn(2, 3, 4, 5, dtype=torch.float64, requires_grad=True)
        u = (torch.rand(3, 2, dtype=torch.float64) * 4 - 2).requires_grad_()
        for stride, layout in itertools.product((1, 2), (torch.contiguous_format, torch.channels_last)):
            def shift(x, u):
                return python_operators.active_shift(x.contiguous(memory_format=layout), u, stride)

            self.assertTrue(torch.autograd.gradcheck(shift, (x, u)))

    def test_frozen_displacements(self):
        x, u = torch.randn(1, 3, 4, 4, requires_grad=True), torch.randn(3, 2)
        for name, backend in itertools.product(NAMES, BACKENDS.values()):
            y = getattr(backend, name)(x, u)
            saved = getattr(y.grad_fn, "saved_tensors", None)
            self.assertTrue(saved is None or saved[0] is None)
            self.assertIsNotNone(torch.autograd.grad(y.sum(), x)[0])

    def test_autocast_and_meta(self):
        for name, backend in itertools.product(NAMES, BACKENDS.values()):
            op = getattr(backend, name)
            x, u = torch.randn(2, 6, 7, 5), torch.randn(6, 2)
            with torch.autocast("cpu", dtype=torch.bfloat16):
                self.assertEqual(op(x.bfloat16(), u.bfloat16()).dtype, torch.bfloat16)
                self.assertEqual(op(x, u).dtype, torch.float32)
            self.assertEqual(op(x.to("meta"), u.to("meta"), 2).shape, (2, 6, 4, 3))

    def test_refuses_what_it_cannot_do(self):
        x, u = torch.zeros(1, 3, 4, 4), torch.zeros(3, 2)
        self.assertRaises(RuntimeError, python_operators.sparse_shift, x[0], u)
        bad = [(x, torch.zeros(4, 2), 1), (x, torch.zeros(3, 3), 1), (x, u, 3), (x, u, 0)]
        bad += [(x.int(), u, 1), (x, u.int(), 1), (x, u.bfloat16(), 1), (x.half(), u, 1)]
        for name, arguments in itertools.product(NAMES, bad):
            messages = []
            for backend in BACKENDS.values():
                with self.assertRaises(RuntimeError) as caught:
                    getattr(backend, name)(*arguments)
                messages.append(str(caught.exception).splitlines()[0])
            self.assertEqual(messages[0].split(":")[1][:20], messages[1].split(":")[1][:20])

    def test_compiles_in_one_graph(self):
        for name, backend in itertools.product(NAMES, BACKENDS.values()):
            op = getattr(backend, name)

            def loss(x, u):
                return (op(x * 2, u).relu() * 3).sum()

            torch._dynamo.reset()
            compiled = torch.compile(loss, fullgraph=True, backend="aot_eager", dynamic=True)
            for shape in ((2, 6, 7, 5), (2, 6, 9, 5)):
                x = torch.randn(shape).contiguous(memory_format=torch.channels_last)
                slopes = []
                for function in (loss, compiled):
                    u = torch.linspace(-2.1, 2.3, 12).view(6, 2).requires_grad_()
                    function(x, u).backward()
                    slopes.append(u.grad)
                self.assertTrue(torch.allclose(*slopes, rtol=1e-5, atol=1e-5))


def small_network():
    return nn.Sequential(
        nn.Conv2d(3, 24, 1), nn.BatchNorm2d(24), nn.ReLU(), ft.SparseShift2d(24, stride=2),
        nn.Conv2d(24, 24, 1), nn.BatchNorm2d(24), nn.ReLU(), ft.ActiveShift2d(24, displacement="grid"),
        nn.Conv2d(24, 4, 1), nn.AdaptiveAvgPool2d(1), nn.Flatten(),
    )  # fmt: skip


class Layers(unittest.TestCase):
    def setUp(self):
        torch.manual_seed(0)

    def test_starts(self):
        u = ft.SparseShift2d(90, reach=0.7).displacement
        self.assertTrue(0.5 < u.abs().max() <= 0.7 and u.requires_grad)
        grid = ft.SparseShift2d(90, displacement="grid").displacement
        fixed = ft.SparseShift2d(90, displacement="grid", learned=False).displacement
        self.assertTrue(torch.equal(grid.round(), fixed) and not fixed.requires_grad)
        self.assertEqual(len({tuple(row) for row in fixed.tolist()}), 9)
        self.assertTrue(torch.equal(ft.ActiveShift2d(8, displacement=(u := torch.randn(8, 2))).displacement, u))
        for wrong in ({"displacement": torch.zeros(7, 2)}, {"displacement": "star"}, {"stride": 3}):
            self.assertRaises(ValueError, ft.SparseShift2d, 8, **wrong)
        self.assertRaisesRegex(ValueError, "^channels must be at least 1, but is 0$", ft.SparseShift2d, 0)

    def test_of_a_whole_network(self):
        network = small_network()
        self.assertEqual(list(ft.displacements(network)), ["3.displacement", "7.displacement"])
        with torch.no_grad():
            network[3].displacement.copy_(torch.tensor([0.5, -0.3]))  # both stand still
            network[7].displacement.copy_(torch.tensor([0.0, 0.6]))
        self.assertEqual(ft.shift_sparsity(network), 0.5)
        self.assertAlmostEqual(ft.shift_penalty(network).item(), 24 * 1.4, places=4)
        self.assertEqual((ft.shift_sparsity(nn.ReLU()), ft.shift_penalty(nn.ReLU()).item()), (1.0, 0.0))
        groups = {group["name"]: group for group in ft.parameter_groups(network, 0.1, weight_decay=1e-4)}
        self.assertEqual([len(g["params"]) for g in groups.values()], [3, 7, 2])
        self.assertEqual([g["weight_decay"] for g in groups.values()], [1e-4, 0, 0])
        self.assertEqual(groups["displacements"]["lr"], 1.0)
        self.assertEqual(ft.parameter_groups(network, 0.1, 0.3)[2]["lr"], 0.3)
        self.assertEqual(sum(len(g["params"]) for g in groups.values()), len(list(network.parameters())))

    def train(self, network, wrap=lambda network: network):
        torch.manual_seed(1)
        noise, labels = torch.randn(64, 1, 12, 10), torch.arange(64) % 4
        moves = [(0, 1), (0, -1), (1, 0), (-1, 0)]  # how the second channel follows from the first
        moved = torch.stack([picture.roll(moves[label], (1, 2)) for picture, label in zip(noise, labels)])
        x = torch.cat([noise, moved, torch.zeros_like(noise)], 1)
        run, losses = wrap(network), []
        optimiser = torch.optim.Adam(ft.parameter_groups(network, 0.01))
        for _ in range(30):
            loss = F.cross_entropy(run(x), labels)
            losses.append(loss.item())
            optimiser.zero_grad()
            (loss + 1e-4 * ft.shift_penalty(network)).backward()
            optimiser.step()
        return losses

    def test_training(self):
        start = small_network()
        compiled = lambda network: torch.compile(network, fullgraph=True, backend="aot_eager")
        devices, losses = ft.operators.DEVICES, {}
        try:
            for backend in BACKENDS:
                ft.operators.DEVICES = devices if backend == "c++" else frozenset()
                torch._dynamo.reset()
                losses[backend] = self.train(copy.deepcopy(start))
                losses[backend + ", compiled"] = self.train(copy.deepcopy(start), compiled)
        finally:
            ft.operators.DEVICES = devices
        for name, curve in losses.items():
            self.assertLess(curve[-1], 0.8 * curve[0], name)
            self.assertTrue(np.allclose(curve, losses["c++"], rtol=1e-2), (name, curve, losses["c++"]))
            self.assertTrue(np.allclose(curve[:3], losses["c++"][:3], rtol=1e-5), (name, curve, losses["c++"]))

    def test_low_precision(self):
        network, x = small_network().eval(), torch.randn(2, 3, 9, 9)
        expected = network(x)
        with torch.autocast("cpu", dtype=torch.bfloat16):
            self.assertLess(distance(network(x), expected), 0.1)
        self.assertEqual(network.bfloat16()(x.bfloat16()).dtype, torch.bfloat16)

    def test_as_convolutions(self):
        network = small_network().eval()
        with torch.no_grad():
            network[3].displacement[0] = torch.tensor([-4.0, 2.5])
        same = ft.as_convolutions(network)
        self.assertEqual(ft.displacements(same), {})
        self.assertEqual(len(ft.displacements(network)), 2)
        for size in ((9, 8), (1, 1), (2, 5)):
            x = torch.randn(2, 3, *size)
            self.assertLess(distance(same(x), network(x)), 1e-5)
        exported = torch.export.export(same, (x,)).graph
        self.assertFalse([node for node in exported.nodes if "fewshift" in str(node.target)])
        network[3].displacement.data[0, 0] = 1e9
        self.assertRaises(ValueError, ft.as_convolutions, network)


class Library(unittest.TestCase):
    """Which library is loaded, each in a process of its own."""

    def says(self, **environment):
        code = f"import sys; sys.path.insert(0, {str(package)!r}); import fewshift.torch as t; print(t.backend())"
        full = {**os.environ, **environment}
        result = subprocess.run([sys.executable, "-B", "-c", code], env=full, capture_output=True, text=True)
        return result.stdout.strip() or result.stderr.splitlines()[-1]

    def test_choice(self):
        with tempfile.TemporaryDirectory() as folder:
            copied = pathlib.Path(folder, "libfewshift_torch.so")
            shutil.copy(library, copied)
            copied.with_suffix(".json").write_text('{"torch": "1.0.0"}')
            self.assertIn("built for torch 1.0.0", self.says(FEWSHIFT_TORCH_LIBRARY=str(copied)))
            copied.with_suffix(".json").write_text(json.dumps({"torch": torch.__version__.split("+")[0]}))
            self.assertEqual(self.says(FEWSHIFT_TORCH_LIBRARY=str(copied)), "c++")
            copied.write_bytes(b"no library")
            self.assertIn("ImportError", self.says(FEWSHIFT_TORCH_LIBRARY=str(copied)))
        self.assertEqual(self.says(FEWSHIFT_TORCH_BACKEND="python"), "python")
        self.assertIn("ImportError", self.says(FEWSHIFT_TORCH_BACKEND="fortran"))
        self.assertEqual(ft.backend(), "c++")


RUNS = [
    ("shiftresnet20_e1", "ssl"), ("shiftresnet20_e1", "asl"), ("fenet_cifar_0.5", "gsl"), ("fenet_se_0.5", "random"),
    ("shiftresnet20_e3", "depthwise"), ("resnet20", "ssl"), ("mobilenet_v2_0.5_cifar", "ssl"),
    ("mobilenetv4_conv_small_cifar", "ssl"), ("shufflenet_v2_0.5", "ssl"), ("fasternet_t0", "ssl"),
]  # fmt: skip


class Load(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.folder = pathlib.Path(cls.enterClassContext(tempfile.TemporaryDirectory()))
        train = cls.folder / "pictures" / "train"  # a few are enough
        for label in sorted(pathlib.Path(pictures, "train").iterdir())[:4]:
            (train / label.name).mkdir(parents=True)
            for picture in sorted(label.iterdir())[:12]:
                shutil.copy(picture, train / label.name)

    def fewshift(self, *arguments):
        result = subprocess.run([program, *map(str, arguments)], capture_output=True, text=True)
        self.assertEqual(result.returncode, 0, result.stderr)
        return result.stdout

    def trained(self, model, shift):
        run = self.folder / f"{model}-{shift}"
        if not run.exists():
            self.fewshift("train", "--model", model, "--shift", shift, "--size", 32, "--epochs", 1, "--batch", 16,
                          "--data", self.folder / "pictures", "--out", run)  # fmt: skip
        return run

    def test_knows_every_model(self):
        listed = json.loads(self.fewshift("models", "--json"))
        self.assertEqual({row["name"] for row in listed}, set(ft.models()))
        for row in listed:
            with torch.device("meta"):
                network = ft.create_model(row["name"])
            shifts = {id(u) for u in ft.displacements(network).values()}
            count = sum(p.numel() for p in network.parameters() if id(p) not in shifts)
            self.assertEqual((count, network.input_size), (row["params"], row["input"][1]), row["name"])
        for wrong in (("fenet_1.1",), ("resnet20", 10, "nothing")):
            self.assertRaises(ValueError, ft.create_model, *wrong)

    def test_logits(self):
        for model, shift in RUNS:
            run = self.trained(model, shift)
            network = ft.load(run)
            learned = {u.requires_grad for u in ft.displacements(network).values()}
            self.assertLessEqual(learned, {shift in ("ssl", "asl")})
            self.assertFalse(any(t.is_meta for t in network.state_dict().values()))
            onnx, x, y = (self.folder / name for name in ("model.onnx", "x.npy", "y.npy"))
            self.fewshift("export", run, "--out", onnx)
            images = np.random.default_rng(0).standard_normal((2, 3, 32, 32), np.float32)
            np.save(x, images)
            self.fewshift("run", onnx, "--input", x, "--output", y)
            ours = network(torch.from_numpy(images)).detach().numpy()
            theirs = np.load(y)
            self.assertLess(np.abs(ours - theirs).max() / np.ptp(theirs), 1e-4, (model, shift))

    def test_what_comes_with_it(self):
        run = self.trained("shiftresnet20_e1", "ssl")
        network = ft.load(run)
        self.assertFalse(network.training)
        self.assertEqual(network.class_names, sorted(p.name for p in (self.folder / "pictures" / "train").iterdir()))
        self.assertEqual((network.preprocess["size"], network.preprocess["resize"]), (32, 32))
        self.assertEqual((network.info["model"], network.info["shift"]), ("shiftresnet20_e1", "ssl"))
        sparsity = json.loads((run / "metrics.jsonl").read_text().splitlines()[int(network.info["epoch"]) - 1])
        self.assertAlmostEqual(ft.shift_sparsity(network), sparsity["shift_sparsity"], places=5)
        again = ft.load(run / "best.safetensors")
        x = torch.randn(1, 3, 40, 40)
        self.assertTrue(torch.equal(network(x), again(x)))
        self.assertTrue(torch.equal(copy.deepcopy(network)(x), again(x)))
        self.assertLess(distance(ft.as_convolutions(network)(x), network(x)), 1e-5)

    def test_bad_files(self):
        good = (self.trained("shiftresnet20_e1", "ssl") / "last.safetensors").read_bytes()
        length = int.from_bytes(good[:8], "little")
        header, data = json.loads(good[8 : 8 + length]), good[8 + length :]

        def file(change=lambda header: None, data=data):
            changed = copy.deepcopy(header)
            change(changed)
            text = json.dumps(changed).encode()
            return len(text).to_bytes(8, "little") + text + data

        def metadata(key, value):
            return file(lambda h: h["__metadata__"].update({key: value}))

        name = "stem.conv.weight"
        cases = {
            "safetensors": [b"", b"abc", good[:100]],
            "header": [(5).to_bytes(8, "little") + b"[1,2]" + data, file(lambda h: h.update(__metadata__={"a": 1}))],
            name: [
                file(lambda h: h[name].update(dtype="F99")), file(lambda h: h[name].update(shape=[3])),
                file(lambda h: h[name].update(shape=[-1, "a"])),
                file(lambda h: h[name].update(data_offsets=[0, 1 << 60])),
                file(lambda h: h.update({name: 3})), file(lambda h: h[name].update(shape=h[name]["shape"][::-1])),
            ],
            "format": [metadata("format", "other"), file(lambda h: h["__metadata__"].pop("format"))],
            "model": [metadata("model", "lenet"), file(lambda h: h["__metadata__"].pop("model"))],
            "shift": [metadata("shift", "sideways")],
            "class_names": [metadata("class_names", "[]"), metadata("class_names", "{")],
            "preprocess": [metadata("preprocess", "{}"), metadata("preprocess", '{"size": 1e99}')],
            "tensor": [
                file(data=data[:-4]), file(data=data + b"1234"), metadata("model", "shiftresnet20_e3"),
                metadata("model", "resnet20"), metadata("shift", "depthwise"), metadata("class_names", '["a", "b"]'),
            ],
        }  # fmt: skip
        path = self.folder / "bad.safetensors"
        for word, files in cases.items():
            for content in files:
                path.write_bytes(content)
                with self.assertRaises(ValueError, msg=word) as caught:
                    ft.load(path)
                self.assertIn(str(path), str(caught.exception))
                self.assertIn(word, str(caught.exception))
        self.assertRaises(FileNotFoundError, ft.load, self.folder)
        self.assertRaises(FileNotFoundError, ft.load, self.folder / "none.safetensors")


if __name__ == "__main__":
    unittest.main()
