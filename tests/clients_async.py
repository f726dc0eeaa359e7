"""Drives a kvserver that it starts itself with redis-py's asyncio client, over RESP2 and RESP3, and restarts it under
that client and under the blocking one.

usage: clients_async.py PROGRAM

Prints a line for each thing it did. Exits with 0 when every answer was right, with 1 after the first wrong one, with 2
when called wrongly. The server lives on a port and in a directory of its own, and ends with this program.
"""

import asyncio
import socket
import subprocess
import sys
import tempfile
import time

import redis
import redis.asyncio

PATIENCE_S = 30.0


def equal(found, expected):
    if found != expected:
        raise AssertionError(f"expected {expected!r}, received {found!r}")


class Server:
    """A kvserver of our own, on one port for its whole life, however often it is started."""

    def __init__(self, program, directory):
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            self.port = probe.getsockname()[1]
        self.words = [program, "--dir", directory, "--listen", f"resp://127.0.0.1:{self.port}"]
        self.process = None

    def start(self):
        quiet = subprocess.DEVNULL
        self.process = subprocess.Popen(self.words, stdin=quiet, stdout=quiet, stderr=quiet)
        end = time.monotonic() + PATIENCE_S
        while True:
            try:
                socket.create_connection(("127.0.0.1", self.port), 1).close()
                return
            except OSError:
                if time.monotonic() > end or self.process.poll() is not None:
                    raise
                time.sleep(0.01)

    def restart(self):
        self.process.terminate()
        equal(self.process.wait(PATIENCE_S), 0)
        self.start()

    def kill(self):
        if self.process is not None:
            self.process.kill()
            self.process.wait()


async def basics(client, _connect):
    equal(await client.set("k", b"\x00\xff"), True)
    equal(await client.get("k"), b"\x00\xff")
    equal(await client.get("nothing"), None)
    equal(await client.set("e", "v", ex=100), True)
    if not 90 <= await client.ttl("e") <= 100:
        raise AssertionError("SET EX sets a time to live")
    equal(await client.expire("e", 1000), True)
    equal(await client.incr("n", 5), 5)
    equal(sorted([key async for key in client.scan_iter()]), [b"e", b"k", b"n"])


async def pipeline(client, _connect):
    async with client.pipeline(transaction=False) as batch:
        for number in range(1000):
            batch.set(f"k{number}", number).get(f"k{number}")
        replies = await batch.execute()
    equal(replies, [reply for number in range(1000) for reply in (True, str(number).encode())])
    # Many at once, over as many connections.
    equal(await asyncio.gather(*(client.get(f"k{n}") for n in range(50))), [str(n).encode() for n in range(50)])


async def transaction(client, connect):
    async with client.pipeline(transaction=True) as batch:
        equal(await batch.set("k", "1").incr("k").get("k").execute(), [True, 2, b"2"])
    other = connect()
    async with client.pipeline() as batch:
        await batch.watch("k")
        await other.set("k", "disturbed")
        batch.multi()
        batch.set("k", "lost")
        try:
            await batch.execute()
        except redis.WatchError:
            pass
        else:
            raise AssertionError("a watched key changed, and EXEC was executed")
    equal(await client.get("k"), b"disturbed")
    await other.aclose()


async def next_message(subscriber):
    end = time.monotonic() + PATIENCE_S
    while True:
        message = await subscriber.get_message(timeout=1.0)
        if message is not None:
            return message
        if time.monotonic() > end:
            raise AssertionError(f"waited {PATIENCE_S} s in vain for a message")


async def publish_and_subscribe(client, connect):
    subscriber = connect().pubsub()
    await subscriber.subscribe("news")
    equal((await next_message(subscriber))["type"], "subscribe")
    equal(await client.publish("news", "hello"), 1)
    message = await next_message(subscriber)
    equal((message["type"], message["channel"], message["data"]), ("message", b"news", b"hello"))
    await subscriber.aclose()


async def drive(server, protocol):
    def connect():
        return redis.asyncio.Redis(port=server.port, protocol=protocol, socket_timeout=PATIENCE_S)

    for test in (basics, pipeline, transaction, publish_and_subscribe):
        client = connect()
        await client.flushall()
        await test(client, connect)
        await client.aclose()
        print(f"asyncio, RESP{protocol}: {test.__name__}: ok")
    client = connect()
    await client.set("kept", "over a restart")
    server.restart()
    equal(await client.get("kept"), b"over a restart")
    await client.aclose()
    print(f"asyncio, RESP{protocol}: reconnect: ok")


def reconnect_blocking(server, protocol):
    client = redis.Redis(port=server.port, protocol=protocol, socket_timeout=PATIENCE_S)
    subscriber = client.pubsub()
    subscriber.subscribe("news")
    equal(subscriber.get_message(timeout=PATIENCE_S)["type"], "subscribe")
    client.set("kept", "still")
    server.restart()
    equal(client.get("kept"), b"still")
    # It subscribes again by itself, and says so once more.
    equal(subscriber.get_message(timeout=PATIENCE_S)["type"], "subscribe")
    equal(client.publish("news", "again"), 1)
    equal(subscriber.get_message(timeout=PATIENCE_S)["data"], b"again")
    subscriber.close()
    client.close()
    print(f"blocking, RESP{protocol}: reconnect: ok")


def main(arguments):
    if len(arguments) != 1:
        print(__doc__, file=sys.stderr)
        return 2
    with tempfile.TemporaryDirectory() as directory:
        server = Server(arguments[0], directory)
        try:
            server.start()
            for protocol in (2, 3):
                asyncio.run(drive(server, protocol))
                reconnect_blocking(server, protocol)
        finally:
            server.kill()
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
