"""PyTorch's DataLoader on an image folder, with torchvision-like transforms on Pillow: random resized crop, flip, normalise.

  peer_torch.py DIR SIZE WORKERS BATCH PICTURES SCALE_MIN       prints images/s, after one warm-up batch a worker

SPDX-License-Identifier: Apache-2.0
"""
import math
import pathlib
import random
import sys
import time

import numpy
import torch
from PIL import Image

MEAN = numpy.array([0.485, 0.456, 0.406], numpy.float32)
STD = numpy.array([0.229, 0.224, 0.225], numpy.float32)


def random_box(width, height, scale_min):
    """As torchvision.transforms.RandomResizedCrop.get_params."""
    for _ in range(10):
        area = width * height * random.uniform(scale_min, 1)
        aspect = math.exp(random.uniform(math.log(3 / 4), math.log(4 / 3)))
        w, h = round(math.sqrt(area * aspect)), round(math.sqrt(area / aspect))
        if 0 < w <= width and 0 < h <= height:
            left, top = random.randint(0, width - w), random.randint(0, height - h)
            return left, top, left + w, top + h
    side = min(width, height)
    left, top = (width - side) // 2, (height - side) // 2
    return left, top, left + side, top + side


class Pictures(torch.utils.data.Dataset):
    def __init__(self, folder, size, scale_min):
        root = pathlib.Path(folder) / "train"
        classes = sorted(p.name for p in root.iterdir())
        self.files = [(str(f), k) for k, name in enumerate(classes) for f in sorted((root / name).iterdir())]
        self.size, self.scale_min = size, scale_min

    def __len__(self):
        return len(self.files)

    def __getitem__(self, k):
        path, label = self.files[k]
        with Image.open(path) as image:
            image = image.convert("RGB")
        image = image.crop(random_box(*image.size, self.scale_min)).resize((self.size, self.size), Image.BILINEAR)
        if random.random() < 0.5:
            image = image.transpose(Image.FLIP_LEFT_RIGHT)
        pixels = torch.from_numpy(numpy.asarray(image).copy()).permute(2, 0, 1).contiguous().float().div_(255)
        return (pixels - torch.from_numpy(MEAN)[:, None, None]) / torch.from_numpy(STD)[:, None, None], label


def main():
    folder, size, workers, batch, pictures, scale_min = sys.argv[1], *map(int, sys.argv[2:6]), float(sys.argv[6])
    torch.set_num_threads(1)
    loader = torch.utils.data.DataLoader(Pictures(folder, size, scale_min), batch_size=batch, shuffle=True, num_workers=workers,
                                         persistent_workers=workers > 0)
    seen, began = -workers * batch, None
    while seen < pictures:
        for images, _ in loader:
            seen += len(images)
            if began is None and seen >= 0:
                began, seen = time.perf_counter(), 0
    print(seen / (time.perf_counter() - began))


if __name__ == "__main__":
    main()
