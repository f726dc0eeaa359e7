#!/usr/bin/env python3
"""Measures what hostile clients cost the others of a kvserver, and how much memory they take.

Prints the latency of well-behaved clients (one request at a time, over ten connections) when it is quiet, beside 1,000
clients that send a byte a second, beside a flood of protocol errors, and during 10,000 connects a second, medians over the
rounds, taken in turn; then the memory under clients and subscribers that never read; then the processor time the server
takes for keys made to collide under a seed that is known, and for random keys.

Needs Linux and cargo. Uses Python's standard library only. The load comes from processes of its own, so on two cores the
figures hold what the load takes from everybody.
"""

import argparse
import multiprocessing
import os
import random
import resource
import signal
import socket
import statistics
import subprocess
import sys
import tempfile
import time

from server import HOME, Server, free_port

MIB = 1 << 20
MASK = (1 << 64) - 1


def request(*words):
    return b"*%d\r\n" % len(words) + b"".join(b"$%d\r\n%s\r\n" % (len(word), word) for word in words)


def connect(port):
    connection = socket.create_connection(("127.0.0.1", port), timeout=60)
    connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    return connection


def ask(connection, words, reply):
    connection.sendall(request(*words))
    got = b""
    while len(got) < len(reply):
        more = connection.recv(65536)
        if not more:
            raise SystemExit(f"the server closed the connection after {words[0]!r}")
        got += more
    if got != reply:
        raise SystemExit(f"{words[0]!r} was answered with {got[:100]!r}")


def latencies(port, seconds):
    """Microseconds of each request, one at a time."""
    connections = [connect(port) for _ in range(10)]
    took, number, end = [], 0, time.monotonic() + seconds
    while time.monotonic() < end:
        number += 1
        begun = time.perf_counter()
        ask(connections[number % 10], (b"SET", b"key:%d" % (number % 100), b"value"), b"+OK\r\n")
        took.append((time.perf_counter() - begun) * 1e6)
    took.sort()
    return took


# What disturbs: each runs in a process of its own until it is ended, and says when it has begun.

def a_byte_a_second(port, begun, done):
    whole = request(b"SET", b"slow", b"value")
    clients = [connect(port) for _ in range(1000)]
    begun.set()
    at = 0
    while True:
        for number, client in enumerate(clients):
            client.sendall(whole[at:at + 1])
            done.value += 1
            if number % 10 == 9:
                time.sleep(0.0095)
        at = (at + 1) % len(whole)
        if at == 0:
            for client in clients:
                if client.recv(16) != b"+OK\r\n":
                    raise SystemExit("a slow client was not answered")


def protocol_errors(port, begun, done):
    begun.set()
    while True:
        with connect(port) as client:
            client.sendall(b"*1\r\nx\r\n")
            while client.recv(1000):
                pass
        done.value += 1


def connects(port, begun, done, a_second):
    begun.set()
    start = time.monotonic()
    while True:
        try:
            client = socket.socket()
            client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
            client.connect(("127.0.0.1", port))
            client.close()
            done.value += 1
        except OSError:
            pass
        ahead = done.value / a_second - (time.monotonic() - start)
        if ahead > 0.01:
            time.sleep(ahead)


DISTURBANCES = [
    ("quiet", []),
    ("1,000 clients, a byte a second each", [(a_byte_a_second,)]),
    ("a flood of protocol errors", [(protocol_errors,)]),
    ("10,000 connects a second", [(connects, 5000), (connects, 5000)]),
]


def disturbed(port, disturbance, seconds):
    processes, counts = [], []
    for function, *rest in disturbance:
        begun, count = multiprocessing.Event(), multiprocessing.Value("q", 0, lock=False)
        process = multiprocessing.Process(target=function, args=(port, begun, count, *rest), daemon=True)
        process.start()
        begun.wait(60)
        processes.append(process)
        counts.append(count)
    before, start = sum(count.value for count in counts), time.monotonic()
    took = latencies(port, seconds)
    rate = (sum(count.value for count in counts) - before) / (time.monotonic() - start)
    for process in processes:
        if not process.is_alive():
            raise SystemExit("what disturbs ended early")
        process.terminate()
        process.join()
    return took, rate


def start_server(binary, directory, flags):
    port = free_port()
    place = tempfile.mkdtemp(prefix="kv-", dir=directory)
    server = Server("kv", [binary, "--memory-only", "--listen", f"resp://127.0.0.1:{port}", *flags], port, place)
    server.wait_until_it_answers()
    return server


def measure_latency(flags, binary, directory):
    print(f"\nLatency of well-behaved clients in microseconds, {flags.rounds} rounds of {flags.seconds} s, medians")
    print(f"  {'beside':<38}{'p50':>8}{'p99':>8}{'p99.9':>8}{'p99/quiet':>11}{'events/s':>10}   p99 of each round")
    server = start_server(binary, directory, flags.kv_flag)
    try:
        figures = {name: [] for name, _ in DISTURBANCES}
        for _ in range(flags.rounds):
            for name, disturbance in DISTURBANCES:
                took, rate = disturbed(server.port, disturbance, flags.seconds)
                part = [took[int(len(took) * share)] for share in (0.5, 0.99, 0.999)]
                figures[name].append((*part, rate))
        quiet = statistics.median(round_[1] for round_ in figures["quiet"])
        for name, rounds in figures.items():
            p50, p99, p999, rate = (statistics.median(column) for column in zip(*rounds))
            each = " ".join(f"{round_[1]:.0f}" for round_ in rounds)
            print(f"  {name:<38}{p50:>8.0f}{p99:>8.0f}{p999:>8.0f}{p99 / quiet:>11.2f}{rate:>10.0f}   {each}")
    finally:
        server.stop()


