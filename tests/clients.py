"""Drives a running kvserver with redis-py, the Python client, over RESP2 and RESP3.

usage: clients.py HOST PORT

Prints a line for each thing it did. Exits with 0 when every answer was right, with 1 after the first wrong one,
with 2 when called wrongly. The server's data is removed: never point it at one that holds anything dear.
"""

import sys
import time
import warnings

import redis

# SETEX and its like are old, and exactly therefore in use.
warnings.simplefilter("ignore", DeprecationWarning)

PATIENCE_S = 30.0


def equal(found, expected):
    if found != expected:
        raise AssertionError(f"expected {expected!r}, received {found!r}")


def true(found, what):
    if not found:
        raise AssertionError(what)


def until(what, look):
    """Looks until `look` answers something true; the pause only keeps the core free."""
    end = time.monotonic() + PATIENCE_S
    while True:
        found = look()
        if found:
            return found
        if time.monotonic() > end:
            raise AssertionError(f"waited {PATIENCE_S} s in vain for {what}")
        time.sleep(0.002)


def set_and_get(client, _connect):
    equal(client.ping(), True)
    equal(client.set("k", "v"), True)
    equal(client.get("k"), b"v")
    equal(client.get("nothing"), None)
    equal(client.set("k", "other", nx=True), None)
    equal(client.set("k", "w", get=True), b"v")
    every_byte = bytes(range(256))
    client.set(every_byte, every_byte)
    equal(client.get(every_byte), every_byte)
    equal(client.incr("n", 41), 41)
    equal(client.incrbyfloat("f", 10.5), 10.5)
    equal(client.append("k", "x"), 2)
    equal(client.strlen("k"), 2)
    equal(client.type("k"), b"string")
    equal(client.rename("k", "l"), True)
    equal(client.getdel("l"), b"wx")
    large = b"L" * 2_000_000
    client.set("large", large)
    equal(client.get("large"), large)
    equal(sorted(client.scan_iter(match="[fn]")), [b"f", b"n"])


def many_at_once(client, _connect):
    equal(client.mset({"a": "1", "b": "2", "c": "3"}), True)
    equal(client.mget("a", "b", "nothing", "c"), [b"1", b"2", None, b"3"])
    equal(client.msetnx({"c": "4", "d": "4"}), False)
    equal(client.exists("a", "b", "d"), 2)
    equal(client.setex("e", 100, "v"), True)
    true(90 <= client.ttl("e") <= 100, "SETEX sets a time to live")
    equal(client.dbsize(), 4)
    # The aliases are no commands of Redis', so the client sends their words and shows the bare reply.
    equal(client.execute_command("DELETE", "a"), 1)
    equal(client.execute_command("DELETE", "a"), 0)
    equal(client.execute_command("REMOVE", "b", "nothing"), 1)
    equal(client.execute_command("PRINT"), [b"c", b"e"])
    equal(client.execute_command("FLUSH"), 2)
    equal(client.execute_command("FLUSH"), 0)
    equal(client.dbsize(), 0)


def expire(client, _connect):
    client.set("k", "v")
    equal(client.ttl("k"), -1)
    equal(client.expire("k", 100), True)
    true(90 <= client.ttl("k") <= 100, "EXPIRE sets a time to live")
    equal(client.expire("k", 50, nx=True), False)
    equal(client.persist("k"), True)
    equal(client.ttl("k"), -1)
    equal(client.expireat("k", 33177117420), True)
    equal(client.expiretime("k"), 33177117420)
    equal(client.expire("nothing", 1), False)
    equal(client.pexpire("k", 50), True)
    until("the end of a key", lambda: client.get("k") is None)
    equal(client.ttl("k"), -2)


def pipeline(client, _connect):
    with client.pipeline(transaction=False) as batch:
        for number in range(1000):
            batch.set(f"k{number}", number)
            batch.get(f"k{number}")
        replies = batch.execute()
    equal(replies, [reply for number in range(1000) for reply in (True, str(number).encode())])


