#!/usr/bin/env bash
# Unpack the headers of ONNX Runtime and nlohmann-json that this system lacks into FOLDER/usr.
#
#     runtime/cpp/tests/get_headers.sh FOLDER
#
# They are those of Debian's packages, fetched from the system's own sources with the name of the
# release changed to one that has them.  Nothing is installed, and root is not needed.  NVIDIA's headers
# are in no Debian package: see docs/cpp.md.
set -euo pipefail

release=trixie  # ONNX Runtime 1.21; Debian 12 has none
folder=$1

wanted=()
if [ ! -e /usr/include/onnxruntime/onnxruntime_c_api.h ] &&
  [ ! -e "$folder/usr/include/onnxruntime/onnxruntime_c_api.h" ]; then
  wanted+=(libonnxruntime-dev)
fi
if [ ! -e /usr/include/nlohmann/json.hpp ] && [ ! -e "$folder/usr/include/nlohmann/json.hpp" ]; then
  wanted+=(nlohmann-json3-dev)
fi
[ ${#wanted[@]} -gt 0 ] || exit 0

fail() {
  echo "get_headers.sh: $1: install ${wanted[*]} by other means, and build with" \
    "-DONNXRUNTIME_INCLUDE_DIR=FOLDER -Dnlohmann_json_DIR=FOLDER" >&2
  exit 1
}

command -v apt-get > /dev/null && command -v dpkg > /dev/null || fail "this is not Debian"
codename=$(. /etc/os-release && echo "${VERSION_CODENAME:-}")
mkdir -p "$folder"
folder=$(cd "$folder" && pwd)
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
mkdir -p "$work"/{sources,lists/partial,cache/archives/partial}
for file in /etc/apt/sources.list /etc/apt/sources.list.d/*.list /etc/apt/sources.list.d/*.sources; do
  if [ -e "$file" ] && grep -Eq "[[:space:]]$codename([[:space:]]|\$)" "$file"; then
    sed -E "s/([[:space:]])$codename/\1$release/g" "$file" > "$work/sources/$(basename "$file")"
  fi
done
[ -n "$(ls -A "$work/sources")" ] || fail "apt has no sources of the release '$codename'"

apt_of_release() {
  apt-get -qq -oDir::Etc::sourcelist=/dev/null -oDir::Etc::sourceparts="$work/sources" \
    -oDir::State::lists="$work/lists" -oDir::Cache="$work/cache" -oAPT::Sandbox::User= "$@"
}
apt_of_release update || fail "the package lists of $release cannot be read"
cd "$work"
apt_of_release download "${wanted[@]}" || fail "$release does not have all packages"
for package in ./*.deb; do
  dpkg -x "$package" "$folder"
done
