#!/usr/bin/env python3
"""Counts the instructions kvserver spends on one SET and one GET, with callgrind: the same whatever else the machine does.

Each command is sent N and 3 N times, in batches that are one read each; the difference is what 2 N requests cost,
without start and stop. Only the event loop is counted: other threads wake by the clock, however many requests come.
Compare two builds by giving both binaries: the second one's figures are shown over the first's.

Needs Linux and valgrind in PATH. Listens on 127.0.0.1 on a port that was free a moment before.
"""

import argparse
import os
import re
import signal
import socket
import subprocess
import tempfile
import time

KEYS, VALUE = 1000, b"x" * 100
# A pattern: builds differ in where the module is.
LOOP = "*event_loop::EventLoop::run"


def request(*words):
    return b"*%d\r\n" % len(words) + b"".join(b"$%d\r\n%s\r\n" % (len(word), word) for word in words)


def converse(port, command, count, batch):
    """Sends `count` requests in batches, each batch once all replies to the one before have come."""
    with socket.create_connection(("127.0.0.1", port), timeout=120) as connection:
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)

        def ask(requests, reply_bytes):
            connection.sendall(b"".join(requests))
            while reply_bytes > 0:
                got = connection.recv(65536)
                if not got:
                    raise SystemExit("the server closed the connection")
                reply_bytes -= len(got)

        keys = [b"key:%012d" % key for key in range(KEYS)]
        for first in range(0, KEYS, 50):
            ask([request(b"SET", key, VALUE) for key in keys[first:first + 50]], 50 * len(b"+OK\r\n"))
        one = {"SET": len(b"+OK\r\n"), "GET": len(b"$100\r\n") + len(VALUE) + 2}[command]
        for first in range(0, count, batch):
            named = [keys[(first + i) % KEYS] for i in range(batch)]
            words = [(b"SET", key, VALUE) if command == "SET" else (b"GET", key) for key in named]
            ask([request(*each) for each in words], batch * one)


def instructions(binary, flags, command, count, batch):
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    with tempfile.TemporaryDirectory(prefix="kvcount-") as directory:
        counts = os.path.join(directory, "counts")
        server = subprocess.Popen(
            ["valgrind", "--tool=callgrind", "--callgrind-out-file=" + counts, "--toggle-collect=" + LOOP, binary,
             "--dir", directory + "/data", "--durability", "os", "--loops", "1",
             "--listen", f"resp://127.0.0.1:{port}", *flags],
            stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        try:
            give_up = time.monotonic() + 60
            while True:
                try:
                    socket.create_connection(("127.0.0.1", port), timeout=1).close()
                    break
                except OSError:
                    if server.poll() is not None or time.monotonic() > give_up:
                        raise SystemExit(f"{binary} does not start under valgrind") from None
                    time.sleep(0.1)
            converse(port, command, count, batch)
        finally:
            server.send_signal(signal.SIGTERM)
            server.wait(60)
        total = 0
        with open(counts, encoding="utf-8") as lines:
            for line in lines:
                if found := re.match(r"(?:summary|totals):\s+(\d+)", line):
                    total = int(found[1])
        if total == 0:
            raise SystemExit(f"{binary} has no {LOOP}: was it stripped, or the event loop renamed?")
        return total


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("binary", nargs="+", help="one build of kvserver, or two to compare")
    parser.add_argument("--requests", type=int, default=32_000)
    parser.add_argument("--batch", type=int, default=32)
    parser.add_argument("--kv-flag", action="append", default=[], help="one more flag for kvserver")
    flags = parser.parse_args()
    for command in ("SET", "GET"):
        each = []
        for binary in flags.binary:
            few, many = (
                instructions(os.path.abspath(binary), flags.kv_flag, command, count, flags.batch)
                for count in (flags.requests, 3 * flags.requests))
            each.append((many - few) / (2 * flags.requests))
            print(f"{command}  {each[-1]:8.1f} instructions a request  {binary}", flush=True)
        if len(each) > 1:
            print(f"{command}  {each[1] / each[0]:8.3f} x")


if __name__ == "__main__":
    main()
