"""Training steps in PyTorch: the network as fewshift.torch has it, its shifts done by our operator, float32, channels_last.

usage: peer_torch.py BUILD MODEL BATCH SIZE THREADS eager|compile. Says "ready" with what it is as JSON; then for each line
"run K" it makes K steps and prints the median seconds of one. What compiling takes lies before "ready"."""
import json
import os
import pathlib
import statistics
import subprocess
import sys
import tempfile
import time

import torch
import torch.nn.functional as F
from torch import nn

sys.dont_write_bytecode = True  # the sources stay free of caches
sys.path.insert(0, str(pathlib.Path(__file__).parents[2] / "tests"))
from step_file import part, read_step

WARM_UP = 3  # steps, as ours
COMPARED = 5  # classes, of the step that is compared


def loss_apart(build, model, size, twin):
    """How far the twin's loss is from that of the same step of ours, as a share of it."""
    with tempfile.TemporaryDirectory() as folder:
        file = pathlib.Path(folder) / "step.safetensors"
        subprocess.run([f"{build}/tests/gradients", model, "ssl", str(size), "float32", str(file)], check=True)
        ours = read_step(file)
    parameters = part(ours, "parameter")
    if set(parameters) != {name for name, _ in twin.named_parameters()}:
        raise SystemExit(f"peer_torch: the twin of {model} has other parameters")
    twin.load_state_dict(parameters, strict=False)
    with torch.no_grad():
        loss = F.cross_entropy(twin(ours["input"].contiguous(memory_format=torch.channels_last)), ours["labels"])
    return abs(loss / ours["loss"] - 1).item()


def make_step(net, classes, batch, size, mode):
    x = torch.randn(batch, 3, size, size).contiguous(memory_format=torch.channels_last)
    labels = torch.randint(classes, (batch,))
    optimiser = torch.optim.SGD(net.parameters(), 0.01, momentum=0.9, nesterov=True, fused=True)

    def loss_of(x, labels):
        logits = net(x)
        return F.cross_entropy(logits, labels), logits

    if mode == "compile":
        loss_of = torch.compile(loss_of, options={"fallback_random": True})  # the dropout of eager, so its loss too

    def step():
        optimiser.zero_grad()
        loss, logits = loss_of(x, labels)
        loss.backward()
        optimiser.step()
        return loss.item(), list(logits.shape)

    return step


def start(build, model, batch, size, threads, mode):
    torch.set_num_threads(threads)
    os.environ["FEWSHIFT_TORCH_LIBRARY"] = f"{build}/libfewshift_torch.so"
    from fewshift.torch import create_model, displacements

    torch.manual_seed(0)
    net = create_model(model).to(memory_format=torch.channels_last)
    classes, dropout = net.classifier.linear.out_features, net.classifier.dropout.p
    net.classifier.linear = nn.Linear(net.classifier.linear.in_features, COMPARED)
    net.classifier.dropout.p = 0
    moves = list(displacements(net).values())
    starts = [move.detach().clone() for move in moves]
    apart = loss_apart(build, model, size, net)
    net.classifier.linear = nn.Linear(net.classifier.linear.in_features, classes)
    net.classifier.dropout.p = dropout
    with torch.no_grad():
        for move, begin in zip(moves, starts):
            move.copy_(begin)
    learned = {id(move) for move in moves}
    step = make_step(net, classes, batch, size, mode)
    began = time.perf_counter()
    loss, shape = step()
    first = time.perf_counter() - began
    for _ in range(WARM_UP - 1):
        step()
    return step, {"params": sum(p.numel() for p in net.parameters() if id(p) not in learned),
                  "logits": shape, "classes": classes, "loss": loss, "loss_apart": apart, "first_step_s": first}


def main():
    build, model, batch, size, threads, mode = sys.argv[1:7]
    step, about = start(build, model, int(batch), int(size), int(threads), mode)
    with open("/proc/self/clear_refs", "w") as clear:
        clear.write("5")  # the peak of memory begins anew: compiling is not counted
    print("ready", json.dumps(about), flush=True)
    for line in sys.stdin:
        seconds = []
        for _ in range(int(line.split()[1])):
            begin = time.perf_counter()
            step()
            seconds.append(time.perf_counter() - begin)
        with open("/proc/self/status") as status:
            memory = next(int(l.split()[1]) for l in status if l.startswith("VmHWM"))
        print(json.dumps({"seconds": statistics.median(seconds), "memory_mb": memory / 1024}), flush=True)


main()
