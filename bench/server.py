#!/usr/bin/env python3
"""Measures kvserver beside redis-server, in turn, in one run.

Prints, for SET and GET at several pipeline depths, the CPU time the server process spends on one request (user plus
system, from /proc) and the requests a second, medians over the rounds; then the memory of 1,000 idle connections.

Needs Linux, cargo, and redis-server and redis-benchmark in PATH. Uses Python's standard library only. Both servers
listen on 127.0.0.1 on ports that were free a moment before, keep their files in a temporary directory, and write
no log of changes to a promise: `--durability os` on one side, `--save "" --appendonly no` on the other.
"""

import argparse
import csv
import os
import resource
import shutil
import signal
import socket
import statistics
import subprocess
import sys
import tempfile
import time

HOME = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
TICKS = os.sysconf("SC_CLK_TCK")


class Server:
    """One server process, started here and stopped here."""

    def __init__(self, name, argv, port, directory):
        self.name, self.port = name, port
        self.log = open(os.path.join(directory, name + ".log"), "wb")
        self.process = subprocess.Popen(
            argv, cwd=directory, stdin=subprocess.DEVNULL, stdout=self.log, stderr=subprocess.STDOUT)

    def wait_until_it_answers(self):
        give_up = time.monotonic() + 30
        while time.monotonic() < give_up:
            if self.process.poll() is not None:
                break
            try:
                with socket.create_connection(("127.0.0.1", self.port), timeout=1) as connection:
                    connection.sendall(b"*1\r\n$4\r\nPING\r\n")
                    if connection.recv(64).startswith(b"+PONG"):
                        return
            except OSError:
                time.sleep(0.05)
        self.log.flush()
        with open(self.log.name, "rb") as log:
            tail = log.read()[-2000:].decode(errors="replace")
        raise SystemExit(f"{self.name} does not answer on port {self.port}:\n{tail}")

    def cpu_seconds(self):
        """User plus system time of all its threads so far."""
        with open(f"/proc/{self.process.pid}/stat", encoding="ascii", errors="replace") as stat:
            fields = stat.read().rpartition(")")[2].split()
        return (int(fields[11]) + int(fields[12])) / TICKS

    def resident_kib(self):
        # VmRSS in status lags behind by some pages a thread; the rollup counts.
        with open(f"/proc/{self.process.pid}/smaps_rollup", encoding="ascii", errors="replace") as rollup:
            for line in rollup:
                if line.startswith("Rss:"):
                    return int(line.split()[1])
        raise SystemExit(f"{self.name}: no Rss in smaps_rollup")

    def stop(self):
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGTERM)
            try:
                self.process.wait(10)
            except subprocess.TimeoutExpired:
                self.process.kill()
                self.process.wait()
        self.log.close()


def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def start(flags, binary, directory, which):
    port = free_port()
    place = tempfile.mkdtemp(prefix=which + "-", dir=directory)
    if which == "kv":
        argv = [binary, "--dir", os.path.join(place, "data"), "--durability", "os",
                "--listen", f"resp://127.0.0.1:{port}", *flags.kv_flag]
    else:
        argv = ["redis-server", "--port", str(port), "--bind", "127.0.0.1", "--dir", place,
                "--save", "", "--appendonly", "no", "--daemonize", "no", *flags.redis_flag]
    return Server(which, argv, port, place)


def fill(port, keys, value_bytes):
    """Stores every key redis-benchmark -r will name, so that every GET hits."""
    value = b"x" * value_bytes
    with socket.create_connection(("127.0.0.1", port), timeout=30) as connection:
        for first in range(0, keys, 1000):
            batch = range(first, min(first + 1000, keys))
            connection.sendall(b"".join(
                b"*3\r\n$3\r\nSET\r\n$16\r\nkey:%012d\r\n$%d\r\n%s\r\n" % (key, value_bytes, value) for key in batch))
            wanted, got = 5 * len(batch), b""
            while len(got) < wanted:
                more = connection.recv(65536)
                if not more:
                    raise SystemExit("the server closed the connection while keys were stored")
                got += more
            if got != b"+OK\r\n" * len(batch):
                raise SystemExit(f"unexpected reply while keys were stored: {got[:100]!r}")


def load(flags, server, command, pipeline, requests):
    """One redis-benchmark run. Answers (CPU microseconds of the server a request, requests a second)."""
    argv = ["redis-benchmark", "-h", "127.0.0.1", "-p", str(server.port), "-t", command.lower(), "-n", str(requests),
            "-c", str(flags.clients), "-P", str(pipeline), "-r", str(flags.keys), "-d", str(flags.value_bytes), "--csv"]
    before = server.cpu_seconds()
    done = subprocess.run(argv, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
                          timeout=300, check=False)
    cpu = server.cpu_seconds() - before
    for row in csv.reader(done.stdout.splitlines()):
        if len(row) > 1 and row[0].upper() == command:
            return cpu / requests * 1e6, float(row[1])
    raise SystemExit(f"redis-benchmark against {server.name} gave no figure:\n{done.stdout}")


