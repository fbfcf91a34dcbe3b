#!/usr/bin/env bash
# Every C++ file is as .clang-format would have it.
set -euo pipefail
cd "$(dirname "$0")/.."
find src tests -name '*.h' -o -name '*.cc' | sort | xargs clang-format --dry-run -Werror