def settled_kib(server):
    """The server's memory once it has stood still for three seconds."""
    seen = [server.resident_kib()]
    while len(seen) < 4 or len(set(seen[-4:])) > 1:
        time.sleep(1)
        seen.append(server.resident_kib())
    return seen[-1]


def measure_memory(flags, binary, directory):
    print("\nMemory under clients that never read")
    server = start_server(binary, directory, flags.kv_flag)
    try:
        control = connect(server.port)
        ask(control, (b"SET", b"big", b"v" * MIB), b"+OK\r\n")
        before = server.resident_kib()
        stalled = [connect(server.port) for _ in range(200)]
        for client in stalled:
            client.sendall(request(b"GET", b"big") * 20)
        grown = (settled_kib(server) - before) / 1024
        print(f"  200 clients that asked for 20 MiB each: {grown:.0f} MiB; held at 1 MiB and a reply, 400 MiB")
    finally:
        server.stop()
    server = start_server(binary, directory, flags.kv_flag)
    try:
        control = connect(server.port)
        before = settled_kib(server)
        stalled = [connect(server.port) for _ in range(20)]
        for client in stalled:
            client.sendall(request(b"SUBSCRIBE", b"c"))
            client.recv(100)
        most, published, receivers = 0, 0, 20
        while receivers:
            control.sendall(request(b"PUBLISH", b"c", b"m" * 65536))
            receivers = int(control.recv(100)[1:])
            published += 1
            if published % 16 == 0:
                most = max(most, server.resident_kib() - before)
        print(f"  20 subscribers, dropped after {published // 16} MiB: {most / 1024:.0f} MiB at most; limit 20 x 32 = 640 MiB")
    finally:
        server.stop()


def folded_multiply(x, y):
    full = x * y
    return (full & MASK) ^ (full >> 64)


def seeds(seed):
    """The first two of the numbers that foldhash makes of a seed and combines the words of a key with."""
    for _ in range(2):
        for _ in range(3):
            seed = folded_multiply(seed, 0xbe5466cf34e90c6c)
        yield (seed | 1 << 63 | 1 << 31 | 1).to_bytes(8, "little")


def measure_collisions(flags, binary, directory):
    first, second = seeds(0x6b765f686173685f)
    numbers = [number.to_bytes(8, "little") for number in random.Random(1).sample(range(1 << 60), flags.keys)]
    source = random.Random(2)
    print(f"\nServer's processor time for {flags.keys} keys, each set once and read twice, microseconds a request")
    print(f"  {'bytes':<8}{'random keys':>14}{'made to collide':>18}{'ratio':>8}   ratio of each round")
    for size, tail in ((16, second), (24, first + first)):
        made = [number + tail for number in numbers]
        figures = {"random": [], "made": []}
        for _ in range(flags.rounds):
            for name in figures:
                keys = made if name == "made" else [source.randbytes(size) for _ in numbers]
                server = start_server(binary, directory, flags.kv_flag)
                try:
                    with connect(server.port) as connection:
                        before = server.cpu_seconds()
                        for words, reply in (((b"SET", b"v"), b"+OK\r\n"), ((b"GET",), b"$1\r\nv\r\n"), ((b"GET",), b"$1\r\nv\r\n")):
                            for at in range(0, len(keys), 500):
                                batch = keys[at:at + 500]
                                connection.sendall(b"".join(request(words[0], key, *words[1:]) for key in batch))
                                wanted = len(reply) * len(batch)
                                while wanted > 0:
                                    wanted -= len(connection.recv(65536))
                        figures[name].append((server.cpu_seconds() - before) / (3 * len(keys)) * 1e6)
                finally:
                    server.stop()
        one, two = (statistics.median(rounds) for rounds in figures.values())
        each = " ".join(f"{two / max(one, 1e-9):.2f}" for one, two in zip(*figures.values()))
        print(f"  {size:<8}{one:>14.3f}{two:>18.3f}{two / max(one, 1e-9):>8.2f}   {each}")


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--seconds", type=float, default=3)
    parser.add_argument("--keys", type=int, default=200_000)
    parser.add_argument("--only", choices=["latency", "memory", "collisions"], help="one of the three measurements")
    parser.add_argument("--binary", help="a kvserver that is already built; without it, it is built first")
    parser.add_argument("--kv-flag", action="append", default=[], help="one more flag for kvserver, e.g. --kv-flag=--loops=2")
    flags = parser.parse_args()
    binary = flags.binary
    if binary is None:
        subprocess.run(["cargo", "build", "--profile", "dist", "--locked", "-p", "kvserver"], cwd=HOME, check=True)
        binary = os.path.join(os.environ.get("CARGO_TARGET_DIR", os.path.join(HOME, "target")), "dist", "kvserver")
    binary = os.path.abspath(binary)
    hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))
    print(subprocess.run([binary, "--version"], capture_output=True, text=True, check=True).stdout.strip())
    print(f"{os.cpu_count()} cores; flags: kv --memory-only {' '.join(flags.kv_flag)}")
    measurements = {"latency": measure_latency, "memory": measure_memory, "collisions": measure_collisions}
    with tempfile.TemporaryDirectory(prefix="kvbench-") as directory:
        for name, measure in measurements.items():
            if flags.only in (None, name):
                measure(flags, binary, directory)


if __name__ == "__main__":
    main()
