#!/usr/bin/env python3
"""Measures kvserver beside redis-server, in turn, in one run, with `kvclient bench`.

Prints, for SET and GET at several pipeline depths, the processor time a request of the server (as its INFO says) and the
requests a second: medians over the rounds, and the ratio kv / redis with its spread. Then the memory of 1,000 idle
connections.

Needs Linux, cargo, and redis-server in PATH. Uses Python's standard library only. Both servers listen on 127.0.0.1 on
ports that were free a moment before, keep their files in a temporary directory, and write no log of changes to a promise:
`--durability os` on one side, `--save "" --appendonly no` on the other.
"""

import argparse
import json
import os
import resource
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time

HOME = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))


class Server:
    """One server process, started here and stopped here."""

    def __init__(self, name, argv, port, directory):
        self.name, self.port = name, port
        self.log = open(os.path.join(directory, name + ".log"), "wb")
        self.process = subprocess.Popen(
            argv, cwd=directory, stdin=subprocess.DEVNULL, stdout=self.log, stderr=subprocess.STDOUT)

    def wait_until_ready(self):
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


def compare(flags, client, servers, command, pipeline):
    """Runs the load test against both servers in turn. Returns the ratios of all requests, by metric."""
    requests = int(flags.requests * min(pipeline, 10) ** 0.7) // flags.clients
    urls = [word for server in servers for word in ("-u", f"redis://127.0.0.1:{server.port}")]
    argv = [client, *urls, "bench", "--connections", flags.clients, "--requests", requests, "--pipeline", pipeline,
            "--ratio", 1 if command == "SET" else 0, "--keys", flags.keys, "--key-size", 16, "--value-size", flags.value_bytes,
            "--rounds", flags.rounds]
    done = subprocess.run([str(word) for word in argv], stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                          stderr=subprocess.PIPE, text=True, timeout=1200, check=False)
    if done.returncode != 0:
        raise SystemExit(f"the load test failed:\n{done.stderr}")
    ratios = json.loads(done.stdout)["comparison"]["ratios"]
    return {ratio["metric"]: ratio for ratio in ratios if ratio["operation"] == "all"}


def measure_requests(flags, binary, client, directory):
    servers = [start(flags, binary, directory, which) for which in ("redis", "kv")]
    try:
        for server in servers:
            server.wait_until_ready()
        print(f"\n{flags.clients} clients, {flags.keys} keys of 16 B, values of {flags.value_bytes} B, medians of {flags.rounds} "
              "rounds taken in turn; CPU: that of the server, a request")
        print(f"  {'command':<8}{'pipeline':>9}{'kv us':>10}{'redis us':>10}{'kv/redis':>10}{'spread':>16}"
              f"{'kv req/s':>12}{'redis req/s':>12}{'kv/redis':>10}{'spread':>16}")
        for pipeline in flags.pipeline:
            for command in ("SET", "GET"):
                ratios = compare(flags, client, servers, command, pipeline)
                cpu, rate = ratios["cpu"], ratios["rps"]
                spread = lambda ratio: f"{ratio['ratio_min']:.2f} to {ratio['ratio_max']:.2f}"
                print(f"  {command:<8}{pipeline:>9}{cpu['subject']:>10.3f}{cpu['baseline']:>10.3f}{cpu['ratio']:>10.2f}{spread(cpu):>16}"
                      f"{rate['subject']:>12.0f}{rate['baseline']:>12.0f}{rate['ratio']:>10.2f}{spread(rate):>16}", flush=True)
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
            server.wait_until_ready()
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
    parser.add_argument("--requests", type=int, default=200_000, help="of a server in a round at pipeline 1; deeper ones send more")
    parser.add_argument("--clients", type=int, default=50)
    parser.add_argument("--keys", type=int, default=100_000)
    parser.add_argument("--value-bytes", type=int, default=100)
    parser.add_argument("--idle", type=int, default=1000)
    parser.add_argument("--binaries", metavar="DIR", help="where kvserver and kvclient are; without it, they are built first")
    parser.add_argument("--kv-flag", action="append", default=[], help="one more flag for kvserver, e.g. --kv-flag=--loops=1")
    parser.add_argument("--redis-flag", action="append", default=[], help="one more word for redis-server")
    flags = parser.parse_args()

    if shutil.which("redis-server") is None:
        raise SystemExit("missing: redis-server (Debian and Ubuntu: apt-get install redis-server)")
    built = os.path.join(os.environ.get("CARGO_TARGET_DIR", os.path.join(HOME, "target")), "dist")
    if flags.binaries is None:
        subprocess.run(["cargo", "build", "--profile", "dist", "--locked", "-p", "kvserver", "-p", "kvclient"], cwd=HOME, check=True)
    binary, client = (os.path.abspath(os.path.join(flags.binaries or built, name)) for name in ("kvserver", "kvclient"))

    hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    for tool in (["redis-server", "--version"], [binary, "--version"], [client, "--version"]):
        print(subprocess.run(tool, capture_output=True, text=True, check=True).stdout.strip())
    print(f"{os.cpu_count()} cores; flags: kv --durability os {' '.join(flags.kv_flag)}; "
          f"redis --save '' --appendonly no {' '.join(flags.redis_flag)}")
    # Left through an exception or a signal, both servers still stop.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))
    with tempfile.TemporaryDirectory(prefix="kvbench-") as directory:
        measure_requests(flags, binary, client, directory)
        measure_memory(flags, binary, directory)


if __name__ == "__main__":
    main()
