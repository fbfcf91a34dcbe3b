"""A contender in a process of its own: it says "ready" with what it is as JSON; asked "run K", it answers with one line of JSON."""
import json
import subprocess
import tempfile


class Process:
    def __init__(self, command):
        self.errors = tempfile.TemporaryFile("w+")
        self.process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=self.errors, text=True)
        self.about = json.loads(self.read("ready ")[6:])

    def read(self, start):
        for line in self.process.stdout:
            if line.startswith(start):
                return line
        self.process.wait()
        self.errors.seek(0)
        raise RuntimeError(last_line(self.errors.read()))

    def ask(self, runs):
        self.process.stdin.write(f"run {runs}\n")
        self.process.stdin.flush()
        return json.loads(self.read("{"))

    def close(self):
        self.process.stdin.close()
        self.process.wait()


def last_line(text):
    """Of an error, its sentence: torch.compile ends with advice, so a line that names the error goes before the last."""
    lines = [line.strip() for line in text.splitlines() if line.strip()] or ["it ended without a word"]
    return next((line for line in lines if line.partition(":")[0].endswith("Error")), lines[-1])
