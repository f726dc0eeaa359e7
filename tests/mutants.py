#!/usr/bin/env python3
"""Shows that the tests find bugs: each patch in tests/mutants/KIND is one, put into a copy of the sources.

usage: tests/mutants.py [--check] [KIND] [NAME ...]

  --check   only see whether every patch applies, and says what it breaks and how that is found
  KIND      one of the folders: engine and server (found by ordinary tests), models, power_cuts; all without one
  NAME      only those whose names begin so; all without one

A patch begins with what it breaks (`what: ...`), and the command that finds it (`found by: cargo test ...`), the
narrowest there is. The command must pass without the patch, and fail with it: one that hangs, does not build, or runs
no test has found nothing. Exit code 1 if that is so of any.

What is built is kept in target/mutants; only the crate that a patch changes is built anew.
"""

import dataclasses
import fcntl
import os
import pathlib
import re
import shlex
import subprocess
import sys
import time

ROOT = pathlib.Path(__file__).resolve().parents[1]
PATCHES = ROOT / "tests" / "mutants"
TARGET = (ROOT / os.environ.get("CARGO_TARGET_DIR", "target")).resolve() / "mutants"

# The package of tests, reduced to the power cuts and what these need: then a build takes seconds.
CUTS_MANIFEST = """[package]
name = "kvtests"
version.workspace = true
edition.workspace = true

[dev-dependencies]
fastrand.workspace = true
kvcore.workspace = true
rustix.workspace = true
"""


@dataclasses.dataclass(frozen=True)
class Kind:
    """How the patches of one folder are tried."""

    # Kinds with the same place share a copy of the sources, and what is built from it.
    place: str = "tests"
    environment: dict = dataclasses.field(default_factory=dict)
    # For patches that do not name a command.
    command: str = ""
    # Of the build, and of the tests, in seconds.
    build_limit: int = 1800
    limit: int = 300


# Each patch is a build: what is built quickly is worth more here than what runs quickly.
QUICKLY = {"CARGO_PROFILE_DEV_OPT_LEVEL": "0", "CARGO_PROFILE_DEV_DEBUG": "0"}

KINDS = {
    "engine": Kind(environment=QUICKLY),
    "server": Kind(environment=QUICKLY),
    "models": Kind(
        place="models",
        environment={"RUSTFLAGS": "--cfg shuttle", "KV_MODEL_RUNS": "5000", "CARGO_INCREMENTAL": "0"},
        limit=600,
    ),
    # The same seed every time: what is tested here is the test.
    "power_cuts": Kind(
        place="power_cuts",
        environment={"RUSTFLAGS": "-Awarnings", "KV_CUT_POINTS": "10000", "KV_CUT_SEED": "1"},
        command="cargo test -p kvtests --test power_cuts nothing_promised",
    ),
}


@dataclasses.dataclass(frozen=True)
class Mutant:
    kind: str
    path: pathlib.Path
    text: str

    @property
    def name(self):
        return self.path.stem

    def field(self, name):
        """What stands behind `name:` above the changes, or nothing."""
        head = re.split(r"^(?:diff|---) ", self.text, maxsplit=1, flags=re.MULTILINE)[0]
        found = re.search(rf"^{name}: (.+)$", head, re.MULTILINE)
        return found[1].strip() if found else ""

    @property
    def what(self):
        """What it breaks: the first line, where it is not said otherwise."""
        first = self.text.partition("\n")[0]
        return self.field("what") or ("" if first.startswith(("diff ", "--- ")) else first)

    @property
    def command(self):
        return self.field("found by") or KINDS[self.kind].command

    @property
    def files(self):
        return re.findall(r"^\+\+\+ b/(\S+)", self.text, re.MULTILINE)


def apply(path, where, *options):
    """Applies a patch below a folder; returns what was wrong, or nothing."""
    # Without a repository around it: the copy lies in one, and git would look for the files there.
    environment = {**os.environ, "GIT_CEILING_DIRECTORIES": str(where.parent)}
    done = subprocess.run(
        ["git", "apply", *options, str(path)], cwd=where, env=environment, capture_output=True, text=True, check=False
    )
    return done.stderr.strip() if done.returncode else ""


def check(mutants):
    """Prints what is wrong with the patches themselves; returns how many are wrong."""
    wrong = 0
    for mutant in mutants:
        reasons = []
        if apply(mutant.path, ROOT, "--check"):
            reasons.append("does not apply: write it anew, for the code as it is now")
        if not mutant.what:
            reasons.append("does not say what it breaks (`what: ...`)")
        if not re.match(r"cargo test -p kv[a-z]+", mutant.command):
            reasons.append("names no command that finds it (`found by: cargo test -p ...`)")
        for reason in reasons:
            print(f"{mutant.path.relative_to(ROOT)} {reason}")
        wrong += bool(reasons)
    if not wrong:
        print(f"{len(mutants)} seeded bugs apply")
    return wrong


