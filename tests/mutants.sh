#!/usr/bin/env bash
# Seeded bugs: tests/mutants/power_cuts/*.patch, each a mistake in kvcore that breaks a promise. The power cuts must
# find every one.
#
# usage: tests/mutants.sh [--check] [NAME...]
#
#   --check   only see whether every patch still applies
#   NAME      only these, as their files are called, without .patch
#
# Each is applied to a copy of kvcore and of the test (target/mutants), which is built and run for 10,000 points
# (KV_CUT_POINTS). One line a mutant: at which point, and as what, it was found. Exit code 1 if one was not found, if its
# patch does not apply or build, or if the test finds something without any.
set -euo pipefail
cd "$(dirname "$0")/.."

points=${KV_CUT_POINTS:-10000}
# The same every time: what is tested here is the test.
seed=${KV_CUT_SEED:-1}
target=$(realpath -m "${CARGO_TARGET_DIR:-target}")/mutants
copy=$target/copy

check_only=
if [[ ${1:-} == --check ]]; then
    check_only=yes
    shift
fi
patches=()
for name in "$@"; do
    patches+=("tests/mutants/power_cuts/$name.patch")
done
if (($# == 0)); then
    patches=(tests/mutants/power_cuts/*.patch)
fi

if [[ -n $check_only ]]; then
    code=0
    for patch in "${patches[@]}"; do
        git apply --check "$patch" || { echo "$patch does not apply: write it anew, for the code as it is now"; code=1; }
    done
    ((code == 0)) && echo "${#patches[@]} seeded bugs apply"
    exit "$code"
fi

# The two packages alone, so that a build takes seconds; a repository of its own, so that patches apply there.
rm -rf "$copy"
mkdir -p "$copy/tests/src"
git init -q "$copy"
cp -r kvcore "$copy/"
cp -r tests/tests "$copy/tests/"
find "$copy/tests/tests" -mindepth 1 -maxdepth 1 ! -name power_cuts -exec rm -rf {} +
sed 's/^members = .*/members = ["kvcore", "tests"]/' Cargo.toml >"$copy/Cargo.toml"
cp Cargo.lock "$copy/"
touch "$copy/tests/src/lib.rs"
cat >"$copy/tests/Cargo.toml" <<'TOML'
[package]
name = "kvtests"
version.workspace = true
edition.workspace = true

[dev-dependencies]
fastrand.workspace = true
kvcore.workspace = true
rustix.workspace = true
TOML

# try NAME: builds and runs the test in the copy; its output is in $target/NAME.log.
try() {
    (cd "$copy" && CARGO_TARGET_DIR=$target/build RUSTFLAGS="${RUSTFLAGS:-} -Awarnings" \
        cargo test --quiet -p kvtests --test power_cuts --no-run) >"$target/$1.log" 2>&1 || return 2
    (cd "$copy" && CARGO_TARGET_DIR=$target/build RUSTFLAGS="${RUSTFLAGS:-} -Awarnings" RUST_BACKTRACE=0 \
        KV_CUT_POINTS=$points KV_CUT_SEED=$seed timeout 300 \
        cargo test --quiet -p kvtests --test power_cuts nothing_promised) >>"$target/$1.log" 2>&1
}

code=0
if ! try none; then
    echo "without any: the test fails, or does not build; see $target/none.log"
    exit 1
fi
printf '%-32s %s\n' "(none)" "nothing found in $points points"
for patch in "${patches[@]}"; do
    name=$(basename "$patch" .patch)
    if ! git -C "$copy" apply "$PWD/$patch" 2>"$target/$name.log"; then
        printf '%-32s %s\n' "$name" "DOES NOT APPLY: write it anew, for the code as it is now"
        code=1
        continue
    fi
    result=0
    try "$name" || result=$?
    found=$(grep -m1 '^FOUND' "$target/$name.log" || true)
    if ((result == 0)); then
        printf '%-32s %s\n' "$name" "NOT FOUND in $points points"
        code=1
    elif [[ -z $found ]]; then
        printf '%-32s %s\n' "$name" "DOES NOT BUILD, or died: see $target/$name.log"
        code=1
    else
        printf '%-32s %s\n' "$name" "$(sed -E 's/^FOUND //; s/ The disk: kept in .*//; s/^(.{180}).*/\1.../' <<<"$found")"
    fi
    git -C "$copy" apply -R "$PWD/$patch"
done
exit "$code"
