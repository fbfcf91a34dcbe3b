"""What `train --tensorboard` writes, read back with TensorBoard's own package.
usage: tensorboard_test.py FEWSHIFT PICTURES"""
import json
import pathlib
import subprocess
import sys
import tempfile

try:
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
except ImportError:
    print("tensorboard is not there")
    sys.exit(77)

program, pictures = sys.argv[1:]
with tempfile.TemporaryDirectory() as folder:
    board, run = f"{folder}/board", f"{folder}/run"
    train = [program, "train", "--model", "fenet_0.5", "--size", "32", "--data", pictures, "--epochs", "2",
             "--batch", "32", "--out", run, "--tensorboard", board]
    subprocess.run(train, check=True, capture_output=True)
    metrics = [json.loads(line) for line in pathlib.Path(run, "metrics.jsonl").read_text().splitlines()]
    events = EventAccumulator(board)
    events.Reload()
    names = {"train/loss": "train_loss", "train/top1": "train_top1", "train/learning_rate": "learning_rate",
             "train/images_per_s": "images_per_s", "val/loss": "val_loss", "val/top1": "val_top1",
             "shift/sparsity": "shift_sparsity"}
    assert sorted(events.Tags()["scalars"]) == sorted(names), events.Tags()["scalars"]
    for tag, field in names.items():
        scalars = events.Scalars(tag)
        assert [s.step for s in scalars] == [1, 2], (tag, scalars)
        for scalar, line in zip(scalars, metrics):
            assert abs(scalar.value - line[field]) <= 1e-6 * max(1, abs(line[field])), (tag, scalar, line)
print(f"TensorBoard reads {len(names)} curves")
