"""Makes a stand-in for ImageNet out of a small image folder: as many pictures, most of them the same files.

  imagenet_size.py FROM OUT [PICTURES]     FROM: folder with train/CLASS/*.jpg and val/; PICTURES: 1281167

OUT/folders: 1,000 class folders of hard links. OUT/shards: hard links of the shards in FROM-shards (`fewshift data pack`),
made beside OUT if they are missing. SPDX-License-Identifier: Apache-2.0
"""
import argparse
import os
import pathlib


def folders(source, out, pictures, classes=1000):
    names = [p for p in sorted((source / "train").glob("*/*")) if p.suffix.lower() in (".jpg", ".jpeg", ".png")]
    made = 0
    for c in range(classes):
        for part, number in ("train", pictures * (c + 1) // classes - pictures * c // classes), ("val", 1):
            folder = out / part / f"n{c:08}"
            folder.mkdir(parents=True)
            for k in range(number):
                os.link(names[(made * 7919 + c) % len(names)], folder / f"n{c:08}_{k}.JPEG")
                made += 1


def shards(source, out, pictures):
    out.mkdir(parents=True)
    tars = sorted(source.glob("train-*.tar"))
    here = sum(1 for _ in (source / "train-names.txt").open()) if (source / "train-names.txt").exists() else 9469
    for k in range(-(-pictures // here)):
        for tar in tars:
            os.link(tar, out / f"train-{k:06}-{tar.name[6:]}")
    os.link(next(source.glob("val-*.tar")), out / "val-000000.tar")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("source", metavar="FROM", type=pathlib.Path)
    parser.add_argument("out", metavar="OUT", type=pathlib.Path)
    parser.add_argument("pictures", metavar="PICTURES", type=int, nargs="?", default=1281167)
    o = parser.parse_args()
    folders(o.source, o.out / "folders", o.pictures)
    shards(o.source.with_name(o.source.name + "-shards"), o.out / "shards", o.pictures)
