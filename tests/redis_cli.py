"""Runs what redis-cli can do beside sending a command, against a running kvserver.

usage: redis_cli.py PORT

Prints a line for each thing it did; exits with 0 when all went well, else with 1. The server's data is removed.
"""

import fcntl
import os
import pty
import re
import select
import signal
import struct
import subprocess
import sys
import termios
import time

PATIENCE_S = 30.0
COLOUR = re.compile(r"\x1b\[[0-9;]*m")


def run(server, *words, **options):
    words = ["redis-cli", *server, *words]
    done = subprocess.run(words, capture_output=True, timeout=PATIENCE_S, check=False, **options)
    return done.returncode, done.stdout, done.stderr


def until_seen(server, words, wanted):
    """Runs a redis-cli that ends only when it is told to, until its output holds `wanted`."""
    pid, terminal = pty.fork()
    if pid == 0:
        os.environ["TERM"] = "xterm"
        os.execvp("redis-cli", ["redis-cli", *server, *words])
    # Without a size it asks the terminal for one.
    fcntl.ioctl(terminal, termios.TIOCSWINSZ, struct.pack("HHHH", 24, 200, 0, 0))
    return Seen(pid, terminal, wanted)


class Seen:
    """A redis-cli on a terminal of its own, and what it has printed."""

    def __init__(self, pid, terminal, wanted):
        self.pid, self.terminal, self.text = pid, terminal, ""
        try:
            self.expect(wanted)
        except BaseException:
            self.end()
            raise

    def expect(self, wanted):
        end = time.monotonic() + PATIENCE_S
        while not re.search(wanted, self.text):
            if time.monotonic() > end:
                raise AssertionError(f"waited {PATIENCE_S} s in vain for {wanted!r} in {self.text!r}")
            if select.select([self.terminal], [], [], 1.0)[0]:
                self.text += COLOUR.sub("", os.read(self.terminal, 65536).decode(errors="replace"))

    def type(self, keys):
        os.write(self.terminal, keys.encode())

    def end(self):
        os.kill(self.pid, signal.SIGKILL)
        os.waitpid(self.pid, 0)
        os.close(self.terminal)


def scan(server):
    code, out, _ = run(server, "--scan", "--pattern", "key:*")
    assert code == 0 and len(set(out.split())) == 1000, out[:200]


def big_keys(server):
    code, out, _ = run(server, "--bigkeys")
    text = out.decode()
    assert code == 0 and "Sampled 1001 keys in the keyspace" in text, text
    assert re.search(r'Biggest string found .*big.* has 100000 bytes', text), text


def mem_keys(server):
    code, out, err = run(server, "--memkeys")
    assert code == 0 and b"Sampled 1001 keys" in out, (out, err)


def stat(server):
    shown = until_seen(server, ["--stat", "-i", "0.2"], r"1001 +\S+ +\d+ ")
    shown.end()


def latency(server):
    shown = until_seen(server, ["--latency"], r"min: \d+, max: \d+, avg: [\d.]+ \(\d+ samples\)")
    shown.end()


def pipe(server):
    mass = b"".join(b"*3\r\n$3\r\nSET\r\n$8\r\npipe:%03d\r\n$1\r\nv\r\n" % n for n in range(500))
    code, out, _ = run(server, "--pipe", input=mass)
    assert code == 0 and b"errors: 0, replies: 500" in out, out


def transaction(server):
    code, out, _ = run(server, input=b"MULTI\nSET t 1\nINCR t\nEXEC\n")
    assert code == 0 and out.split() == [b"OK", b"QUEUED", b"QUEUED", b"OK", b"2"], out


def hints(server):
    shown = until_seen(server, [], r"127\.0\.0\.1:\d+> ")
    # What follows the cursor comes from COMMAND DOCS.
    shown.type("SET ")
    shown.expect(r"key value \[NX ?\| ?XX")
    shown.type("greeting hello\r")
    # With the next prompt: what is typed before it is thrown away when redis-cli sets up the terminal for a line.
    shown.expect(r"OK\r?\n[^\n]*> ")
    shown.type("GET greeting\r")
    shown.expect(r'"hello"\r?\n[^\n]*> ')
    shown.type("SUBSCRIBE news\r")
    shown.expect(r'"subscribe"')
    shown.end()


def help_text(server):
    shown = until_seen(server, [], r"127\.0\.0\.1:\d+> ")
    shown.type("help getex\r")
    shown.expect(r"GETEX key \[EX seconds")
    # Nobody but this server says it in these words.
    shown.expect(r"summary: Reads a value and may change how long its key lives\.")
    shown.end()


def main(arguments):
    if len(arguments) != 1:
        print(__doc__, file=sys.stderr)
        return 2
    for protocol in (2, 3):
        server = ["-p", arguments[0], *(["-3"] if protocol == 3 else [])]
        run(server, "FLUSHALL")
        mass = "".join(f"SET key:{n} {n}\n" for n in range(1000)) + f"SET big {'x' * 100000}\n"
        run(server, input=mass.encode())
        for test in (scan, big_keys, mem_keys, stat, latency, pipe, transaction, hints, help_text):
            test(server)
            print(f"redis-cli, RESP{protocol}: {test.__name__.replace('_', ' ')}: ok")
        run(server, "FLUSHALL")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
