#!/usr/bin/env bash
# Unpack the headers of ONNX Runtime and nlohmann-json that this system lacks into FOLDER/usr, and
# the newest of ONNX Runtime that Debian has into FOLDER/newest/usr.
#
#     runtime/cpp/tests/get_headers.sh FOLDER
#
# They are those of Debian's packages, fetched from the system's own sources with the name of the
# release changed to one that has them.  Nothing is installed, and root is not needed.  The newest are
# left out, with a line that says so, where they cannot be fetched.  NVIDIA's headers are in no Debian
# package: see docs/cpp.md.
set -euo pipefail

release=trixie  # ONNX Runtime 1.21; Debian 12 has none
newest_releases=(experimental sid)
folder=$1
mkdir -p "$folder"
folder=$(cd "$folder" && pwd)
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT

reason=""
fails() {
  reason=$1
  return 1
}

# The sources of this system's release, without those of its updates, as those of another.
write_sources() {
  local release=$1 codename=$2 file record
  for file in /etc/apt/sources.list /etc/apt/sources.list.d/*.list /etc/apt/sources.list.d/*.sources; do
    [ -e "$file" ] || continue
    record=$'\n'
    [ "${file##*.}" != sources ] || record=""  # paragraphs
    awk -v RS="$record" -v ORS='\n\n' "/[[:space:]]$codename([[:space:]]|\$)/" "$file" |
      sed -E "s/([[:space:]])$codename-[a-z-]+//g; s/([[:space:]])$codename\$/\1$release/
        s/([[:space:]])$codename([[:space:]])/\1$release\2/g" > "$work/sources/$(basename "$file")"
  done
  find "$work/sources" -size -2c -delete
  [ -n "$(ls -A "$work/sources")" ]
}

apt_of_release() {
  apt-get -qq -oDir::Etc::sourcelist=/dev/null -oDir::Etc::sourceparts="$work/sources" \
    -oDir::State::lists="$work/lists" -oDir::Cache="$work/cache" -oAPT::Sandbox::User= "$@"
}

# Unpack packages of a release; if that fails, `reason` says why.
unpack() {
  local release=$1 target=$2 package codename
  shift 2
  command -v apt-get > /dev/null && command -v dpkg > /dev/null || fails "this is not Debian" || return
  codename=$(. /etc/os-release && echo "${VERSION_CODENAME:-}")
  rm -rf "${work:?}"/*
  mkdir -p "$work"/{sources,lists/partial,cache/archives/partial}
  write_sources "$release" "$codename" || fails "apt has no sources of the release '$codename'" || return
  apt_of_release update || fails "the package lists of $release cannot be read" || return
  (cd "$work" && apt_of_release download "$@") || fails "$release does not have all packages" || return
  for package in "$work"/*.deb; do
    dpkg -x "$package" "$target" || fails "$(basename "$package") cannot be unpacked" || return
  done
}

lacks() {
  [ ! -e "/usr/include/$1" ] && [ ! -e "$folder/usr/include/$1" ]
}

wanted=()
! lacks onnxruntime/onnxruntime_c_api.h || wanted+=(libonnxruntime-dev)
! lacks nlohmann/json.hpp || wanted+=(nlohmann-json3-dev)
if [ ${#wanted[@]} -gt 0 ] && ! unpack "$release" "$folder" "${wanted[@]}"; then
  echo "get_headers.sh: $reason: install ${wanted[*]} by other means, and build with" \
    "-DONNXRUNTIME_INCLUDE_DIR=FOLDER -Dnlohmann_json_DIR=FOLDER" >&2
  exit 1
fi

[ ! -e "$folder/newest/usr/include/onnxruntime/onnxruntime_c_api.h" ] || exit 0
for release in "${newest_releases[@]}"; do
  ! unpack "$release" "$folder/newest" libonnxruntime-dev 2> /dev/null || exit 0
done
echo "get_headers.sh: the newest headers of ONNX Runtime are left out: $reason" >&2
