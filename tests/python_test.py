"""The Python package as it is installed.   usage: python_test.py MODEL.onnx REPOSITORY FEWSHIFT"""
import importlib.util
import json
import os
import pathlib
import re
import subprocess
import sys
import tempfile
import threading
import unittest

import numpy
import PIL.Image

import fewshift

MODEL, ROOT, PROGRAM = sys.argv[1], pathlib.Path(sys.argv[2]), sys.argv[3]
del sys.argv[1:]
PHOTOS = sorted(str(path) for path in (ROOT / "sample/clothing/test").glob("*/*.jpg"))[:5]


def program(*arguments):
    return subprocess.run([PROGRAM, *arguments], check=True, capture_output=True, text=True).stdout


class Predictions(unittest.TestCase):
    def setUp(self):
        self.model = fewshift.Model(MODEL)

    def test_are_those_of_the_program(self):
        said = json.loads(program("predict", MODEL, *PHOTOS, "--top", "3", "--json"))["predictions"]
        for ours, theirs in zip(self.model.predict(PHOTOS, top=3), said):
            self.assertEqual([c.name for c in ours], [c["name"] for c in theirs["classes"]])
            numpy.testing.assert_allclose([c.score for c in ours], [c["score"] for c in theirs["classes"]], atol=1e-5)

    def test_of_every_kind_of_picture(self):
        path = PHOTOS[0]
        with PIL.Image.open(path) as picture:
            picture = picture.convert("RGB")
        pixels = numpy.asarray(picture)
        expected = self.model.predict(path)
        self.assertEqual(len(expected), 5)
        self.assertEqual(self.model.predict(pathlib.Path(path)), expected)
        self.assertEqual(self.model.predict(pathlib.Path(path).read_bytes()), expected)
        # Decoded elsewhere, and at full size: nearly the same pixels.
        for same in (picture, pixels, numpy.dstack([pixels, pixels[:, :, :1]]), pixels[::1], picture.convert("RGBA")):
            self.assertEqual(self.model.predict(same)[0].index, expected[0].index)
        grey = pixels[:, :, 0]
        for same in (grey[:, :, None], numpy.dstack([grey] * 3), PIL.Image.fromarray(grey)):
            self.assertEqual(self.model.predict(same), self.model.predict(grey))
        self.assertEqual(self.model.predict([path, pixels]), [self.model.predict(path), self.model.predict(pixels)])
        self.assertEqual(self.model.predict([]), [])
        self.assertEqual(len(self.model.predict(path, top=1000)), len(self.model.class_names))

    def test_pil_images_are_read_as_files_are(self):
        random = numpy.random.default_rng(1)
        with tempfile.TemporaryDirectory() as folder:
            turned = PIL.Image.fromarray(random.integers(0, 256, (40, 60, 3), dtype=numpy.uint8))
            exif = turned.getexif()
            exif[0x0112] = 6
            turned.save(f"{folder}/turned.jpg", exif=exif, quality=100)
            deep = PIL.Image.fromarray(random.integers(0, 65536, (40, 60), dtype=numpy.uint16))
            deep.save(f"{folder}/deep.png")
            for name in ("turned.jpg", "deep.png"):
                ours, theirs = self.model.prepare(f"{folder}/{name}"), self.model.prepare(PIL.Image.open(f"{folder}/{name}"))
                self.assertLess(numpy.abs(ours - theirs).max(), 0.1, name)
            odd = os.path.join(folder, os.fsdecode(b"odd\xff.png"))
            deep.save(odd)
            self.assertEqual(self.model.predict(odd), self.model.predict(f"{folder}/deep.png"))

    def test_pictures_are_resized_to_the_pixel_as_pillow_does(self):
        random = numpy.random.default_rng(2)
        picture = PIL.Image.fromarray(random.integers(0, 256, (53, 61, 3), dtype=numpy.uint8))
        with tempfile.TemporaryDirectory() as folder:
            picture.save(f"{folder}/it.png")
            picture.save(f"{folder}/it.webp", lossless=True)
            for how in ("bilinear", "bicubic"):
                program("annotate", MODEL, "--out", f"{folder}/{how}.onnx", "--interpolation", how, "--resize", "40",
                        "--mean", "0", "0", "0", "--std", "1", "1", "1")
                model = fewshift.Model(f"{folder}/{how}.onnx")
                self.assertEqual(model.preprocessing["interpolation"], how)
                resized = picture.resize((46, 40), PIL.Image.Resampling[how.upper()]).crop((7, 4, 39, 36))
                for name in ("it.png", "it.webp"):
                    ours = numpy.rint(model.prepare(f"{folder}/{name}")[0] * 255).transpose(1, 2, 0)
                    numpy.testing.assert_array_equal(ours, numpy.asarray(resized))

    def test_names_may_be_given(self):
        names = [f"class {k}" for k in range(len(self.model.class_names))]
        named = fewshift.Model(MODEL, class_names=names)
        self.assertEqual(named.predict(PHOTOS[0])[0].name, f"class {self.model.predict(PHOTOS[0])[0].index}")
        self.assertRaises(ValueError, fewshift.Model, MODEL, class_names=["one"])