def measure_requests(flags, binary, directory):
    servers = [start(flags, binary, directory, "kv"), start(flags, binary, directory, "redis")]
    try:
        for server in servers:
            server.wait_until_it_answers()
            fill(server.port, flags.keys, flags.value_bytes)
        print(f"\nCPU of the server a request, {flags.clients} clients, {flags.keys} keys of 16 B, values of "
              f"{flags.value_bytes} B, median of {flags.rounds} rounds taken in turn (kv, redis, kv, redis, ...)")
        print(f"  {'command':<8}{'pipeline':>9}{'kv us':>10}{'redis us':>10}{'kv/redis':>10}"
              f"{'kv req/s':>12}{'redis req/s':>12}{'kv/redis':>10}   kv/redis CPU of each round")
        for pipeline in flags.pipeline:
            requests = int(flags.requests * min(pipeline, 10) ** 0.7)
            for command in ("SET", "GET"):
                figures = {server.name: [] for server in servers}
                for server in servers:
                    load(flags, server, command, pipeline, requests // 10)
                for _ in range(flags.rounds):
                    for server in servers:
                        figures[server.name].append(load(flags, server, command, pipeline, requests))
                cpu = {name: statistics.median(round_[0] for round_ in rounds) for name, rounds in figures.items()}
                rate = {name: statistics.median(round_[1] for round_ in rounds) for name, rounds in figures.items()}
                each = " ".join(f"{kv[0] / max(redis[0], 1e-9):.2f}" for kv, redis in zip(figures["kv"], figures["redis"]))
                print(f"  {command:<8}{pipeline:>9}{cpu['kv']:>10.3f}{cpu['redis']:>10.3f}{cpu['kv'] / cpu['redis']:>10.2f}"
                      f"{rate['kv']:>12.0f}{rate['redis']:>12.0f}{rate['kv'] / rate['redis']:>10.2f}   {each}", flush=True)
    finally:
        for server in servers:
            server.stop()


def measure_memory(flags, binary, directory):
    print(f"\nResident memory with {flags.idle} idle connections, no keys")
    print(f"  {'server':<8}{'before KiB':>12}{'with KiB':>12}{'KiB each':>10}")
    resident = {}
    for which in ("kv", "redis"):
        server = start(flags, binary, directory, which)
        connections = []
        try:
            server.wait_until_it_answers()
            before = server.resident_kib()
            for _ in range(flags.idle):
                connection = socket.create_connection(("127.0.0.1", server.port), timeout=10)
                connections.append(connection)
                connection.sendall(b"*1\r\n$4\r\nPING\r\n")
                if not connection.recv(64).startswith(b"+PONG"):
                    raise SystemExit(f"{which}: connection {len(connections)} is not served")
            time.sleep(2)
            resident[which] = server.resident_kib()
            each = (resident[which] - before) / flags.idle
            print(f"  {which:<8}{before:>12}{resident[which]:>12}{each:>10.2f}", flush=True)
        finally:
            for connection in connections:
                connection.close()
            server.stop()
    print(f"  kv/redis with connections: {resident['kv'] / resident['redis']:.2f}")


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--pipeline", type=int, nargs="+", default=[1, 16, 64])
    parser.add_argument("--requests", type=int, default=200_000, help="of one round at pipeline 1; deeper ones send more")
    parser.add_argument("--clients", type=int, default=50)
    parser.add_argument("--keys", type=int, default=100_000)
    parser.add_argument("--value-bytes", type=int, default=100)
    parser.add_argument("--idle", type=int, default=1000)
    parser.add_argument("--binary", help="a kvserver that is already built; without it, it is built first")
    parser.add_argument("--kv-flag", action="append", default=[], help="one more flag for kvserver, e.g. --kv-flag=--loops=1")
    parser.add_argument("--redis-flag", action="append", default=[], help="one more word for redis-server")
    flags = parser.parse_args()

    missing = [tool for tool in ("redis-server", "redis-benchmark") if shutil.which(tool) is None]
    if missing:
        raise SystemExit(f"missing: {', '.join(missing)} (Debian and Ubuntu: apt-get install redis-server redis-tools)")
    binary = flags.binary
    if binary is None:
        subprocess.run(["cargo", "build", "--release", "--locked", "-p", "kvserver"], cwd=HOME, check=True)
        binary = os.path.join(os.environ.get("CARGO_TARGET_DIR", os.path.join(HOME, "target")), "release", "kvserver")
    binary = os.path.abspath(binary)

    hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    for tool in (["redis-server", "--version"], [binary, "--version"]):
        print(subprocess.run(tool, capture_output=True, text=True, check=True).stdout.strip())
    print(f"{os.cpu_count()} cores; flags: kv --durability os {' '.join(flags.kv_flag)}; "
          f"redis --save '' --appendonly no {' '.join(flags.redis_flag)}")
    # Left through an exception or a signal, both servers still stop.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))
    with tempfile.TemporaryDirectory(prefix="kvbench-") as directory:
        measure_requests(flags, binary, directory)
        measure_memory(flags, binary, directory)


if __name__ == "__main__":
    main()
