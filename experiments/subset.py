#!/usr/bin/env python3
"""Deals the pictures of a folder of class folders into parts, class by class, in an order that a hash of the
seed and each name gives: subsets that can be made again anywhere.

usage: subset.py FOLDER OUT --parts train=70 val=10 test=20 [--most 60] [--least 2] [--skip CLASS...] [--seed 1]

Parts are in per cent of a class, or of its first --most pictures. Pictures are linked, not copied.
"""
import argparse
import hashlib
import os
import pathlib

parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
parser.add_argument("folder", type=pathlib.Path)
parser.add_argument("out", type=pathlib.Path)
parser.add_argument("--parts", nargs="+", required=True)
parser.add_argument("--most", type=int, default=1 << 30)
parser.add_argument("--least", type=int, default=2)
parser.add_argument("--skip", nargs="*", default=[])
parser.add_argument("--seed", default="1")
options = parser.parse_args()
shares = [(name, float(share) / 100) for name, share in (part.split("=") for part in options.parts)]
counts = {}
for folder in sorted(path for path in options.folder.iterdir() if path.is_dir()):
    names = [path.name for path in folder.iterdir() if path.suffix.lower() in (".jpg", ".jpeg", ".png")]
    if folder.name in options.skip or len(names) < options.least:
        continue
    names.sort(key=lambda name: hashlib.sha256(f"{options.seed}/{folder.name}/{name}".encode()).digest())
    names = names[: options.most]
    begin, share_before = 0, 0.0
    for part, share in shares:
        share_before += share
        end = round(share_before * len(names))
        target = options.out / part / folder.name
        target.mkdir(parents=True, exist_ok=True)
        for name in names[begin:end]:
            os.link(folder / name, target / name)
        counts[part] = counts.get(part, 0) + end - begin
        begin = end
print(", ".join(f"{part} {count}" for part, count in counts.items()))
