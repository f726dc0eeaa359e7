// Drives a kvserver that it starts itself with ioredis and node-redis, over RESP2 and RESP3, and restarts it under them.
//
// usage: clients.mjs PROGRAM MODULES      PROGRAM: a kvserver; MODULES: the directory whose node_modules has the clients
//
// Prints a line for each thing it did. Exits with 0 when every answer was right, else with 1.
// Invariant: the server lives on a port and in a directory of its own, and ends with this program.

import assert from "node:assert/strict";
import { spawn } from "node:child_process";
import { mkdtempSync, rmSync } from "node:fs";
import { createRequire } from "node:module";
import { createServer, connect as connectSocket } from "node:net";
import { tmpdir } from "node:os";
import { join, resolve } from "node:path";

const PATIENCE_MS = 30_000;
const [program, modules] = process.argv.slice(2);
if (!program || !modules) {
  console.error("usage: clients.mjs PROGRAM MODULES");
  process.exit(2);
}
const require = createRequire(join(resolve(modules), "anything.js"));
const Redis = require("ioredis");
const nodeRedis = require("redis");

// Looks until `look` answers something true; what it throws is an answer that is not there yet.
async function until(what, look) {
  const end = Date.now() + PATIENCE_MS;
  for (;;) {
    try {
      const found = await look();
      if (found) return found;
    } catch (error) {
      if (Date.now() > end) throw error;
    }
    if (Date.now() > end) throw new Error(`waited ${PATIENCE_MS} ms in vain for ${what}`);
    await new Promise((after) => setTimeout(after, 5));
  }
}

function freePort() {
  return new Promise((found) => {
    const probe = createServer();
    probe.listen(0, "127.0.0.1", () => {
      const { port } = probe.address();
      probe.close(() => found(port));
    });
  });
}

const dir = mkdtempSync(join(tmpdir(), "kv-clients-"));
const port = await freePort();
let server;

async function start() {
  server = spawn(program, ["--dir", dir, "--listen", `resp://127.0.0.1:${port}`], { stdio: "ignore" });
  await until("the server", () => new Promise((answer) => {
    const socket = connectSocket(port, "127.0.0.1", () => socket.write("PING\r\n"));
    socket.on("data", (data) => { answer(String(data).startsWith("+PONG")); socket.destroy(); });
    socket.on("error", () => answer(false));
  }));
}

async function stop() {
  const ended = new Promise((end) => server.once("exit", (code, signal) => end(signal ?? code)));
  server.kill("SIGTERM");
  const late = new Promise((end) => setTimeout(end, PATIENCE_MS, "nothing yet").unref());
  assert.equal(await Promise.race([ended, late]), 0, "how the server ended");
}

// What both clients are asked for, in the words of each.
function ioredis() {
  const options = { host: "127.0.0.1", port, retryStrategy: () => 20, maxRetriesPerRequest: null };
  return {
    name: "ioredis, RESP2",
    async open() {
      const client = new Redis(options);
      client.on("error", () => {});
      return client;
    },
    close: (client) => client.disconnect(),
    set: (client, key, value) => client.set(key, value),
    setFor: (client, key, value, seconds) => client.set(key, value, "EX", seconds),
    get: (client, key) => client.get(key),
    expire: (client, key, seconds) => client.expire(key, seconds),
    ttl: (client, key) => client.ttl(key),
    mget: (client, keys) => client.mget(keys),
    async pipeline(client, count) {
      const batch = client.pipeline();
      for (let n = 0; n < count; n++) batch.set(`p${n}`, n).get(`p${n}`);
      return (await batch.exec()).map(([error, reply]) => { assert.equal(error, null); return reply; });
    },
    async transaction(client) {
      return (await client.multi().set("t", "1").incr("t").get("t").exec()).map(([, reply]) => reply);
    },
    async lost(client, other) {
      await client.watch("w");
      await other.set("w", "disturbed");
      return await client.multi().set("w", "lost").exec() === null;
    },
    async subscribe(client, channel, heard) {
      client.on("message", (from, message) => heard(from, message));
      await client.subscribe(channel);
    },
    publish: (client, channel, message) => client.publish(channel, message),
    async scan(client) {
      const keys = [];
      for await (const some of client.scanStream({ match: "p*", count: 100 })) keys.push(...some);
      return keys;
    },
    fails: (client) => client.call("NONSENSE"),
    flush: (client) => client.flushall(),
  };
}