class Copy:
    """A copy of the sources, in which commands are run with a patch and without."""

    def __init__(self, kind):
        self.kind = kind
        self.path = TARGET / kind.place / "copy"
        self.passed = {}
        self.path.mkdir(parents=True, exist_ok=True)
        # Two that changed the same copy would each find what the other had seeded.
        self.lock = open(self.path.parent / "lock", "w", encoding="utf-8")
        fcntl.flock(self.lock, fcntl.LOCK_EX)
        self.refresh()

    def refresh(self):
        """Makes the copy what the sources are. A file that differs gets a new time, so that it is compiled again."""
        listed = ["git", "ls-files", "-z", "-co", "--exclude-standard"]
        ours = subprocess.run(listed, cwd=ROOT, capture_output=True, check=True).stdout.decode().split("\0")
        texts = {name: (ROOT / name).read_bytes() for name in ours if name and (ROOT / name).is_file()}
        if self.kind.place == "power_cuts":
            wanted = ("Cargo.", "kvcore/", "tests/tests/power_cuts/")
            texts = {name: text for name, text in texts.items() if name.startswith(wanted)}
            members = re.sub(rb"(?m)^members = .*", b'members = ["kvcore", "tests"]', texts["Cargo.toml"])
            texts |= {"Cargo.toml": members, "tests/Cargo.toml": CUTS_MANIFEST.encode(), "tests/src/lib.rs": b""}
        for name, text in texts.items():
            path = self.path / name
            if not path.is_file() or path.read_bytes() != text:
                path.parent.mkdir(parents=True, exist_ok=True)
                path.write_bytes(text)
        for path in [path for path in self.path.rglob("*") if path.is_file()]:
            if str(path.relative_to(self.path)) not in texts:
                path.unlink()

    def run(self, command, log, build_only=False):
        """Runs a command of cargo; returns its exit code, or nothing if it took too long."""
        words = shlex.split(command)
        target = ["--target-dir", str(TARGET / self.kind.place / "build")]
        words[2:2] = [*target, *(["--no-run"] if build_only else [])]
        environment = {**os.environ, "RUST_BACKTRACE": "0", **self.kind.environment}
        # How much is tried can be set.
        environment |= {name: value for name, value in os.environ.items() if name.startswith("KV_")}
        limit = self.kind.build_limit if build_only else self.kind.limit
        running = subprocess.Popen(
            words, cwd=self.path, env=environment, stdout=log, stderr=subprocess.STDOUT, start_new_session=True
        )
        try:
            return running.wait(limit)
        except subprocess.TimeoutExpired:
            # With all that it has started.
            os.killpg(running.pid, 9)
            running.wait()
            return None

    def try_command(self, command, log_path):
        """Builds and runs a command; returns `passed`, `failed` or what else became of it, and the output."""
        with open(log_path, "w+", encoding="utf-8", errors="replace") as log:
            if self.run(command, log, build_only=True) != 0:
                return "DOES NOT BUILD", ""
            log.flush()
            begun = log.tell()
            code = self.run(command, log)
            log.seek(begun)
            output = log.read()
        if code is None:
            return f"HANGS: it was ended after {self.kind.limit} s", output
        if code == 0:
            count = sum(map(int, re.findall(r"^test result: ok\. (\d+) passed", output, re.MULTILINE)))
            return ("passed" if count else "RUNS NO TEST"), output
        return ("failed" if "test result: FAILED" in output or "panicked at" in output else "DIED"), output

    def outcome_without(self, command):
        """What becomes of a command without any patch."""
        if command not in self.passed:
            log = TARGET / self.kind.place / "none.log"
            self.passed[command] = self.try_command(command, log)[0]
        return self.passed[command]

    def outcome(self, mutant):
        """Whether the mutant's command finds it, and what to print."""
        without = self.outcome_without(mutant.command)
        if without != "passed":
            return False, f"WITHOUT THE PATCH: {without}: {mutant.command}"
        before = {name: (self.path / name).read_bytes() for name in mutant.files}
        try:
            if apply(mutant.path, self.path):
                return False, "DOES NOT APPLY: write it anew, for the code as it is now"
            log = TARGET / self.kind.place / f"{mutant.name}.log"
            result, output = self.try_command(mutant.command, log)
        finally:
            for name, text in before.items():
                (self.path / name).write_bytes(text)
        if result == "failed":
            return True, found_in(output)
        if result == "passed":
            return False, f"NOT FOUND by {mutant.command}"
        return False, f"{result}: see {log}"


def found_in(output):
    """What found a mutant: the line that says so, or the names of the tests that failed."""
    said = re.search(r"^FOUND (.*)$", output, re.MULTILINE)
    if said:
        line = re.sub(r" The disk: kept in .*", "", said[1])
        return line if len(line) <= 180 else line[:180] + "..."
    failed = re.findall(r"^test (\S+) (?:- should panic )?\.\.\. FAILED|^---- (\S+) stdout", output, re.MULTILINE)
    names = sorted({one or other for one, other in failed})
    return "found by " + (", ".join(names) or "a test that died")


def main(words):
    only_check = "--check" in words
    words = [word for word in words if word != "--check"]
    kinds = [words.pop(0)] if words and words[0] in KINDS else list(KINDS)
    mutants = [
        Mutant(kind, path, path.read_text(encoding="utf-8"))
        for kind in kinds
        for path in sorted((PATCHES / kind).glob("*.patch"))
        if path.stem.startswith(tuple(words) or "")
    ]
    if not mutants:
        print("there is no such seeded bug")
        return 1
    if only_check:
        return 1 if check(mutants) else 0
    copies = {}
    missed = []
    for mutant in mutants:
        begun = time.monotonic()
        kind = KINDS[mutant.kind]
        if kind.place not in copies:
            copies[kind.place] = Copy(kind)
        is_found, told = copies[kind.place].outcome(mutant)
        if not is_found:
            missed.append(mutant.name)
        print(f"{mutant.name:<48} {told} ({time.monotonic() - begun:.0f} s)", flush=True)
    print(f"{len(mutants)} seeded bugs, {len(missed)} not found" + "".join(f"\n  {name}" for name in missed))
    return 1 if missed else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
