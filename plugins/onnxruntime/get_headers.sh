#!/bin/sh
# Unpacks ONNX Runtime's C headers into a folder, without installing anything and without root.
#
#   get_headers.sh FOLDER     prints the include folder on success
#
# The headers are in no Python wheel. Debian packages them (libonnxruntime-dev) from the release
# after 12 on, so they come from the mirror that this machine's apt already uses, with package
# lists of our own: the machine's sources and lists stay as they are.
set -eu

folder=$(mkdir -p "$1" && cd "$1" && pwd)
found() { find "$folder/root" -name onnxruntime_c_api.h -printf '%h\n' 2>/dev/null | head -n 1; }
fail() {
    echo "get_headers: $1" >&2
    echo "hint: set ONNXRUNTIME_INCLUDE_DIR to a folder that holds onnxruntime_c_api.h" \
         "(it comes with every ONNX Runtime C/C++ release archive)" >&2
    exit 1
}

if [ -n "$(found)" ]; then found; exit 0; fi
command -v apt-get >/dev/null && command -v dpkg >/dev/null || fail "this machine has no apt-get and dpkg"
mirror=$(apt-get indextargets --format '$(REPO_URI)' 'Identifier: Packages' 'Origin: Debian' 2>/dev/null | head -n 1)
[ -n "$mirror" ] || mirror=$(apt-get indextargets --format '$(REPO_URI)' 'Identifier: Packages' 2>/dev/null | grep '/debian/*$' | head -n 1)
[ -n "$mirror" ] || fail "apt has no Debian mirror configured"

mkdir -p "$folder/state/lists/partial" "$folder/cache/archives/partial"
for release in trixie forky; do
    echo "deb $mirror $release main" > "$folder/sources.list"
    set -- -o Dir::Etc::SourceList="$folder/sources.list" -o Dir::Etc::SourceParts=/dev/null \
        -o Dir::State="$folder/state" -o Dir::Cache="$folder/cache" -o APT::Sandbox::User="$(id -un)" -qq
    (cd "$folder" && apt-get "$@" update && apt-get "$@" download libonnxruntime-dev) >"$folder/apt.log" 2>&1 || continue
    dpkg -x "$folder"/libonnxruntime-dev_*.deb "$folder/root"
    rm -rf "$folder/state" "$folder/cache" "$folder"/*.deb
    [ -n "$(found)" ] && { found; exit 0; }
done
fail "apt's mirror did not give libonnxruntime-dev: $(tail -n 1 "$folder/apt.log")"
