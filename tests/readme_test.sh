#!/usr/bin/env bash
# Every command of the README, as it stands there, on a few of the bundled photographs; trainings are cut to an epoch.
# usage: readme_test.sh BUILD
set -euo pipefail
here=$(cd "$(dirname "$0")/.." && pwd)
build=$(cd "$1" && pwd)
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
mkdir -p "$work/bin" "$work/pictures"
cat >"$work/bin/fewshift" <<END
#!/usr/bin/env bash
[ "\${1:-}" != train ] || set -- "\$@" --epochs 1
exec "$build/fewshift" "\$@"
END
chmod +x "$work/bin/fewshift"
export PATH="$work/bin:$PATH"
for class in dress hat pants shoes; do
  mkdir "$work/pictures/$class"
  find "$here/sample/clothing/train/$class" -name '*.jpg' | sort | sed -n 1,20p | xargs -I {} cp {} "$work/pictures/$class"
done
cp "$here/sample/clothing/test/hat/001.jpg" "$work/photo.jpg"
cd "$work"
# Those of the program: indented, each on a line of its own; what it prints stands below without the name in front.
mapfile -t commands < <(sed -n 's/^    \(\$ \)\?\(fewshift .*\)/\2/p' "$here/README.md" | sed 's/ *# .*//')
[ ${#commands[@]} -ge 5 ] || { echo "the README has ${#commands[@]} commands of the program"; exit 1; }
for command in "${commands[@]}"; do
  echo "== $command"
  status=0
  bash -c "$command" || status=$?
  # What data check finds is no failure.
  [ $status = 0 ] || [[ $status = 3 && $command == *"data check"* ]] || { echo "$command: $status"; exit 1; }
done
# The rest that it names.
grep -q '^    scripts/demo ' "$here/README.md"
[ "$build" != "$here/build/release" ] || "$here/scripts/demo" --epochs 1
for path in $(grep -o '](\(docs/[a-z_]*\.[a-z]*\|[A-Z]*\.md\)' "$here/README.md" | sed 's/](//'); do
  [ -e "$here/$path" ] || { echo "the README links to $path, which is not there"; exit 1; }
done