class Tensors(unittest.TestCase):
    def test_run_is_the_programs(self):
        model = fewshift.Model(pathlib.Path(MODEL).read_bytes(), threads=2)
        self.assertEqual(model.input_shape, (1, 3, 32, 32))
        x = numpy.random.default_rng(0).standard_normal((3, *model.input_shape[1:]), dtype=numpy.float32)
        with tempfile.TemporaryDirectory() as folder:
            numpy.save(f"{folder}/x.npy", x)
            program("run", MODEL, "--input", f"{folder}/x.npy", "--output", f"{folder}/y.npy")
            expected = numpy.load(f"{folder}/y.npy")
        numpy.testing.assert_allclose(model.run(x), expected, atol=1e-4 * numpy.ptp(expected))
        numpy.testing.assert_allclose(model.run(x.astype(float)[:, :, ::-1][:, :, ::-1]), expected,
                                      atol=1e-4 * numpy.ptp(expected))
        self.assertEqual(model.run(x[:0]).shape, (0, expected.shape[1]))
        self.assertRaises(ValueError, model.run, x[:, :2])
        self.assertRaises(ValueError, model.run, x[0])

    def test_features(self):
        model = fewshift.Model(MODEL)
        features = model.features(PHOTOS)
        self.assertEqual(features.shape[0], len(PHOTOS))
        numpy.testing.assert_array_equal(model.features(PHOTOS[1]), features[1])
        self.assertEqual(model.prepare(PHOTOS).shape, (len(PHOTOS), 3, 32, 32))
        self.assertEqual(model.preprocessing["size"], 32)


class Threads(unittest.TestCase):
    def test_share_a_model_and_python_goes_on(self):
        model = fewshift.Model(MODEL)
        x = model.prepare(PHOTOS * 20)
        expected = model.run(x)
        started, counts, wrong = threading.Event(), [], []

        def call():
            started.set()
            for _ in range(3):
                wrong.append(not numpy.array_equal(model.run(x), expected))

        threads = [threading.Thread(target=call) for _ in range(3)]
        for thread in threads:
            thread.start()
        started.wait()
        while any(thread.is_alive() for thread in threads):
            counts.append(1)  # were the lock held, this would hardly ever get its turn
        for thread in threads:
            thread.join()
        self.assertEqual(wrong, [False] * 9)
        self.assertGreater(len(counts), 100)


