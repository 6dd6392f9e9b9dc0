#!/bin/sh
# From a fresh clone to a result: installs what is missing (Debian, Ubuntu), configures, builds, runs.
#   sh cmake/bootstrap.sh demo     one scan against four, on a picture
#   sh cmake/bootstrap.sh test     every test
#   sh cmake/bootstrap.sh bench    every benchmark, with JSON beside the programs
set -eu
cd "$(dirname "$0")/.."
build=build/release
jobs=$(nproc 2>/dev/null || echo 2)

say() { printf '\n== %s\n' "$*"; }

has_command() { command -v "$1" >/dev/null 2>&1; }

has_header() { echo "#include <$1>" | "${CXX:-g++}" -x c++ -E - >/dev/null 2>&1; }

# want <package> <check> <what>...: notes the package unless the check passes for one of the things
want() {
    package=$1 check=$2
    shift 2
    for thing in "$@"; do
        if "$check" "$thing"; then return; fi
    done
    missing="$missing $package"
}

install_missing() {
    if [ -z "$missing" ]; then
        say "everything needed is installed"
        return
    fi
    if ! has_command apt-get; then
        say "please install what Debian calls:$missing"
        exit 1
    elif [ "$(id -u)" = 0 ]; then
        root=
    elif has_command sudo && sudo -v; then
        root=sudo
    else
        say "please install, as root: apt-get install$missing"
        exit 1
    fi
    say "installing:$missing"
    $root apt-get update -qq
    # shellcheck disable=SC2086
    $root env DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends $missing >/dev/null
}

need() {
    missing=
    want g++ has_command "${CXX:-g++}"
    want cmake has_command cmake
    want ninja-build has_command ninja make
    if [ -n "$missing" ]; then install_missing; fi  # headers are looked for with the compiler

    missing=
    want libeigen3-dev has_header eigen3/Eigen/Core Eigen/Core
    want libxsimd-dev has_header xsimd/xsimd.hpp
    case $1 in
        demo) want libstb-dev has_header stb/stb_image.h ;;
        test) want catch2 has_header catch2/catch.hpp catch2/catch_all.hpp
              want libstb-dev has_header stb/stb_image.h
              want pkg-config has_command pkg-config ;;
        bench) want libbenchmark-dev has_header benchmark/benchmark.h ;;
    esac
    install_missing
}

# configure_and_build <target> <configure arguments>: a release build of what the target needs
configure_and_build() {
    target=$1
    shift
    if has_command ninja; then CMAKE_GENERATOR=${CMAKE_GENERATOR:-Ninja}; export CMAKE_GENERATOR; fi
    say "configuring $build"
    cmake --preset release "$@"
    say "building with $jobs jobs"
    cmake --build "$build" --parallel "$jobs" --target "$target"
}

demo() {
    configure_and_build one_scan \
        -DRONDO_BUILD_EXAMPLES=ON -DRONDO_BUILD_TESTS=OFF -DRONDO_BUILD_BENCH=OFF
    say "running examples/one_scan (--help shows its options)"
    "$build/examples/one_scan"
}

tests() {
    configure_and_build all -DRONDO_BUILD_EXAMPLES=ON -DRONDO_BUILD_TESTS=ON -DRONDO_BUILD_BENCH=OFF
    say "running the tests"
    ctest --preset release --parallel "$jobs"
}

bench() {
    configure_and_build all -DRONDO_BUILD_EXAMPLES=OFF -DRONDO_BUILD_TESTS=OFF -DRONDO_BUILD_BENCH=ON
    for program in "$build"/bench/bench_*; do
        case $program in *.json) continue ;; esac
        say "running $program, results in $program.json"
        "$program" --benchmark_out="$program.json" --benchmark_out_format=json
    done
    if has_command python3; then
        say "tables, as in the README (bench/report)"
        python3 bench/report "$build"/bench/bench_*.json --plot "$build/bench/multiscan.svg"
    fi
}

case ${1:-} in
    demo | bench) need "$1"; "$1" ;;
    test) need test; tests ;;
    *)
        sed -n '2,5s/^# //p' "$0" >&2
        exit 2
        ;;
esac
