#!/usr/bin/env python3
"""Opens the HTML report of kvclient bench in headless Chromium and compares it with the JSON it was made from.

usage: report.py KVCLIENT [--report FILE.json]... [--keep DIR]

Renders docs/bench-example.json, reports made up here (a long run with errors and text that looks like markup, a
comparison, large values), and those given with --report. Of each page it checks:

- each number of its tables is that of the JSON, to the digits that are shown;
- in each chart, pixels of each line's colour are painted; in light, in dark, at 360 px, and for paper;
- the console is silent, and nothing but the file itself is requested;
- at 360 px the page is not wider than the window; a table that is wider scrolls in its own box;
- without JavaScript the tables are there.

That the checks can fail is shown first, on pages that are broken on purpose. --keep writes screenshots and a PDF of each
page to DIR. Chromium is driven through a pipe (the DevTools protocol), so nothing but Python is needed. Where there is no
Chromium it says so and exits with 0. Exit code 1: something is not as it should be.
"""

import argparse
import base64
import copy
import json
import math
import os
import random
import re
import select
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
TIMEOUT_S = 60
MARKUP = "</script><script>alert(1)</script><!-- <b>&amp;"


# --- Chromium ----------------------------------------------------------------------------------------------------------


class Chromium:
    """A headless Chromium; commands and events are JSON, each ended by a zero byte, on its descriptors 3 and 4."""

    def __init__(self, program, directory):
        to_browser, self.commands = os.pipe()
        self.replies, from_browser = os.pipe()
        self.log = open(os.path.join(directory, "chromium.log"), "wb")
        flags = "--headless=new --disable-gpu --no-sandbox --no-first-run --disable-extensions --disable-dev-shm-usage"
        flags += " --disable-background-networking --hide-scrollbars --remote-debugging-pipe"
        words = [program, *flags.split(), f"--user-data-dir={directory}/profile", "about:blank"]
        # The shell gives the pipes the numbers that Chromium expects.
        script = f'exec "$@" 3<&{to_browser} 4>&{from_browser}'
        self.process = subprocess.Popen(
            ["bash", "-c", script, "bash", *words],
            pass_fds=(to_browser, from_browser), stdin=subprocess.DEVNULL, stdout=self.log, stderr=self.log,
        )
        os.close(to_browser)
        os.close(from_browser)
        self.buffer = b""
        self.next_id = 0
        self.events = []

    def message(self):
        deadline = time.monotonic() + TIMEOUT_S
        while b"\0" not in self.buffer:
            ready, _, _ = select.select([self.replies], [], [], max(0, deadline - time.monotonic()))
            chunk = os.read(self.replies, 1 << 20) if ready else b""
            if not chunk:
                raise RuntimeError("Chromium ended, or says nothing")
            self.buffer += chunk
        text, _, self.buffer = self.buffer.partition(b"\0")
        return json.loads(text)

    def call(self, method, session=None, **params):
        self.next_id += 1
        command = {"id": self.next_id, "method": method, "params": params}
        if session:
            command["sessionId"] = session
        os.write(self.commands, json.dumps(command).encode() + b"\0")
        while True:
            message = self.message()
            if message.get("id") == self.next_id:
                if "error" in message:
                    raise RuntimeError(f"{method}: {message['error']}")
                return message["result"]
            self.events.append(message)

    def wait_for(self, method, session):
        while True:
            for event in self.events:
                if event.get("method") == method and event.get("sessionId") == session:
                    return
            self.events.append(self.message())

    def close(self):
        try:
            self.call("Browser.close")
        except (RuntimeError, OSError):
            self.process.kill()
        self.process.wait()
        self.log.close()