function nodeRedisOver(RESP) {
  return {
    name: `node-redis, RESP${RESP}`,
    async open() {
      const socket = { host: "127.0.0.1", port, reconnectStrategy: () => 20 };
      const client = nodeRedis.createClient({ socket, RESP });
      client.on("error", () => {});
      return client.connect();
    },
    close: (client) => client.destroy(),
    set: (client, key, value) => client.set(key, value),
    setFor: (client, key, value, seconds) => client.set(key, value, { EX: seconds }),
    get: (client, key) => client.get(key),
    expire: (client, key, seconds) => client.expire(key, seconds),
    ttl: (client, key) => client.ttl(key),
    mget: (client, keys) => client.mGet(keys),
    async pipeline(client, count) {
      const replies = [];
      for (let n = 0; n < count; n++) replies.push(client.set(`p${n}`, String(n)), client.get(`p${n}`));
      return Promise.all(replies);
    },
    transaction: (client) => client.multi().set("t", "1").incr("t").get("t").exec(),
    async lost(client, other) {
      await client.watch("w");
      await other.set("w", "disturbed");
      try {
        await client.multi().set("w", "lost").exec();
        return false;
      } catch (error) {
        return error instanceof nodeRedis.WatchError;
      }
    },
    subscribe: (client, channel, heard) => client.subscribe(channel, (message, from) => heard(from, message)),
    publish: (client, channel, message) => client.publish(channel, message),
    async scan(client) {
      const keys = [];
      for await (const some of client.scanIterator({ MATCH: "p*", COUNT: 100 })) keys.push(...[some].flat());
      return keys;
    },
    fails: (client) => client.sendCommand(["NONSENSE"]),
    flush: (client) => client.flushAll(),
  };
}

async function drive(kind) {
  const client = await kind.open();
  const other = await kind.open();
  const subscriber = await kind.open();
  const step = async (what, run) => {
    await run();
    console.log(`${kind.name}: ${what}: ok`);
  };
  await kind.flush(client);
  await step("set, get", async () => {
    assert.equal(await kind.set(client, "k", "vä\r\n"), "OK");
    assert.equal(await kind.get(client, "k"), "vä\r\n");
    assert.equal(await kind.get(client, "nothing"), null);
    assert.deepEqual(await kind.mget(client, ["k", "nothing"]), ["vä\r\n", null]);
  });
  await step("expire", async () => {
    await kind.setFor(client, "e", "v", 100);
    assert.ok(await kind.ttl(client, "e") > 90);
    assert.equal(Number(await kind.expire(client, "e", 1000)), 1);
    assert.ok(await kind.ttl(client, "e") > 900);
  });
  await step("pipeline", async () => {
    const replies = await kind.pipeline(client, 1000);
    assert.equal(replies.length, 2000);
    replies.forEach((reply, at) => assert.equal(reply, at % 2 === 0 ? "OK" : String((at - 1) / 2)));
    assert.equal((await kind.scan(client)).length, 1000);
  });
  await step("transaction", async () => {
    assert.deepEqual(await kind.transaction(client), ["OK", 2, "2"]);
    assert.ok(await kind.lost(client, other), "a watched key changed, and EXEC was executed");
    assert.equal(await kind.get(client, "w"), "disturbed");
  });
  await step("error", () => assert.rejects(async () => kind.fails(client), /unknown command 'NONSENSE'/));
  const heard = [];
  await step("publish and subscribe", async () => {
    await kind.subscribe(subscriber, "news", (channel, message) => heard.push([channel, message]));
    assert.equal(await kind.publish(client, "news", "hello"), 1);
    await until("a message", () => heard.length === 1);
    assert.deepEqual(heard, [["news", "hello"]]);
  });
  await step("reconnect", async () => {
    await stop();
    await start();
    // Every client comes back by itself, the subscriber with its subscription; the data is there.
    assert.equal(await until("the client", () => kind.get(client, "w")), "disturbed");
    await until("the subscriber", async () => Number(await kind.publish(other, "news", "again")) === 1);
    await until("a message", () => heard.at(-1)[1] === "again");
  });
  for (const one of [client, other, subscriber]) kind.close(one);
}

let code = 0;
try {
  await start();
  for (const kind of [ioredis(), nodeRedisOver(2), nodeRedisOver(3)]) await drive(kind);
  // This version of ioredis speaks no RESP3.
  console.log("every answer was right");
} catch (error) {
  console.log(`FAILED: ${error.stack}`);
  code = 1;
} finally {
  server?.kill("SIGKILL");
  rmSync(dir, { recursive: true, force: true });
}
process.exit(code);
