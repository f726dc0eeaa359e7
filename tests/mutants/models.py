#!/usr/bin/env python3
"""Shows that the models find bugs: each patch in tests/mutants/models is one, put into a copy of the sources.

usage: models.py [NAME ...]    those whose names begin so; all without one

A model must fail on each within 5,000 runs (KV_MODEL_RUNS), and none may fail without a patch. Exit code 1 otherwise.
"""

import os
import pathlib
import re
import shutil
import subprocess
import sys
import tempfile
import time

ROOT = pathlib.Path(__file__).resolve().parents[2]
PATCHES = ROOT / "tests" / "mutants" / "models"
# Its own: what is built from a copy looks to cargo as if it were built from here.
TARGET = ROOT / "target" / "mutants"
ENVIRONMENT = {
    "KV_MODEL_RUNS": "5000",
    **os.environ,
    "RUSTFLAGS": "--cfg shuttle",
    "RUST_BACKTRACE": "0",
    "CARGO_INCREMENTAL": "0",
}


def models(copy, words):
    command = ["cargo", "test", "--quiet", "--target-dir", str(TARGET), *words.split()]
    return subprocess.run(command, cwd=copy, env=ENVIRONMENT, capture_output=True, text=True, check=False)


def main():
    chosen = [patch for patch in sorted(PATCHES.glob("*.patch")) if patch.stem.startswith(tuple(sys.argv[1:]) or "")]
    missed = []
    with tempfile.TemporaryDirectory(prefix="kv-mutants-") as scratch:
        copy = pathlib.Path(scratch) / "kv"
        ours = subprocess.run(["git", "ls-files", "-z", "-co", "--exclude-standard"], cwd=ROOT, capture_output=True, check=True)
        for name in filter(None, ours.stdout.decode().split("\0")):
            if (ROOT / name).is_file():
                (copy / name).parent.mkdir(parents=True, exist_ok=True)
                shutil.copy(ROOT / name, copy / name)
        for patch in [None, *chosen]:
            begun = time.monotonic()
            name = patch.stem if patch else "without a patch"
            text = patch.read_text(encoding="utf-8") if patch else "Run: -p kvcore --test models"
            words = re.search(r"^Run: (.*)$", text, re.MULTILINE)[1]
            if patch:
                subprocess.run(["patch", "-s", "-p1"], cwd=copy, input=text, text=True, check=True)
            done = models(copy, words)
            failed = re.findall(r"^test (\S+) \.\.\. FAILED|^---- (\S+) stdout", done.stdout, re.MULTILINE)
            failed = sorted({one or other for one, other in failed})
            if patch:
                subprocess.run(["patch", "-s", "-R", "-p1"], cwd=copy, input=text, text=True, check=True)
            is_right = bool(failed) if patch else done.returncode == 0
            if not is_right:
                missed.append(name)
                print((done.stdout + done.stderr)[-2000:])
            told = ", ".join(failed) or ("no model fails" if done.returncode == 0 else "it does not compile")
            print(f"{name}: {told} ({time.monotonic() - begun:.0f} s)", flush=True)
    print(f"{len(chosen)} seeded bugs, {len(missed)} not as it should be" + "".join(f"\n  {name}" for name in missed))
    return 1 if missed else 0


if __name__ == "__main__":
    sys.exit(main())