class Page:
    """A tab with one page, in a window of a width, with a colour scheme."""

    def __init__(self, chromium, path, width=1280, dark=False, script=True):
        self.chromium = chromium
        target = chromium.call("Target.createTarget", url="about:blank")["targetId"]
        self.session = chromium.call("Target.attachToTarget", targetId=target, flatten=True)["sessionId"]
        chromium.events.clear()
        for domain in ("Page", "Runtime", "Log", "Network"):
            self.call(f"{domain}.enable")
        self.call("Emulation.setDeviceMetricsOverride", width=width, height=900, deviceScaleFactor=1, mobile=width < 500)
        scheme = {"name": "prefers-color-scheme", "value": "dark" if dark else "light"}
        self.call("Emulation.setEmulatedMedia", features=[scheme])
        if not script:
            self.call("Emulation.setScriptExecutionDisabled", value=True)
        self.call("Page.navigate", url=Path(path).as_uri())
        chromium.wait_for("Page.loadEventFired", self.session)
        if script:
            # Two frames: what observers of sizes cause is painted, too.
            self.run("new Promise((done) => requestAnimationFrame(() => requestAnimationFrame(() => done(0))))")

    def call(self, method, **params):
        return self.chromium.call(method, self.session, **params)

    def run(self, script):
        done = self.call("Runtime.evaluate", expression=script, returnByValue=True, awaitPromise=True)
        if "exceptionDetails" in done:
            raise RuntimeError(f"{done['exceptionDetails']}")
        return done["result"].get("value")

    def noise(self):
        """What the console shows, and what was requested besides the file."""
        noise = []
        for event in self.chromium.events:
            if event.get("sessionId") != self.session:
                continue
            method, params = event["method"], event["params"]
            if method in ("Runtime.consoleAPICalled", "Runtime.exceptionThrown", "Log.entryAdded"):
                noise.append(f"console: {json.dumps(params)[:300]}")
            if method == "Network.requestWillBeSent" and params.get("type") != "Document":
                noise.append(f"request: {params['request']['url'][:300]}")
        return noise

    def screenshot(self, path):
        size = self.call("Page.getLayoutMetrics")["cssContentSize"]
        clip = {"x": 0, "y": 0, "width": size["width"], "height": size["height"], "scale": 1}
        shot = self.call("Page.captureScreenshot", format="png", clip=clip, captureBeyondViewport=True)
        Path(path).write_bytes(base64.b64decode(shot["data"]))

    def close(self):
        self.call("Page.close")


# Each figure, with the number of pixels that have the colour of each of its lines, or one between it and the page's.
PAINTED = """
[...document.querySelectorAll("figure[data-chart]")].map((figure) => {
  const canvas = figure.querySelector("canvas");
  const name = `${figure.dataset.chart} ${figure.dataset.run ?? ""}`.trim();
  if (!canvas) return { name, lines: [], width: 0 };
  const { data } = canvas.getContext("2d").getImageData(0, 0, canvas.width, canvas.height);
  const lines = [...figure.querySelectorAll(".u-legend .u-series")].slice(1).map((row) => {
    const [r, g, b] = getComputedStyle(row.querySelector(".u-marker")).borderTopColor.match(/\\d+/g).map(Number);
    let pixels = 0;
    for (let at = 0; at < data.length; at += 4) {
      if (data[at + 3] > 200 && Math.abs(data[at] - r) + Math.abs(data[at + 1] - g) + Math.abs(data[at + 2] - b) < 24) pixels += 1;
    }
    return { label: row.querySelector(".u-label").textContent, pixels };
  });
  return { name, lines, width: figure.querySelector(".plot").clientWidth };
})
"""

TABLES = """
({
  tables: Object.fromEntries([...document.querySelectorAll("table.figures")].map((table) => [table.id, {
    caption: table.caption.textContent,
    rows: [...table.rows].map((row) => [...row.cells].map((cell) => cell.textContent)),
  }])),
  lists: Object.fromEntries([...document.querySelectorAll("dl")].map((list) => [list.id || list.className,
    Object.fromEntries([...list.querySelectorAll("dt")].map((name) => [name.textContent, name.nextElementSibling.textContent]))])),
  title: document.title,
  heading: document.querySelector("h1").textContent,
  time: document.querySelector("time")?.textContent,
  links: [...document.querySelectorAll("[src],[href],[onclick],[onload],[style]:not(.plot *)")].map((e) => e.outerHTML.slice(0, 100)),
  scripts: document.scripts.length,
})
"""


# --- what is expected --------------------------------------------------------------------------------------------------


