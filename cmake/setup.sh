#!/usr/bin/env bash
# cmake/setup.sh [--examples] [--tests] [--bench] [--ci]
# Sees to it that the packages weft needs are installed (Debian 12, Ubuntu 24.04). As root it installs what is missing;
# otherwise it prints the one command that does, and fails. --tests includes --examples; --bench (the
# benchmarks' rivals in Go and Rust, which are large) and --ci include --tests.
set -euo pipefail

packages=(g++ cmake ninja-build ccache pkg-config libboost-dev libboost-context-dev libasio-dev libtbb-dev)
examples=(libsqlite3-dev libssl-dev nlohmann-json3-dev curl wrk gnuplot-nox
  libjpeg-dev libpng-dev libexif-dev libstb-dev libpq-dev libcurl4-openssl-dev)
tests=(libgtest-dev libbenchmark-dev libboost-fiber-dev libst-dev python3 python3-matplotlib strace openssl
  netcat-openbsd nginx-light python3-pil python3-selenium python3-websockets postgresql)
# Ubuntu has this browser only as a snap, which tests cannot use; they say that they were skipped.
if grep -qs '^ID=debian' /etc/os-release; then tests+=(chromium chromium-driver); fi
bench=(golang-go cargo librust-tokio-dev)
ci=(clang-16 libclang-rt-16-dev clang-format-16 clang-tidy spin gcc libc6-dev valgrind util-linux)

case "${1-}" in
  "") ;;
  --examples) packages+=("${examples[@]}") ;;
  --tests) packages+=("${examples[@]}" "${tests[@]}") ;;
  --bench) packages+=("${examples[@]}" "${tests[@]}" "${bench[@]}") ;;
  --ci) packages+=("${examples[@]}" "${tests[@]}" "${ci[@]}") ;;
  *)
    sed -n '2,5s/^# //p' "$0" >&2
    exit 2
    ;;
esac

if ! command -v dpkg-query >/dev/null; then
  echo "setup: not a Debian or Ubuntu system; weft needs the counterparts of: ${packages[*]}"
  exit 0
fi

missing=()
for package in "${packages[@]}"; do
  status=$(dpkg-query -W -f '${db:Status-Status}' "$package" 2>/dev/null) || status=
  [ "$status" = installed ] || missing+=("$package")
done
if [ ${#missing[@]} -eq 0 ]; then
  echo "setup: all ${#packages[@]} packages are there"
  exit 0
fi

install=(apt-get install -y --no-install-recommends "${missing[@]}")
if [ "$(id -u)" -ne 0 ]; then
  echo "setup: ${#missing[@]} packages are missing; please run"
  echo "sudo ${install[*]}"
  exit 1
fi

log=$(mktemp)
trap 'rm -f "$log"' EXIT
export DEBIAN_FRONTEND=noninteractive
apt() { apt-get -qq -o DPkg::Lock::Timeout=300 "$@" </dev/null >>"$log" 2>&1; }

echo "setup: installing ${missing[*]}"
# Package lists may be absent or stale; fetching them is slow, so only when it must be.
if ! apt "${install[@]:1}" && ! { apt update && apt "${install[@]:1}"; }; then
  tail -n 20 "$log" >&2
  echo "setup: could not install the packages" >&2
  exit 1
fi
echo "setup: done"
