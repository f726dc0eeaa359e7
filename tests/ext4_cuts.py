#!/usr/bin/env python3
"""Cuts the power of a writer on a real ext4 file system, over and over, and looks for what it had acknowledged.

usage: ext4_cuts.py LEDGER_WRITER [--cuts N] [--durability always|everysec|os] [--seed N] [--expect-loss]

A cut: the writer works on an image of 64 MiB, mounted through a loop device; it is frozen with SIGSTOP; the file system
is shut down as by `godown` without flushing its journal, so what was not synced is gone; the writer is killed, the file
system mounted again, the store opened and compared with the ledger, which the writer keeps outside the image.

The writer must be frozen: a sync in flight while ext4 is shut down can answer success although its journal commit was
dropped (seen on Linux 6.18 in 9 of 200 tries with a bare loop of fallocate, pwrite and fdatasync; never once frozen). A
machine that loses its power answers nothing any more.

With `everysec` and `os` acknowledged writes may be lost, but what is left must be a prefix of what each thread did.
`--expect-loss` turns the verdict on losses round: it shows that a writer that does not sync is found out.

Everything happens in a mount namespace and a directory of its own, so nothing is left behind, however this ends. Where
there is no root, no loop device or no such file system it says so and exits with 0. Exit code 1: something was lost,
invented or half done; the ledger and the store as the cut left it are kept then.
"""

import argparse
import errno
import fcntl
import os
import random
import shutil
import signal
import struct
import subprocess
import sys
import tempfile
import time

THREADS = 8
IMAGE_BYTES = 64 << 20
# After so many cuts of one store the next begins in a fresh file system.
CUTS_A_STORE = 10
# The longest that a writer works, from before it opens the store until the cut.
WORK_S = 0.25
EXT4_IOC_SHUTDOWN = 0x8004587D
WITHOUT_FLUSHING_THE_LOG = 2
INSIDE = "KV_EXT4_CUTS_INSIDE"


def skip(why):
    print(f"skipped: no power cuts on ext4: {why}")
    sys.exit(0)


