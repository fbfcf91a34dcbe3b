"""Holds every #include of src/ to docs/layers.txt: a folder depends only on what stands there for it."""
import pathlib
import re
import sys

root = pathlib.Path(__file__).resolve().parent.parent
allowed = {}
for line in (root / "docs/layers.txt").read_text().splitlines():
    line = line.split("#")[0].strip()
    if line:
        folder, _, rest = line.partition(":")
        allowed[folder.strip()] = set(rest.split()) | {folder.strip()}

faults, files = [], 0
for path in sorted((root / "src").rglob("*")):
    if path.suffix not in (".h", ".cc", ".cu"):
        continue
    files += 1
    folder = path.relative_to(root / "src").parts[0]
    if folder not in allowed:
        faults.append(f"{path.relative_to(root)}: docs/layers.txt does not know the folder {folder}")
        continue
    for number, line in enumerate(path.read_text().splitlines(), 1):
        found = re.match(r'\s*#\s*include\s+"([^"]+)"', line)
        if not found:
            continue
        target = found.group(1)
        place = f"{path.relative_to(root)}:{number}"
        if target.startswith(".") or not (root / "src" / target).exists():
            faults.append(f"{place}: {target} is not a path from src/")
        elif target.split("/")[0] not in allowed[folder]:
            faults.append(f"{place}: {folder} may not include {target}")
print("\n".join(faults) or f"{files} files keep to docs/layers.txt")
sys.exit(bool(faults) or files == 0)
