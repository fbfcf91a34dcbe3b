# %% [markdown]
# # fewshift from Python: a tour
#
# Cells are separated by `# %%`: editors that know notebooks run them one by one; `python tour.py RUN PHOTOS` runs them all.
# RUN is what `fewshift train` wrote, PHOTOS a folder with a folder of pictures for each class. The first half needs
# `pip install .` alone, the second PyTorch too, its last cell also `pip install onnx`, which PyTorch's export wants.

# %%
import pathlib
import subprocess
import sys
import tempfile

import numpy

import fewshift

run, photos = pathlib.Path(sys.argv[1]), pathlib.Path(sys.argv[2])
program = sys.argv[3] if len(sys.argv) > 3 else "fewshift"
work = pathlib.Path(tempfile.mkdtemp())

# %% [markdown]
# ## One file, and what is in pictures
# An exported network carries its class names and its preprocessing.

# %%
subprocess.run([program, "export", run, "--out", work / "model.onnx"], check=True, stdout=subprocess.DEVNULL)
model = fewshift.Model(work / "model.onnx")
print(model, model.preprocessing)

files = sorted(photos.glob("*/*.jpg"))[::10]
for file, classes in zip(files[:3], model.predict(files[:3], top=2)):
    print(file.name, [f"{c.name} {c.score:.0%}" for c in classes])

# %% [markdown]
# ## What is alike
# The pooled features before the classifier say what the network sees; the nearest neighbours of a picture look alike to it.

# %%
features = model.features(files)
features /= numpy.linalg.norm(features, axis=1, keepdims=True)
alike = features @ features.T
numpy.fill_diagonal(alike, -1)
same = [files[k].parent == files[alike[k].argmax()].parent for k in range(len(files))]
print(f"the nearest of {len(files)} pictures is of the same class: {numpy.mean(same):.0%}")

# %% [markdown]
# ## Tensors
# `prepare` is the preprocessing, `run` the network, of whatever batch.

# %%
x = model.prepare(files[:8])
logits = model.run(x)
assert (logits.argmax(1) == [c[0].index for c in model.predict(files[:8])]).all()

# %% [markdown]
# ## The same network in PyTorch
# `fewshift.torch.load` reads the run itself: to look into it, to change it, to train it on.

# %%
import torch
from torch import nn

import fewshift.torch as shift

network = shift.load(run)
with torch.no_grad():
    theirs = network(torch.from_numpy(x)).numpy()
assert numpy.abs(theirs - logits).max() < 1e-3 * numpy.ptp(logits)
print(f"{run.name}: {shift.shift_sparsity(network):.0%} of the channels stay where they are")

# %% [markdown]
# ## Shift layers in a network of one's own
# Pointwise convolutions mix the channels, `SparseShift2d` moves them; the penalty pulls displacements to zero, at a learning
# rate of their own.

# %%
torch.manual_seed(0)
names = sorted({file.parent.name for file in files})
labels = torch.tensor([names.index(file.parent.name) for file in files])
images = torch.from_numpy(model.prepare(files))


def unit(inputs, outputs, stride):
    return nn.Sequential(nn.Conv2d(inputs, 4 * inputs, 1, bias=False), nn.BatchNorm2d(4 * inputs), nn.ReLU(),
                         shift.SparseShift2d(4 * inputs, stride), nn.Conv2d(4 * inputs, outputs, 1))


own = nn.Sequential(unit(3, 16, 2), unit(16, 32, 2), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(32, len(names)))
optimiser = torch.optim.SGD(shift.parameter_groups(own, lr=0.05, weight_decay=1e-4), momentum=0.9)
losses = []
for step in range(30):
    optimiser.zero_grad()
    loss = nn.functional.cross_entropy(own(images), labels)
    (loss + 1e-3 * shift.shift_penalty(own)).backward()
    optimiser.step()
    losses.append(loss.item())
print(f"loss {losses[0]:.2f} to {losses[-1]:.2f}, {shift.shift_sparsity(own):.0%} unshifted, operators in {shift.backend()}")
assert losses[-1] < losses[0]

# %% [markdown]
# ## And back into one file
# With its shifts as depthwise convolutions of a single 1 it runs anywhere; fewshift sees the shifts in them.

# %%
torch.onnx.export(shift.as_convolutions(own.eval()), (images[:1],), work / "own.onnx", dynamo=False, opset_version=13,
                  dynamic_axes={"image": {0: "batch"}}, input_names=["image"], output_names=["logits"])
mine = fewshift.Model(work / "own.onnx", class_names=names)
with torch.no_grad():
    assert numpy.abs(mine.run(images.numpy()) - own(images).numpy()).max() < 1e-4
print(mine, mine.predict(files[0], top=1)[0])