def value_of(shown):
    """The number that a cell shows, in microseconds or bytes if it has such a unit; a share if it is in percent."""
    factors = {"µs": 1, "ms": 1e3, "s": 1e6, "%": 0.01, "bytes": 1, "KiB": 1 << 10, "MiB": 1 << 20, "GiB": 1 << 30}
    match = re.fullmatch(r"[<>≥≤]? ?(-?[\d,]+(?:\.\d+)?)(?: (\S+))?", shown.strip())
    if not match:
        return None
    return float(match[1].replace(",", "")) * factors[match[2] or "bytes"]


class Checks:
    """Collects what is wrong with a page."""

    def __init__(self):
        self.wrong = []
        self.compared = 0

    def that(self, holds, what):
        if not holds:
            self.wrong.append(what)

    def number(self, shown, wanted, where, factor=1.0):
        """`shown` is `wanted` to three digits; a dash if there is none."""
        self.compared += 1
        if wanted is None:
            return self.that(shown == "–", f"{where}: {shown!r} is shown where nothing was measured")
        got = value_of(shown)
        near = got is not None and math.isclose(got * factor, wanted, rel_tol=0.005, abs_tol=0.0006 * factor)
        # Counts are shown in full.
        near = near and (factor != 1.0 or not isinstance(wanted, int) or got == wanted)
        self.that(near, f"{where}: {shown!r} is shown, the JSON has {wanted}")

    def text(self, shown, wanted, where):
        self.compared += 1
        self.that(shown == wanted, f"{where}: {shown!r} is shown, not {wanted!r}")

    def table(self, shown, name, rows, latencies=()):
        """`rows`: for each, its first cell or None, and what its columns hold: numbers, None, or text."""
        table = shown["tables"].get(name)
        if table is None:
            return self.that(not rows, f"the table {name} is missing")
        unit = 1e3 if re.search(r"latency in ms", table["caption"], re.IGNORECASE) else 1.0
        head, *body = table["rows"]
        self.that(len(body) == len(rows), f"{name}: {len(body)} rows, not {len(rows)}")
        for cells, wanted in zip(body, rows):
            for column, value in wanted.items():
                where = f"{name}, row {cells[0]!r}, column {column!r}"
                if column not in head:
                    self.that(False, f"{where}: there is no such column")
                    continue
                cell = cells[head.index(column)]
                if isinstance(value, str):
                    self.text(cell, value, where)
                else:
                    self.number(cell, value, where, unit if column in latencies else 1.0)


LATENCIES = {"Min": "min", "Mean": "mean", "Std. dev.": "stddev", "p50": "p50", "p90": "p90", "p95": "p95", "p99": "p99",
             "p99.9": "p99_9", "Max": "max"}
OUTCOMES = {"target_met": "✓ target met", "minimum_met": "~ minimum met", "missed": "✗ missed", "not_measured": "– not measured"}


def summary_row(name, summary):
    row = {"Operation": name, "Count": summary["count"], "Hits": summary["hits"], "Misses": summary["misses"],
           "Errors": summary["errors"], "Hit rate": summary["hit_rate"], "Requests/s": summary["requests_per_second"]}
    return row | {column: (summary["latency_us"] or {}).get(field) for column, field in LATENCIES.items()}


def server_name(server):
    protocol = {"resp": "RESP"}.get(server["protocol"], server["protocol"])
    database = f", database {server['database']}" if server["database"] else ""
    return f"{server['address']} ({protocol}{database})"


