"""Training steps, ours and PyTorch's side by side: all make steps of one network in a process of their own and take turns.
PyTorch's networks are first held to ours: parameters, shape of the logits and loss. usage: bench.py BUILD OUT.json
[MODEL...]; see scripts/bench."""
import argparse
import json
import os
import statistics
import subprocess
import sys

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path.insert(0, os.path.dirname(HERE))
sys.dont_write_bytecode = True  # the sources stay free of caches
from process import Process, last_line

MODELS = ["shiftresnet20_e6", "fenet_cifar_0.5", "fenet_0.5"]
CONTENDERS = ["fused", "auto", "bf16", "plain", "eager", "compile"]
OURS = {"fused": [], "auto": ["--hidden", "auto"], "bf16": ["--precision", "bf16"], "plain": ["--fused", "off"]}  # options of bench --train


class Ours:
    """A process a turn; the steps before those measured are its own."""

    def __init__(self, name, case, build):
        self.command = [f"{build}/fewshift", "bench", "--train", case["model"], "--json"]
        self.command += [f for option in ("batch", "size", "threads") for f in (f"--{option}", str(case[option]))]
        self.command += OURS[name]
        self.about = {}

    def take_turn(self, steps):
        result = subprocess.run(self.command + ["--steps", str(steps)], capture_output=True, text=True)
        if result.returncode:
            raise RuntimeError(last_line(result.stderr))
        answer = json.loads(result.stdout)
        return answer["images_per_s"], answer["peak_memory_mb"]

    def close(self):
        pass


class Torch(Process):
    """A process that stays, so that a network is compiled once."""

    def __init__(self, name, case, build):
        self.batch = case["batch"]
        arguments = [str(case[key]) for key in ("model", "batch", "size", "threads")]
        super().__init__([sys.executable, f"{HERE}/peer_torch.py", build, *arguments, name])

    def take_turn(self, steps):
        answer = self.ask(steps)
        return self.batch / answer["seconds"], answer["memory_mb"]


def check(contenders, case, params):
    """The networks of PyTorch are the one of ours."""
    losses = set()
    for name in CONTENDERS:
        about = contenders[name].about if name in contenders else {}
        if not about:
            continue
        what = f"{case['model']}, {name}"
        assert about["params"] == params, f"{what}: {about['params']} parameters, ours {params}"
        assert about["logits"] == [case["batch"], about["classes"]], f"{what}: logits {about['logits']}"
        assert about["loss_apart"] < 1e-4, f"{what}: the loss of a step is {about['loss_apart']:.2g} of it from ours"
        losses.add(about["loss"])
    assert not losses or max(losses) - min(losses) < 1e-3, f"{case['model']}: eager and compile differ: {losses}"


def measure(case, params, options):
    contenders, rows = {}, {}

    def lose(name, error):
        print(f"bench: {case['model']}, {name}: {error}", file=sys.stderr, flush=True)
        contenders.pop(name, None)
        rows.pop(name, None)

    for name in options.contenders:
        try:
            contenders[name] = (Ours if name in OURS else Torch)(name, case, options.build)
            rows[name] = {**case, "contender": name, "images_per_s": [], **contenders[name].about}
        except RuntimeError as error:
            lose(name, error)
    check(contenders, case, params)
    for turn in range(options.rounds):
        for name, contender in list(contenders.items())[:: -1 if turn % 2 else 1]:  # after whom one comes matters
            try:
                speed, rows[name]["memory_mb"] = contender.take_turn(options.steps)
                rows[name]["images_per_s"].append(speed)
            except RuntimeError as error:
                lose(name, error)
    for contender in contenders.values():
        contender.close()
    for row in rows.values():
        row["median_images_per_s"] = statistics.median(row["images_per_s"])
    return rows


def print_row(case, rows):
    def speed(name):
        if name not in rows:
            return "-"
        all_rounds = rows[name]["images_per_s"]
        return f"{rows[name]['median_images_per_s']:.1f} ({min(all_rounds):.1f} to {max(all_rounds):.1f})"

    def ratio(name):
        if name not in rows or "fused" not in rows:
            return "-"
        return f"{rows['fused']['median_images_per_s'] / rows[name]['median_images_per_s']:.2f}"

    memory = " ".join(f"{rows[name]['memory_mb']:5.0f}" if name in rows else "    -" for name in CONTENDERS)
    print(f"{case['model']:18}{case['size']:5}{case['batch']:7}{case['threads']:9}"
          + "".join(f"{speed(name):>26}" for name in CONTENDERS)
          + "".join(f"{ratio(name):>9}" for name in CONTENDERS[1:]) + "   " + memory, flush=True)


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("build")
    parser.add_argument("out")
    parser.add_argument("models", nargs="*", default=MODELS)
    parser.add_argument("--contenders", nargs="+", choices=CONTENDERS, default=CONTENDERS)
    parser.add_argument("--threads", type=int, nargs="+", default=[2])
    parser.add_argument("--batch", type=int, help="pictures a step (64, and 32 for networks of 224 px)")
    parser.add_argument("--size", type=int, help="px (32, and 128 for networks of 224 px)")
    parser.add_argument("--rounds", type=int, default=5, help="turns of each")
    parser.add_argument("--steps", type=int, default=10, help="steps a turn")
    options = parser.parse_args()
    listed = subprocess.run([f"{options.build}/fewshift", "models", "--json"], check=True, capture_output=True).stdout
    known = {entry["name"]: entry for entry in json.loads(listed)}
    unknown = [model for model in options.models if model not in known]
    if unknown:
        raise SystemExit(f"bench: no network is called {unknown[0]}; fewshift models lists them")
    print("images/s, median (min to max) of the rounds; fused over the others; peak memory, MB, in the same order")
    print(f"{'model':18}{'px':>5}{'batch':>7}{'threads':>9}" + "".join(f"{name:>26}" for name in CONTENDERS)
          + "".join(f"{'/' + name:>9}" for name in CONTENDERS[1:]) + "   MB", flush=True)
    rows = []
    for model in options.models:
        small = known[model]["input"][1] <= 32
        for threads in options.threads:
            case = {"model": model, "size": options.size or (32 if small else 128),
                    "batch": options.batch or (64 if small else 32), "threads": threads}
            new = measure(case, known[model]["params"], options)
            print_row(case, new)
            rows += new.values()
            with open(options.out, "w") as out:
                json.dump(rows, out, indent=1)


main()
