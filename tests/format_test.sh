#!/usr/bin/env bash
# Every C++ file is as .clang-format would have it, by clang-format 14: other versions differ (exit 77: it is not there).
set -euo pipefail
cd "$(dirname "$0")/.."
for tool in build/venv/bin/clang-format clang-format-14 clang-format; do
  if "$tool" --version 2>/dev/null | grep -q 'version 14\.'; then
    find src tests examples bindings include -name '*.hpp' -o -name '*.cc' -o -name '*.cu' -o -name '*.cuh' -o \( -name '*.h' -a ! -path 'include/*' \) | sort | xargs "$tool" --dry-run -Werror
    exit
  fi
done
echo "clang-format 14 is not there"
exit 77