def transaction(client, connect):
    with client.pipeline(transaction=True) as batch:
        batch.set("k", "1")
        batch.incr("k")
        batch.get("k")
        equal(batch.execute(), [True, 2, b"2"])

    # The first try is disturbed after its WATCH, so it must be refused, and the second one counts on.
    other = connect()
    tries = []

    def count_on(batch):
        old = int(batch.get("k"))
        if not tries:
            other.set("k", "10")
        tries.append(old)
        batch.multi()
        batch.set("k", old + 1)

    client.transaction(count_on, "k")
    equal(tries, [2, 10])
    equal(client.get("k"), b"11")

    with client.pipeline() as batch:
        batch.watch("k")
        other.set("k", "disturbed")
        batch.multi()
        batch.set("k", "lost")
        try:
            batch.execute()
        except redis.WatchError:
            pass
        else:
            raise AssertionError("a watched key changed, and EXEC was executed")
    equal(client.get("k"), b"disturbed")


def pubsub(client, connect):
    subscriber = connect().pubsub()
    subscriber.subscribe("news")
    subscriber.psubscribe("weather.*")

    def next_message():
        return until("a message", lambda: subscriber.get_message(timeout=PATIENCE_S))

    equal(next_message()["type"], "subscribe")
    equal(next_message()["type"], "psubscribe")
    equal(client.pubsub_numsub("news"), [(b"news", 1)])
    equal(client.publish("news", "hello"), 1)
    equal(client.publish("weather.sea", "calm"), 1)
    equal(client.publish("sport", "nobody"), 0)
    message = next_message()
    equal((message["type"], message["channel"], message["data"]), ("message", b"news", b"hello"))
    message = next_message()
    equal(
        (message["type"], message["pattern"], message["channel"], message["data"]),
        ("pmessage", b"weather.*", b"weather.sea", b"calm"),
    )
    subscriber.close()
    until("the end of the subscription", lambda: client.publish("news", "gone") == 0)


def snapshots(client, _connect):
    client.set("k", "v")
    before = client.lastsave()
    equal(client.save(), True)
    saved = client.lastsave()
    true(saved >= before, f"LASTSAVE went back from {before} to {saved}")
    client.set("k", "w")
    # The client turns this reply into True over RESP2 alone.
    true(client.bgsave() in (True, b"Background saving started"), "BGSAVE")
    until("the end of BGSAVE", lambda: client.info("persistence")["rdb_bgsave_in_progress"] == 0)
    equal(client.info("persistence")["rdb_last_bgsave_status"], "ok")
    true(client.lastsave() >= saved, "BGSAVE moves LASTSAVE on")


def server(client, connect):
    equal(client.info("server")["redis_version"], "7.2.4")
    true(client.config_get("maxclients")["maxclients"], "CONFIG GET")
    true(int(client.command_count()) > 50, "COMMAND COUNT")
    true("get" in client.command(), "COMMAND lists GET")
    equal(client.client_setname("driver"), True)
    equal(client.client_getname() in (b"driver", "driver"), True)
    true(any(line["name"] == "driver" for line in client.client_list()), "CLIENT LIST")
    true(abs(client.time()[0] - time.time()) < 3600, "TIME")
    equal(client.echo("hey"), b"hey")
    try:
        client.execute_command("NONSENSE", "a")
    except redis.ResponseError as error:
        true("unknown command 'NONSENSE'" in str(error), str(error))
    else:
        raise AssertionError("an unknown command was answered")
    elsewhere = connect(db=1)
    elsewhere.set("k", "one")
    equal(client.get("k"), None)
    equal(elsewhere.flushdb(), True)
    equal(client.flushall(), True)


def main(arguments):
    if len(arguments) != 2 or not arguments[1].isdigit():
        print(__doc__, file=sys.stderr)
        return 2
    host, port = arguments[0], int(arguments[1])
    print(f"redis-py {redis.__version__} on {host}:{port}")
    tests = [set_and_get, many_at_once, expire, pipeline, transaction, pubsub, snapshots, server]
    for protocol in (2, 3):

        def connect(db=0, protocol=protocol):
            return redis.Redis(host=host, port=port, db=db, protocol=protocol, socket_timeout=PATIENCE_S)

        for test in tests:
            client = connect()
            name = f"RESP{protocol} {test.__name__}"
            try:
                client.flushall()
                test(client, connect)
            except Exception as error:  # whatever it is, the exit code must tell
                print(f"{name}: FAILED: {type(error).__name__}: {error}")
                raise SystemExit(1) from error
            finally:
                client.close()
            print(f"{name}: ok")
    print(f"{2 * len(tests)} passed, 0 failed")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