def check_text(checks, report, shown):
    """What the page says is what the JSON says."""
    tables = shown["tables"]
    runs = report["runs"]
    for index, run in enumerate(runs):
        rows = [summary_row(operation["name"], operation) for operation in run["operations"]]
        rows.append(summary_row("All", run["totals"]))
        pick = lambda columns: [{column: row[column] for column in columns} for row in rows]
        checks.table(shown, f"operations-{index}", pick(("Operation", "Count", "Hits", "Misses", "Errors", "Hit rate", "Requests/s")))
        checks.table(shown, f"latency-{index}", pick(("Operation", *LATENCIES)), LATENCIES)
        kinds = [(kind, operation["name"], times) for operation in run["operations"]
                 for kind, times in operation["errors_by_kind"].items()]
        kinds.sort(key=lambda kind: -kind[2])
        checks.table(shown, f"errors-{index}", [dict(zip(("Error", "Operation", "Count"), kind)) for kind in kinds])
        about = shown["lists"][f"run-{index}"]
        checks.text(about["Server"], run["server"]["address"], f"run {index}, server")
        checks.number(about["Keys loaded before"], run["loaded_keys"], f"run {index}, loaded keys")
        checks.number(about["Elapsed"], run["elapsed_s"] * 1e6, f"run {index}, elapsed")
        if run.get("server_cpu_us") is not None:
            checks.number(about["Server's processor time a request"], run["server_cpu_us"], f"run {index}, server")
    if len(runs) > 1:
        fields = {column: LATENCIES[column] for column in ("Mean", "p50", "p99", "p99.9", "Max")}
        rows = [{"Round": run["round"], "Server": server_name(run["server"]), "Ended": run["ended"],
                 "Requests/s": run["totals"]["requests_per_second"], "Errors": run["totals"]["errors"]}
                | {column: run["totals"]["latency_us"][field] for column, field in fields.items()} for run in runs]
        checks.table(shown, "runs", rows, LATENCIES)
    if len(runs) == 1:
        totals = runs[0]["totals"]
        tiles = shown["lists"]["tiles"]
        wanted = {"Requests/s": totals["requests_per_second"], "Requests": totals["count"], "Errors": totals["errors"]}
        # A tile without a value is left out.
        if totals["latency_us"]:
            wanted |= {"Latency, mean": totals["latency_us"]["mean"], "Latency, p99": totals["latency_us"]["p99"]}
        for name, value in wanted.items():
            checks.number(tiles[name], value, f"tile {name}")
    checks.table(shown, "verdicts", [
        {"Reached": verdict["value"], "Target": verdict["target"], "Minimum": verdict["minimum"],
         "Verdict": OUTCOMES[verdict["outcome"]]} for verdict in report["verdicts"]])
    checks.table(shown, "conditions", [
        {"--fail-if": condition["condition"], "Server": condition["server"], "Round": condition["round"],
         "Measured": condition["value"], "Outcome": "✗ failed" if condition["failed"] else "✓ passed"}
        for condition in report["fail_if"]])
    if report["comparison"]:
        checks.table(shown, "comparison", [
            {"Baseline": ratio["baseline"], "Subject": ratio["subject"], "Ratio": ratio["ratio"],
             "Lowest": ratio["ratio_min"], "Highest": ratio["ratio_max"]} for ratio in report["comparison"]["ratios"]])
    if report["large"]:
        fields = {"mean": "mean_us", "p99": "p99_us", "low": "mean_us_min", "high": "mean_us_max"}
        columns = {f"{operation.upper()} {name}": (operation, field)
                   for operation in ("set", "get") for name, field in fields.items()}
        checks.table(shown, "large", [
            {"Key": cell["key_bytes"], "Value": cell["value_bytes"], "Requests": cell["set"]["count"] + cell["get"]["count"],
             "Errors": cell["set"]["errors"] + cell["get"]["errors"]}
            | {column: cell[operation][field] for column, (operation, field) in columns.items()}
            for cell in report["large"]["cells"]], columns)
    settings = shown["lists"]["settings"]
    for name, field in {"Connections": "connections", "Pipeline": "pipeline", "Threads": "threads", "Keys": "keys",
                        "Key size": "key_size", "Seed": "seed"}.items():
        checks.number(settings[name], report["settings"][field], f"setting {name}")
    checks.text(settings["Distribution of keys"], report["settings"]["distribution"], "setting distribution")
    for name, field in {"Processor": "processor", "System": "system", "kvclient": "kvclient_version"}.items():
        checks.text(shown["lists"]["machine"][name], report["machine"][field], f"machine, {name}")
    started = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(report["started_unix_ms"] // 1000))
    checks.text(shown["time"], started, "the time")
    checks.text(shown["heading"], shown["title"], "the heading")
    checks.that(not shown["links"], f"the page refers to something, or has inline code: {shown['links']}")
    checks.that(shown["scripts"] == 3, f"{shown['scripts']} scripts, not 3")
    checks.that(tables, "there are no tables")


def check_charts(checks, report, page, when):
    """The charts that the report has data for are there, and all their lines are painted."""
    wanted = set()
    for index, run in enumerate(report["runs"]):
        if any(operation["percentiles"] for operation in run["operations"]):
            wanted.add(f"percentiles {index}")
        if run["series"]["points"]:
            wanted |= {f"latency {index}", f"throughput {index}"}
    if len(report["runs"]) > 1 and any(run["totals"]["percentiles"] for run in report["runs"]):
        wanted.add("runs")
    wanted |= {"large-set", "large-get"} if report["large"] else set()
    painted = page.run(PAINTED)
    checks.that({figure["name"] for figure in painted} == wanted, f"{when}: the charts are {painted}, not {wanted}")
    for figure in painted:
        names = [line["label"] for line in figure["lines"]]
        kind, _, run = figure["name"].partition(" ")
        if kind == "percentiles":
            expected = [operation["name"] for operation in report["runs"][int(run)]["operations"]
                        if operation["percentiles"]]
            checks.that(names == expected, f"{when}: {figure['name']} has the lines {names}, not {expected}")
        checks.that(names, f"{when}: {figure['name']} has no line")
        for line in figure["lines"]:
            # A line across the chart has more; a short run has few points.
            checks.that(line["pixels"] > 30, f"{when}: {figure['name']}, {line['label']}: {line['pixels']} pixels")


MODES = (("light", 1280, False), ("dark", 1280, True), ("narrow", 360, False))


def check_page(chromium, path, report, keep=None, modes=MODES):
    """Returns what is wrong with a page, and how many numbers and words were compared."""
    checks = Checks()
    for when, width, dark in modes:
        page = Page(chromium, path, width, dark)
        check_charts(checks, report, page, when)
        if when == "light":
            check_text(checks, report, page.run(TABLES))
        wide = page.run("[document.documentElement.scrollWidth, innerWidth]")
        checks.that(wide[0] <= wide[1] == width, f"{when}: the page is {wide[0]} px wide in a window of {wide[1]}")
        background = page.run("getComputedStyle(document.body).backgroundColor.match(/\\d+/g).map(Number)")
        checks.that((sum(background) < 384) == dark, f"{when}: the background is {background}")
        noise = page.noise()
        checks.that(not noise, f"{when}: {noise}")
        if keep:
            page.screenshot(f"{keep}-{when}.png")
        if when == "dark":
            # On paper it is light, and no chart is wider than the sheet.
            page.run("dispatchEvent(new Event('beforeprint'))")
            page.call("Emulation.setEmulatedMedia", media="print", features=[{"name": "prefers-color-scheme", "value": "dark"}])
            check_charts(checks, report, page, "paper")
            text = page.run("getComputedStyle(document.body).color.match(/\\d+/g).map(Number)")
            checks.that(sum(text) < 384, f"paper: the text's colour is {text}")
            widths = page.run("[...document.querySelectorAll('canvas')].map((canvas) => canvas.clientWidth)")
            checks.that(max(widths, default=0) <= 700, f"paper: charts are {widths} px wide")
            page.run("dispatchEvent(new Event('afterprint'))")
            if keep:
                pdf = page.call("Page.printToPDF", printBackground=False)
                Path(f"{keep}.pdf").write_bytes(base64.b64decode(pdf["data"]))
        page.close()
    return checks


def check_without_script(chromium, path, report):
    checks = Checks()
    page = Page(chromium, path, script=False)
    # The page's scripts are off; this one is the debugger's, and sees the document only.
    document = page.call("DOM.getDocument", depth=-1)
    html = page.call("DOM.getOuterHTML", nodeId=document["root"]["nodeId"])["outerHTML"]
    checks.that("<canvas" not in html, "charts were drawn although scripts are off")
    checks.that("The charts need JavaScript" in html or not report["runs"], "nothing says that the charts need JavaScript")
    for run in report["runs"]:
        shown = f"{round(run['totals']['requests_per_second']):,}"
        checks.that(f">{shown}<" in html, f"without scripts {shown} requests per second are not shown")
    page.close()
    return checks


# --- reports to render -------------------------------------------------------------------------------------------------


def summary(count, hits, errors, seconds, middle, rng):
    """A made-up summary: a middle, and a tail that grows with each nine."""
    percentiles = []
    percentile, latency = 0.0, middle * 0.3
    while percentile < 100 and 1 - percentile / 100 > 1 / count:
        percentiles.append({"percentile": round(percentile, 6), "latency_us": round(latency, 1)})
        percentile += (100 - percentile) / 8
        latency *= 1 + rng.uniform(0.01, 0.09)
    percentiles.append({"percentile": 100.0, "latency_us": round(latency * 1.1, 1)})
    at = lambda wanted: next(point["latency_us"] for point in percentiles if point["percentile"] >= wanted)
    return {
        "count": count, "hits": hits, "misses": 0, "hit_rate": 1.0 if hits else None, "errors": errors,
        "errors_by_kind": {}, "requests_per_second": count / seconds,
        "latency_us": {"min": at(0), "mean": middle * 1.04, "stddev": middle * 0.4, "p50": at(50), "p90": at(90), "p95": at(95),
                       "p99": at(99), "p99_9": at(99.9), "max": at(100)},
        "percentiles": percentiles,
    }


def made_up_run(rng, number, address, seconds, per_second, middle):
    count = int(seconds * per_second)
    put, get = summary(count // 2, 0, 0, seconds, middle * 1.15, rng), summary(count - count // 2, count // 2, 0, seconds, middle, rng)
    points = []
    for step in range(seconds * 10):
        stall = 4 if step % 97 == 60 else 1
        points.append({"t_ms": step * 100, "requests": int(per_second / 10 / stall * rng.uniform(0.93, 1.05)), "errors": 0,
                       "mean_us": middle * stall, "p50_us": middle * stall * rng.uniform(0.97, 1.04),
                       "p99_us": middle * 2.1 * stall ** 2 * rng.uniform(0.9, 1.3)})
    return {
        "round": number, "ended": "completed", "failure": None, "loaded_keys": 1000000, "elapsed_s": seconds - 0.02,
        "server_cpu_us": rng.uniform(2, 20),
        "server": {"address": address, "protocol": "resp", "database": 0, "software": "kvserver", "version": "0.1.0"},
        "totals": summary(count, count // 2, 0, seconds, middle * 1.07, rng),
        "operations": [{"name": "PUT", **put}, {"name": "GET", **get}], "series": {"interval_ms": 100, "points": points},
    }


def made_up(example):
    """Reports that the example is not: by name."""
    rng = random.Random(1)
    load = copy.deepcopy(example)
    run = made_up_run(rng, 1, "10.0.0.17:6379", 30, 182345.6, 231.7)
    kinds = {"MISCONF Errors writing to the log: No space left on device": 1200, MARKUP: 34}
    run["operations"][0] |= {"errors": 1234, "errors_by_kind": kinds}
    run["totals"] |= {"errors": 1234, "errors_by_kind": kinds}
    for point in run["series"]["points"][100:140]:
        point["errors"] = point["requests"] // 3
    # A server that stood still: no reply in these intervals.
    for point in run["series"]["points"][200:210]:
        point |= {"requests": 0, "mean_us": None, "p50_us": None, "p99_us": None}
    load |= {"runs": [run], "ended": "interrupted", "failure": f"a text that looks like markup: {MARKUP}"}
    load["machine"]["system"] = MARKUP
    load["verdicts"][1]["outcome"] = "minimum_met"
    load["verdicts"][2] |= {"outcome": "missed", "value": 1234567.0}
    load["verdicts"][4] |= {"outcome": "not_measured", "value": None}
    load["fail_if"] = [{"condition": "PUT.p99.9>1ms", "server": "10.0.0.17:6379", "round": 1, "value": 1301.5, "failed": True},
                       {"condition": "hit_rate<0.9", "server": "10.0.0.17:6379", "round": 1, "value": None, "failed": True}]

    compared = copy.deepcopy(example)
    runs = []
    for number in range(1, 4):
        runs.append(made_up_run(rng, number, "127.0.0.1:6379", 4, 110000 + rng.uniform(-2000, 2000), 310))
        runs.append(made_up_run(rng, number, "127.0.0.1:7171", 4, 141000 + rng.uniform(-2000, 2000), 244))
    ratios = [(name, metric, base, ratio, spread) for name in ("all", "PUT", "GET") for metric, base, ratio, spread in (
        ("rps", 110345.0, 1.283, 0.04), ("mean", 310.2, 0.787, 0.03), ("p50", 301.0, 1.01, 0.05), ("p99", 803.0, 1.22, 0.1),
        ("p99.9", 120500.0, 0.9, 0.0))]
    compared |= {"kind": "comparison", "runs": runs, "verdicts": [], "fail_if": [], "comparison": {
        "baseline": "127.0.0.1:6379", "subject": "127.0.0.1:7171", "ratios": [
            {"operation": name, "metric": metric, "baseline": base, "subject": base * ratio, "ratio": ratio,
             "ratio_min": ratio - spread, "ratio_max": ratio + spread} for name, metric, base, ratio, spread in ratios]}}

    large = copy.deepcopy(example)
    cells = []
    for key in (16, 1024, 65536):
        for value in (0, 100, 1024, 65536, 1 << 20, 64 << 20):
            of = lambda factor: {"count": 300, "errors": 0, "mean_us": factor * (80 + (key + value) / 900), "p99_us": factor * (190 + (key + value) / 400),
                                 "mean_us_min": factor * (75 + (key + value) / 950), "mean_us_max": factor * (99 + (key + value) / 800)}
            cells.append({"key_bytes": key, "value_bytes": value, "set": of(1.3), "get": of(1.0)})
    large |= {"kind": "large", "runs": [], "verdicts": [], "fail_if": [], "large": {
        "server": {"address": "unix:///run/kv.sock", "protocol": "resp", "database": 0, "software": "redis", "version": "7.0.15"},
        "repeats": 3, "requests": 100, "cells": cells}}
    return {"load": load, "comparison": compared, "large": large}


# --- the checks themselves ---------------------------------------------------------------------------------------------


def spoiled(page):
    """Pages that are broken on purpose, each with a word of what must be found."""
    yield "another number", page.replace(">4,990<", ">4,991<"), "operations-0"
    yield "another latency", page.replace(">455<", ">465<"), "p99"
    yield "a script that is not allowed", page.replace("// Draws", "// draws"), "has no line"
    yield "a request", page.replace("<main>", '<main><img src="http://127.0.0.1:9/x.png" alt="">'), "refers to"
    yield "inline code", page.replace("<main>", '<main onclick="alert(1)">'), "inline code"
    yield "too wide", page.replace("<main>", "<main><pre>" + "wide" * 400 + "</pre>"), "wide in a window"
    yield "the JSON is cut", page.replace('id="report">{', 'id="report">'), "console"


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("kvclient")
    parser.add_argument("--report", action="append", default=[], type=Path)
    parser.add_argument("--keep", type=Path)
    flags = parser.parse_args()
    program = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
    if program is None:
        print("   skipped: Chromium is not installed")
        return 0
    example = json.loads((ROOT / "docs/bench-example.json").read_text())
    reports = {"example": example, **made_up(example)}
    reports |= {path.stem: json.loads(path.read_text()) for path in flags.report}
    if flags.keep:
        flags.keep.mkdir(parents=True, exist_ok=True)
    failed = False
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as scratch:
        chromium = Chromium(program, scratch)
        try:
            for name, report in reports.items():
                source, target = Path(scratch, f"{name}.json"), Path(scratch, f"{name}.html")
                source.write_text(json.dumps(report))
                subprocess.run([flags.kvclient, "bench", "--from", source, "--html", target], check=True)
                if name == "example":
                    for what, page, word in spoiled(target.read_text()):
                        path = Path(scratch, "spoiled.html")
                        path.write_text(page)
                        found = check_page(chromium, path, report, modes=MODES[:1]).wrong
                        if page == target.read_text() or not any(word in wrong for wrong in found):
                            failed = True
                            print(f"   a spoiled page was not found out: {what}: {found}")
                checks = check_page(chromium, target, report, flags.keep and flags.keep / name)
                without = check_without_script(chromium, target, report)
                wrong = checks.wrong + without.wrong
                failed = failed or bool(wrong)
                print(f"   {name}: {checks.compared} values compared, {len(wrong)} wrong; {target.stat().st_size >> 10} KiB")
                for line in wrong[:20]:
                    print(f"      {line}")
        finally:
            chromium.close()
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
