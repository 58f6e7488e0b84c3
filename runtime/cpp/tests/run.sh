#!/usr/bin/env bash
# Build the C and C++ library with its examples and tests in build/cpp, and run tests/cpp.
#
# `make test-cpp` calls it; arguments are options of CMake, such as -DCMAKE_BUILD_TYPE=Debug.
set -euo pipefail
cd "$(dirname "$0")/../../.."

missing=()
for tool in cmake c++ cc pkg-config readelf; do
  command -v "$tool" > /dev/null || missing+=("$tool")
done
if [ ${#missing[@]} -gt 0 ]; then
  echo "make test-cpp: ${missing[*]} not found: install cmake g++ pkg-config (Debian, Ubuntu)" >&2
  exit 1
fi

runtime/cpp/tests/get_headers.sh build/headers
include=$PWD/build/headers/usr
options=(-S runtime/cpp -B build/cpp -DDSUNET_TESTS=ON)
[ ! -d "$include/include/onnxruntime" ] ||
  options+=("-DONNXRUNTIME_INCLUDE_DIR=$include/include/onnxruntime")
[ ! -d "$include/share/cmake/nlohmann_json" ] ||
  options+=("-Dnlohmann_json_DIR=$include/share/cmake/nlohmann_json")
newest=$PWD/build/headers/newest/usr/include/onnxruntime
[ ! -d "$newest" ] || options+=("-DDSUNET_NEWEST_ONNXRUNTIME_INCLUDE_DIR=$newest")
if [ ! -e build/cpp/CMakeCache.txt ] && command -v ninja > /dev/null; then
  options+=(-G Ninja)
fi
cmake "${options[@]}" "$@"
cmake --build build/cpp --parallel "$(nproc)"

OMP_NUM_THREADS=1 "${BIN:-.venv/bin}/pytest" -n 2 --dist loadfile -m "not slow and not gpu" tests/cpp
