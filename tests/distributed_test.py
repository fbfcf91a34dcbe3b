"""Several processes that train together: they do what one does, and end in good order whatever happens to one of them.

  distributed_test.py WORKER FEWSHIFT SAMPLE     WORKER: distributed_worker; SAMPLE: a folder of labelled pictures

SPDX-License-Identifier: Apache-2.0
"""
import json
import os
import pathlib
import random
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
import unittest

WORKER, FEWSHIFT, SAMPLE = sys.argv[1:4]
RECIPE = ["run.model=shiftresnet20_e3", "run.size=32", "run.seed=3", "run.threads=1", "train.batch=24",
          "train.learning_rate=0.02", "train.epochs=6", "data.workers=1", "data.val_share=0"]


def free_port():
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        return s.getsockname()[1]


def environment(rank, size, port, address="127.0.0.1"):
    return {**os.environ, "RANK": str(rank), "WORLD_SIZE": str(size), "LOCAL_RANK": str(rank), "LOCAL_WORLD_SIZE": str(size),
            "MASTER_ADDR": address, "MASTER_PORT": str(port), "OMP_NUM_THREADS": "1", "OMP_WAIT_POLICY": "passive"}


class Launch:
    """Processes with their output in files."""

    def __init__(self, folder, commands, environments):
        self.logs = [folder / f"log{time.monotonic_ns()}_{k}" for k in range(len(commands))]
        self.processes = []
        for command, env, log in zip(commands, environments, self.logs):
            with open(log, "wb") as out:
                self.processes.append(subprocess.Popen(command, env=env, stdout=out, stderr=out))

    def wait(self, timeout=300):
        end = time.monotonic() + timeout
        try:
            return [p.wait(max(0.1, end - time.monotonic())) for p in self.processes]
        finally:
            for p in self.processes:
                if p.poll() is None:
                    p.kill()
                    p.wait()

    def output(self):
        return "".join(log.read_text() for log in self.logs)