def run(*words):
    done = subprocess.run(words, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        raise RuntimeError(f"{' '.join(words)}: {done.stderr.strip()}")
    return done.stdout


def unmount(where):
    # Whoever looks at every new mount may hold it for an instant.
    for _ in range(100):
        if subprocess.run(["umount", where], capture_output=True, check=False).returncode == 0:
            return
        time.sleep(0.05)
    run("umount", where)


def shut_down(where):
    directory = os.open(where, os.O_RDONLY | os.O_DIRECTORY)
    try:
        fcntl.ioctl(directory, EXT4_IOC_SHUTDOWN, struct.pack("I", WITHOUT_FLUSHING_THE_LOG))
    finally:
        os.close(directory)


class Disk:
    """An ext4 image that is mounted and loses its power."""

    def __init__(self, scratch):
        self.image = os.path.join(scratch, "image")
        self.where = os.path.join(scratch, "disk")
        os.mkdir(self.where)
        self.mounted = False

    def format(self):
        self.unmount()
        with open(self.image, "wb") as image:
            image.truncate(IMAGE_BYTES)
        run("mkfs.ext4", "-q", "-F", "-b", "4096", self.image)
        self.mount()

    def mount(self):
        run("mount", "-t", "ext4", "-o", "loop", self.image, self.where)
        self.mounted = True

    def unmount(self):
        if self.mounted:
            unmount(self.where)
            self.mounted = False


class Cuts:
    def __init__(self, arguments, disk, scratch):
        self.program = os.path.abspath(arguments.ledger_writer)
        self.durability = arguments.durability
        self.dice = random.Random(arguments.seed)
        self.disk = disk
        self.store = os.path.join(disk.where, "store")
        self.ledger = os.path.join(scratch, "ledger")
        self.errors = os.path.join(scratch, "errors")
        self.left = os.path.join(scratch, "left")
        self.acknowledged = 0
        self.lost = 0
        self.cuts_with_losses = 0

    def fresh_store(self):
        self.disk.format()
        self.seed = self.dice.getrandbits(32)
        self.done = [0] * THREADS

    def cut(self):
        """One cut; raises when what is left is wrong."""
        with open(self.ledger, "wb") as ledger, open(self.errors, "wb") as errors:
            writer = subprocess.Popen(
                [self.program, "write", self.store, self.durability, str(self.seed), *map(str, self.done)],
                stdin=subprocess.DEVNULL,
                stdout=ledger,
                stderr=errors,
            )
            try:
                time.sleep(self.dice.random() * WORK_S)
                writer.send_signal(signal.SIGSTOP)
                if writer.returncode is None:
                    # Told when every thread has come back from the kernel and stands still.
                    stopped = os.waitid(os.P_PID, writer.pid, os.WSTOPPED | os.WEXITED | os.WNOWAIT)
                    ended = stopped.si_code != os.CLD_STOPPED
                else:
                    ended = True
                if ended:
                    with open(self.errors, encoding="utf-8") as told:
                        raise AssertionError(f"the writer ended by itself: {told.read().strip()}")
                shut_down(self.disk.where)
            finally:
                writer.kill()
                writer.wait()
        self.disk.unmount()
        acknowledged = list(self.done)
        with open(self.ledger, encoding="ascii") as ledger:
            for line in ledger:
                thread, done = map(int, line.split())
                acknowledged[thread] = done
        self.acknowledged += sum(acknowledged) - sum(self.done)
        self.disk.mount()
        # Opening it cuts torn ends off: what the cut left is what to look at when something is wrong.
        shutil.rmtree(self.left, ignore_errors=True)
        if os.path.exists(self.store):
            shutil.copytree(self.store, self.left)
        self.done = self.check(acknowledged)

    def check(self, acknowledged):
        words = [self.program, "check", self.store, str(self.seed), *map(str, acknowledged)]
        done = subprocess.run(words, capture_output=True, text=True, check=False)
        if done.returncode != 0:
            raise AssertionError(f"{done.stderr.strip()} ({' '.join(words[1:])})")
        there = list(map(int, done.stdout.split()))
        # Were there fewer, nothing would be compared for the rest.
        if len(there) != THREADS or len(acknowledged) != THREADS:
            raise AssertionError(f"the check told of {len(there)} threads, not of {THREADS}: {done.stdout!r}")
        lost = sum(max(0, told - found) for told, found in zip(acknowledged, there))
        self.lost += lost
        self.cuts_with_losses += lost > 0
        return there


def inside(arguments, scratch):
    disk = Disk(scratch)
    try:
        disk.format()
        shut_down(disk.where)
    except (OSError, RuntimeError) as error:
        skip(str(error).splitlines()[0] if str(error) else errno.errorcode.get(error.errno, "?"))
    cuts = Cuts(arguments, disk, scratch)
    for number in range(arguments.cuts):
        if number % CUTS_A_STORE == 0:
            cuts.fresh_store()
        try:
            cuts.cut()
            if cuts.lost and arguments.durability == "always" and not arguments.expect_loss:
                raise AssertionError(f"{cuts.lost} acknowledged steps were lost")
        except AssertionError as error:
            print(f"FAILED at cut {number + 1} of --seed {arguments.seed}, store seed {cuts.seed}: {error}")
            kept = tempfile.mkdtemp(prefix="kv-ext4-failed-")
            shutil.copy(cuts.ledger, kept)
            if os.path.exists(cuts.left):
                shutil.copytree(cuts.left, os.path.join(kept, "store"))
            print(f"the ledger and the store as the cut left it are in {kept}")
            return 1
    print(
        f"{arguments.cuts} power cuts on ext4 (durability {arguments.durability}, seed {arguments.seed}): "
        f"{cuts.acknowledged} acknowledged steps, {cuts.lost} lost in {cuts.cuts_with_losses} cuts, "
        "none invented, none half done"
    )
    if cuts.acknowledged == 0:
        print("FAILED: nothing was ever acknowledged, so nothing was looked for")
        return 1
    if arguments.expect_loss and cuts.lost == 0:
        print("FAILED: losses were expected: the cuts find nothing")
        return 1
    return 0


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("ledger_writer")
    parser.add_argument("--cuts", type=int, default=100)
    parser.add_argument("--durability", choices=["always", "everysec", "os"], default="always")
    parser.add_argument("--seed", type=int, default=random.SystemRandom().getrandbits(32))
    parser.add_argument("--expect-loss", action="store_true")
    arguments = parser.parse_args()

    if os.geteuid() != 0:
        skip("not root")
    for program in ["unshare", "mount", "mkfs.ext4"]:
        if shutil.which(program) is None:
            skip(f"no {program} here")
    if INSIDE not in os.environ:
        # What is mounted in a namespace of its own is unmounted, and its loop device freed, when the last process in it
        # ends, even by SIGKILL.
        try:
            run("unshare", "--mount", "true")
        except RuntimeError as error:
            skip(str(error))
        words = ["unshare", "--mount", "--propagation", "private", sys.executable, *sys.argv]
        seeded = [*words, "--seed", str(arguments.seed)]
        os.execvpe("unshare", seeded, {**os.environ, INSIDE: "1"})

    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    scratch = tempfile.mkdtemp(prefix="kv-ext4-")
    try:
        return inside(arguments, scratch)
    finally:
        subprocess.run(["umount", os.path.join(scratch, "disk")], capture_output=True, check=False)
        shutil.rmtree(scratch, ignore_errors=True)


if __name__ == "__main__":
    sys.exit(main())
