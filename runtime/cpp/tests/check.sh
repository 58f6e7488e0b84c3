#!/usr/bin/env bash
# Format and lint of runtime/cpp: `make check-cpp`.
set -euo pipefail
cd "$(dirname "$0")/../../.."
bin=${BIN:-.venv/bin}
stamp=build/cpp/clang-tidy.stamp

find runtime/cpp benchmarks/cpp tests/cpp -name '*.[ch]' -o -name '*.[ch]pp' -o -name '*.cu' | xargs "$bin/clang-format" --style=file:runtime/cpp/.clang-format --dry-run -Werror

if [ ! -e build/cpp/compile_commands.json ]; then
  echo "clang-tidy was left out, because there is no build/cpp: \`make test-cpp\` makes it"
elif [ ! -e "$stamp" ] || [ -n "$(find runtime/cpp build/cpp/compile_commands.json -newer "$stamp")" ]; then
  # Headers are checked with the files that include them.
  sed -nE 's|^ *"file": "(.*/runtime/cpp/.*)",?$|\1|p' build/cpp/compile_commands.json | sort -u |
    xargs -P "$(nproc)" -n 1 "$bin/clang-tidy" --quiet -p build/cpp
  touch "$stamp"
fi