class Distributed(unittest.TestCase):
    def setUp(self):
        self.folder = pathlib.Path(tempfile.mkdtemp(prefix="fewshift_distributed_"))
        self.addCleanup(shutil.rmtree, self.folder, ignore_errors=True)
        self.data = self.folder / "data"
        for part, number in ("train", 51), ("val", 7):
            for name in sorted(os.listdir(f"{SAMPLE}/train"))[:4]:
                (self.data / part / name).mkdir(parents=True)
                pictures = sorted(os.listdir(f"{SAMPLE}/train/{name}"))
                for k in range(number):
                    source = pictures[(k if part == "train" else -1 - k) % len(pictures)]
                    shutil.copy(f"{SAMPLE}/train/{name}/{source}", self.data / part / name / f"{k:03}.jpg")

    def workers(self, run, size, *fields, resume=False, timeout=45, prefix=lambda rank: []):
        port = free_port()
        commands = [prefix(rank) + [WORKER, str(self.folder / run), str(self.folder / f"{run}.{size}.{rank}"), str(int(resume)),
                    str(timeout), f"run.data={self.data}", *RECIPE, *fields] for rank in range(size)]
        return Launch(self.folder, commands, [environment(rank, size, port) for rank in range(size)])

    def steps(self, run, size, rank=0):
        lines = (self.folder / f"{run}.{size}.{rank}").read_text().split("\n")[:-1]
        return [(int(e), int(s), float(loss), [int(p) for p in pictures]) for e, s, loss, *pictures in map(str.split, lines)]

    def wait_for_steps(self, run, size, steps):
        path = self.folder / f"{run}.{size}.0"
        for _ in range(6000):
            if path.exists() and path.read_text().count("\n") >= steps:
                return
            time.sleep(0.01)
        self.fail("no steps")

    def one_line(self, launch):
        lines = [line for line in launch.output().split("\n") if "another process" in line]
        self.assertEqual(len(lines), 1, launch.output())
        self.assertRegex(lines[0], r"^process \d of \d: another process .*; the last checkpoint is kept, --resume continues$")

    def test_what_they_say_arrives(self):
        for size in 2, 3, 5, 8:
            port = free_port()
            launch = Launch(self.folder, [[WORKER, "60"]] * size, [environment(rank, size, port) for rank in range(size)])
            self.assertEqual(launch.wait(), [0] * size, launch.output())

    def test_who_does_not_come_is_missed(self):
        port = free_port()
        began = time.monotonic()
        launch = Launch(self.folder, [[WORKER, "3"]] * 2, [environment(rank, 4, port) for rank in (0, 3)])
        self.assertEqual(launch.wait(60), [1, 1])
        self.assertLess(time.monotonic() - began, 30)
        self.assertIn("2 of the 4 processes did not come here within --timeout", launch.output())
        began = time.monotonic()
        launch = Launch(self.folder, [[WORKER, "4"]], [environment(1, 2, free_port())])
        self.assertEqual(launch.wait(60), [1])
        self.assertLess(time.monotonic() - began, 12)
        self.assertIn("process 0 is not there", launch.output())
        launch = Launch(self.folder, [[WORKER, "3"]], [environment(0, 2, port, "no.such.machine.invalid")])
        self.assertEqual(launch.wait(60), [1])
        self.assertEqual(launch.output(), "MASTER_ADDR: there is no machine of the name no.such.machine.invalid\n")

    def test_a_program_that_only_listens_is_not_process_0(self):
        with socket.socket() as s:
            s.bind(("127.0.0.1", 0))
            s.listen()
            began = time.monotonic()
            launch = Launch(self.folder, [[WORKER, "3"]], [environment(1, 2, s.getsockname()[1])])
            self.assertEqual(launch.wait(60), [1])
            self.assertLess(time.monotonic() - began, 20)
            self.assertIn("what answers there is not process 0", launch.output())

    def test_two_launches_on_a_machine_keep_apart(self):
        def start(name):
            plain = {k: v for k, v in os.environ.items()}
            return Launch(self.folder, [[WORKER, "60"]] * 3, [
                {**plain, "OMPI_COMM_WORLD_RANK": str(k), "OMPI_COMM_WORLD_SIZE": "3", "OMPI_COMM_WORLD_LOCAL_RANK": str(k),
                 "OMPI_COMM_WORLD_LOCAL_SIZE": "3", "PMIX_NAMESPACE": name} for k in range(3)])

        launches = [start("1"), start("2")]
        for launch in launches:
            self.assertEqual(launch.wait(), [0] * 3, launch.output())

    def curve(self, size, name, *fields):
        launch = self.workers(f"{name}{size}", size, *fields)
        self.assertEqual(launch.wait(), [0] * size, launch.output())
        steps = [self.steps(f"{name}{size}", size, rank) for rank in range(size)]
        for epoch in range(1, 7):
            seen = [p for rank in steps for step in rank if step[0] == epoch for p in step[3]]
            self.assertEqual(sorted(seen), list(range(204)))
        self.assertEqual(len(steps[0]), 54)
        return [step[2] for step in steps[0]]

    def test_loss_curves_are_those_of_one_process(self):
        # 204 pictures make 9 steps of 22 or 23, unevenly shared; 6 epochs. Training multiplies rounding errors: at a usual
        # learning rate one process with other roundings (plain operators in the place of fused ones) shows by how much, at
        # a small one there is little of it.
        def apart(one, other):
            return [max(abs(a - b) / a for a, b in zip(one[k:k + 9], other[k:k + 9])) for k in range(0, 54, 9)]

        for rate, fields in ("0.0001", []), ("0.02", []), ("0.02", ["train.label_smoothing=0.1", "train.class_weights=balanced"]):
            fields = [*fields, f"train.learning_rate={rate}"]
            one = self.curve(1, "curve", *fields)
            noise = apart(one, self.curve(1, "other", "train.fused=off", *fields))
            for size in 2, 4:
                differences = apart(one, self.curve(size, "curve", *fields))
                print(f"rate {rate}, {size} processes:", *(f"{x:.0e}" for x in differences), " one:", *(f"{x:.0e}" for x in noise))
                for found, usual in zip(differences, noise):
                    self.assertLess(found, 2e-5 if rate == "0.0001" else 1e-5 + 20 * usual)
            for name in os.listdir(self.folder):
                if name.startswith(("curve", "other")):
                    path = self.folder / name
                    shutil.rmtree(path) if path.is_dir() else path.unlink()

    def test_a_run_goes_on_with_another_number_of_processes_inside_an_epoch(self):
        launch = self.workers("run", 3)
        self.wait_for_steps("run", 3, 13)
        launch.processes[1].send_signal(signal.SIGTERM)  # one is asked: all save
        self.assertEqual(launch.wait(), [0] * 3, launch.output())
        self.assertIn("interrupted in epoch", launch.output())
        last = self.steps("run", 3)[-1]
        self.assertLess(last[1], 9)
        launch = self.workers("run", 2, resume=True)
        self.assertEqual(launch.wait(), [0] * 2, launch.output())
        both = [step for size in (3, 2) for rank in range(size) for step in self.steps("run", size, rank)]
        for epoch in range(1, 7):
            self.assertEqual(sorted(p for step in both if step[0] == epoch for p in step[3]), list(range(204)))
        self.assertEqual([json.loads(line)["epoch"] for line in (self.folder / "run" / "metrics.jsonl").read_text().splitlines()], [1, 2, 3, 4, 5, 6])

    def test_a_process_that_dies_ends_all(self):
        for rank in 0, 2:
            run = f"killed{rank}"
            launch = self.workers(run, 3)
            self.wait_for_steps(run, 3, 12)
            launch.processes[rank].kill()
            began = time.monotonic()
            self.assertEqual(sorted(launch.wait(60)), [-9, 1, 1], launch.output())
            self.assertLess(time.monotonic() - began, 30)
            self.one_line(launch)
        launch = self.workers("killed2", 1, resume=True)
        self.assertEqual(launch.wait(), [0], launch.output())
        self.assertIn("resumed at epoch", launch.output())

    def test_a_process_that_hangs_ends_all(self):
        launch = self.workers("run", 3, timeout=4)
        self.wait_for_steps("run", 3, 4)
        launch.processes[1].send_signal(signal.SIGSTOP)
        began = time.monotonic()
        codes = [launch.processes[k].wait(60) for k in (0, 2)]
        self.assertEqual(codes, [1, 1])
        self.assertLess(time.monotonic() - began, 30)
        launch.processes[1].kill()
        launch.wait()
        self.one_line(launch)

    def test_what_one_refuses_ends_all_with_its_line(self):
        (self.folder / "run").mkdir()
        (self.folder / "run" / "config.toml").write_text("")
        launch = self.workers("run", 3)
        self.assertEqual(launch.wait(60), [1] * 3)
        self.assertEqual(launch.output().count("\n"), 1, launch.output())
        self.assertIn("holds a run already", launch.output())
        launch = self.workers("new", 3, "train.batch=2")
        self.assertEqual(launch.wait(60), [1] * 3)
        self.assertIn("--batch 2: has fewer pictures than there are processes, 3", launch.output())

    def test_other_pictures_of_the_same_labels_are_refused(self):
        other = self.folder / "other"
        shutil.copytree(self.data, other)
        first = min((other / "train").glob("*/*"))
        first.rename(first.with_name("aaa.jpg"))
        elsewhere = ["unshare", "-m", "sh", "-c", f'mount --bind {other} {self.data} && exec "$@"', "sh"]
        if subprocess.run([*elsewhere, "true"], capture_output=True).returncode != 0:
            self.skipTest("nothing can be mounted here")
        launch = self.workers("run", 2, prefix=lambda rank: elsewhere if rank == 1 else [])
        self.assertEqual(launch.wait(60), [1] * 2)
        self.assertIn("sees other pictures", launch.output())

    def test_statistics_of_each_process_alone_are_averaged(self):
        launch = self.workers("run", 2, "train.sync_norm=epoch", "train.epochs=2")
        self.assertEqual(launch.wait(), [0] * 2, launch.output())
        self.assertEqual((self.folder / "run" / "metrics.jsonl").read_text().count("\n"), 2)

    def test_torchrun_restarts_what_was_killed(self):
        torchrun = pathlib.Path(sys.executable).parent / "torchrun"
        command = [str(torchrun), "--standalone", "--no-python", "--nproc-per-node", "2", "--max-restarts", "9", FEWSHIFT, "train",
                   "--model", "shiftresnet20_e3", "--data", str(self.data), "--size", "32", "--epochs", "5", "--batch", "24",
                   "--seed", "3", "--threads", "1"]
        env = {k: v for k, v in os.environ.items()}
        env.update(OMP_NUM_THREADS="1", OMP_WAIT_POLICY="passive")
        whole = Launch(self.folder, [command + ["--out", str(self.folder / "whole")]], [env])
        self.assertEqual(whole.wait(), [0], whole.output())
        out = self.folder / "killed"
        launch = Launch(self.folder, [command + ["--out", str(out)]], [env])
        chance = random.Random(7)
        for lines in 1, 3:
            for _ in range(6000):
                if (out / "metrics.jsonl").exists() and (out / "metrics.jsonl").read_text().count("\n") >= lines:
                    break
                time.sleep(0.01)
            time.sleep(chance.uniform(0, 0.3))
            children = subprocess.run(["pgrep", "-P", str(launch.processes[0].pid)], capture_output=True, text=True).stdout.split()
            victims = [c for c in children if "train" in pathlib.Path(f"/proc/{c}/cmdline").read_text()]
            os.kill(int(chance.choice(victims)), signal.SIGKILL)
        self.assertEqual(launch.wait(), [0], launch.output())
        self.assertIn("resumed at epoch", launch.output())
        weights = [(folder / "last.safetensors").read_bytes() for folder in (out, self.folder / "whole")]
        self.assertEqual(*weights)

    def test_a_restart_goes_on_with_its_own_run_alone(self):
        def train(*options, **variables):
            return subprocess.run([FEWSHIFT, "train", "--model", "shiftresnet20_e3", "--data", str(self.data), "--size", "32",
                                   "--batch", "24", "--out", str(self.folder / "run"), *options],
                                  env={**os.environ, **variables}, capture_output=True, text=True)

        again = dict(RANK="0", WORLD_SIZE="1", MASTER_ADDR="127.0.0.1", MASTER_PORT="29500", TORCHELASTIC_RESTART_COUNT="1")
        self.assertEqual(train("--epochs", "1").returncode, 0)
        other = train("--epochs", "2", **again)
        self.assertEqual(other.returncode, 1)
        self.assertIn("holds a run already", other.stderr)
        same = train("--epochs", "1", **again)
        self.assertEqual(same.returncode, 0, same.stderr)
        self.assertIn("this run has finished already", same.stderr)

    def test_wrong_usage_is_told_once(self):
        launch = Launch(self.folder, [[FEWSHIFT, "train", "--out", "x", "--no-such-option"]] * 3, [environment(k, 3, 29500) for k in range(3)])
        self.assertEqual(launch.wait(60), [2] * 3)
        self.assertEqual(launch.output().count("--no-such-option"), 1, launch.output())

    def test_two_hosts_train_together_until_the_link_is_cut(self):
        def ip(*words):
            return subprocess.run(["ip", *words], capture_output=True, text=True)

        names = [f"fewshift{os.getpid()}{end}" for end in "ab"]
        links = [f"fs{os.getpid() % 100000}{end}" for end in "ab"]
        if not shutil.which("ip") or ip("netns", "add", names[0]).returncode != 0:
            self.skipTest("no network namespaces can be made here")
        self.addCleanup(ip, "netns", "del", names[0])
        self.addCleanup(ip, "netns", "del", names[1])
        ip("netns", "add", names[1])
        self.assertEqual(ip("link", "add", links[0], "type", "veth", "peer", "name", links[1]).returncode, 0)
        for k in 0, 1:
            ip("link", "set", links[k], "netns", names[k])
            ip("-n", names[k], "addr", "add", f"10.231.7.{k + 1}/24", "dev", links[k])
            ip("-n", names[k], "link", "set", links[k], "up")
            ip("-n", names[k], "link", "set", "lo", "up")

        def start(run, timeout, *fields):
            return Launch(self.folder, [
                ["ip", "netns", "exec", names[rank], WORKER, str(self.folder / run), str(self.folder / f"{run}.2.{rank}"), "0",
                 str(timeout), f"run.data={self.data}", *RECIPE, *fields] for rank in (0, 1)],
                [{**environment(rank, 2, 29512, "10.231.7.1"), "LOCAL_RANK": "0", "LOCAL_WORLD_SIZE": "1"} for rank in (0, 1)])

        launch = start("whole", 45, "train.epochs=1")
        self.assertEqual(launch.wait(), [0, 0], launch.output())
        launch = start("cut", 4)
        self.wait_for_steps("cut", 2, 4)
        ip("-n", names[0], "link", "set", links[0], "down")
        began = time.monotonic()
        self.assertEqual(launch.wait(60), [1, 1], launch.output())
        self.assertLess(time.monotonic() - began, 30)
        for log in launch.logs:  # each side says so
            self.assertIn("another process has ended, hangs or cannot be reached", log.read_text())


if __name__ == "__main__":
    unittest.main(argv=sys.argv[:1] + sys.argv[4:], verbosity=2)