class Faults(unittest.TestCase):
    def test_name_what_is_wrong(self):
        with self.assertRaisesRegex(fewshift.Error, "nowhere.onnx"):
            fewshift.Model("nowhere.onnx")
        with self.assertRaisesRegex(fewshift.Error, "no ONNX model"):
            fewshift.Model(b"junk")
        with self.assertRaisesRegex(fewshift.Error, "1000 bytes"):
            fewshift.Model(MODEL, file_bytes=1000)
        model = fewshift.Model(MODEL)
        with self.assertRaisesRegex(fewshift.Error, "nowhere.jpg"):
            model.predict("nowhere.jpg")
        with self.assertRaises(fewshift.Error):
            model.predict(b"\xff\xd8\xff")
        self.assertRaises(TypeError, model.predict, numpy.zeros((4, 4, 3)))
        self.assertRaises(TypeError, model.predict, 5)
        self.assertRaises(ValueError, model.predict, PHOTOS[0], 0)
        self.assertRaises(ValueError, model.predict, PHOTOS[0] + "\0")
        self.assertRaises(ValueError, fewshift.Model, MODEL, threads=0)
        self.assertRaises(TypeError, fewshift.Model, MODEL, class_names="0123456789")

    def test_are_of_the_right_kind_and_say_what_is_wanted(self):
        model = fewshift.Model(MODEL)
        for wrong in (None, 5, [PHOTOS]):
            with self.assertRaisesRegex(TypeError, "^a picture must be a path, bytes, a PIL image or an array of uint8, not "):
                model.predict([wrong] if wrong is None else wrong)
        with self.assertRaisesRegex(TypeError, "^top must be a whole number, not 1.5$"):
            model.predict(PHOTOS[0], top=1.5)
        with self.assertRaisesRegex(ValueError, 'on_error must be "raise" or "return"'):
            model.predict(PHOTOS[0], on_error="ignore")
        with self.assertRaisesRegex(TypeError, "^threads must be a whole number"):
            fewshift.Model(MODEL, threads=1.5)
        with self.assertRaisesRegex(TypeError, "^a model must be the path of an ONNX file or its bytes, not NoneType$"):
            fewshift.Model(None)
        with tempfile.TemporaryDirectory() as folder:
            with self.assertRaisesRegex(fewshift.Error, f"{folder}: is a folder.*fewshift export {folder} --out model.onnx"):
                fewshift.Model(folder)

    def test_of_one_picture_leave_the_others(self):
        model = fewshift.Model(MODEL)
        good = model.predict(PHOTOS[:2])
        with tempfile.TemporaryDirectory() as folder:
            cut = pathlib.Path(folder, "cut.png")
            PIL.Image.fromarray(numpy.zeros((99, 99, 3), numpy.uint8)).save(cut)
            cut.write_bytes(cut.read_bytes()[:80])
            mixed = [PHOTOS[0], "nowhere.jpg", PHOTOS[1], PIL.Image.open(cut)]
            self.addCleanup(mixed[3].close)
            returned = model.predict(mixed, on_error="return")
        with self.assertRaisesRegex(fewshift.PicturesError, r"^2 of 4 pictures .* first \[1\]: .*nowhere.jpg") as caught:
            model.predict(mixed)
        self.assertIsInstance(caught.exception, fewshift.Error)
        for results in (returned, caught.exception.results):
            self.assertEqual([results[0], results[2]], good)
            self.assertRegex(str(results[1]), "nowhere.jpg")
            self.assertIsInstance(results[3], fewshift.Error)
        self.assertIsInstance(model.predict("nowhere.jpg", on_error="return"), fewshift.Error)
        self.assertIsInstance(model.predict(["nowhere.jpg"], on_error="return")[0], fewshift.Error)


class Package(unittest.TestCase):
    def test_the_readmes_program(self):
        readme = (ROOT / "README.md").read_text()
        text = re.search(r"```python\n(# classify\.py\n.*?)```", readme, re.S).group(1)
        got = subprocess.run([sys.executable, "-c", text, MODEL, PHOTOS[0]], check=True, capture_output=True, text=True)
        expected = fewshift.Model(MODEL).predict(PHOTOS[0], top=3)
        self.assertEqual(got.stdout, "".join(f"{c.name} {c.score:.3f}\n" for c in expected))

    def test_is_typed_and_stands_alone(self):
        folder = pathlib.Path(fewshift.__file__).parent
        self.assertTrue((folder / "py.typed").exists() and (folder / "_fewshift.pyi").exists())
        self.assertEqual(fewshift.__version__, fewshift.version())
        maps = pathlib.Path("/proc/self/maps").read_text()
        for library in ("libturbojpeg", "libpng", "libwebp"):  # those that came with it
            self.assertRegex(maps, rf"fewshift\.libs/{library}")
        self.assertNotIn("libtorch", maps)
        self.assertNotIn("torch", sys.modules)

    @unittest.skipUnless(importlib.util.find_spec("mypy"), "mypy is not there")
    def test_mypy_knows_the_types(self):
        text = """
import pathlib
from typing import Union
import numpy
import fewshift
model = fewshift.Model(pathlib.Path("a.onnx"))
one: list[fewshift.Class] = model.predict("a.jpg", top=3)
pixels: list[fewshift.Class] = model.predict(numpy.zeros((4, 4, 3), numpy.uint8))
many: list[list[fewshift.Class]] = model.predict(["a.jpg", "b.jpg"])
paths: list[list[fewshift.Class]] = model.predict(sorted(pathlib.Path(".").glob("*.jpg")))
errors: list[Union[list[fewshift.Class], fewshift.Error]] = model.predict(["a.jpg", b""], on_error="return")
reveal_type(model.predict("a.jpg")[0].score)
reveal_type(model.predict(["a.jpg"])[0][0].name)
reveal_type(model.class_names)
model.predict(None)
model.predict("a.jpg", top=1.5)
"""
        with tempfile.TemporaryDirectory() as folder:
            file = pathlib.Path(folder, "program.py")
            file.write_text(text)
            said = subprocess.run([sys.executable, "-m", "mypy", "--strict", "--cache-dir", folder, str(file)],
                                  capture_output=True, text=True).stdout
        self.assertEqual(re.findall(r'Revealed type is "(.*?)"', said.replace("builtins.", "")),
                         ["float", "str", "list[str]"], said)
        self.assertEqual(re.findall(r":(\d+): error", said), ["15", "16"], said)


unittest.main(verbosity=2)
