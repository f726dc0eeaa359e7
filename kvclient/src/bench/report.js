// Draws the charts of the HTML report of kvclient bench from the JSON that is embedded in it.
// Invariant: it only adds charts. Every number that matters is already in the page as text, and nothing is requested.
"use strict";
(() => {
  const report = JSON.parse(document.getElementById("report").textContent);
  const root = document.documentElement;
  const PAPER_WIDTH = 640;
  // The smallest latency that a logarithmic scale shows.
  const LEAST_US = 0.1;

  // --- numbers ---------------------------------------------------------------------------------------------------

  const grouped = new Intl.NumberFormat("en-US", { maximumSignificantDigits: 3 });
  const exact = new Intl.NumberFormat("en-US", { maximumFractionDigits: 3 });
  const whole = new Intl.NumberFormat("en-US", { maximumFractionDigits: 0 });

  const latency = (us) =>
    us < 1000 ? `${grouped.format(us)} µs` : us < 1e6 ? `${grouped.format(us / 1000)} ms` : `${grouped.format(us / 1e6)} s`;
  const rate = (perSecond) => `${whole.format(perSecond)}/s`;
  const shortRate = (perSecond) =>
    perSecond < 1000 ? `${grouped.format(perSecond)}/s`
    : perSecond < 1e6 ? `${grouped.format(perSecond / 1000)} k/s`
    : `${grouped.format(perSecond / 1e6)} M/s`;
  const bytes = (count) => {
    const units = ["B", "KiB", "MiB", "GiB"];
    let unit = 0;
    while (count >= 1024 && unit < units.length - 1) {
      count /= 1024;
      unit += 1;
    }
    return `${exact.format(count)} ${units[unit]}`;
  };
  // Shows a digit more for each further nine: 50 %, 99.9 %, 99.99 %.
  const percent = (value) => {
    const nines = Math.ceil(-Math.log10(Math.max(1 - value / 100, 1e-10)));
    return `${Number(value.toFixed(Math.max(nines, 1)))} %`;
  };

  // --- what charts have in common --------------------------------------------------------------------------------

  const FONT = "12px system-ui, sans-serif";
  const ruler = document.createElement("canvas").getContext("2d");
  ruler.font = FONT;

  const color = (name) => getComputedStyle(root).getPropertyValue(name).trim();
  const seriesColor = (index) => color(`--series-${(index % 6) + 1}`);

  /** Returns 1, 2 and 5 times the powers of ten from `min` to `max`, or the powers alone if those are many. */
  function logSplits(min, max) {
    const steps = Math.log10(max / min) > 3 ? [1] : [1, 2, 5];
    const splits = [];
    for (let power = Math.floor(Math.log10(min)); power <= Math.ceil(Math.log10(max)); power += 1) {
      for (const step of steps) {
        const split = step * 10 ** power;
        if (split >= min && split <= max) splits.push(split);
      }
    }
    return splits;
  }

  /** Replaces labels that would touch the one before them by nothing. */
  function withoutCollisions(plot, splits, scale, labels) {
    let free = -Infinity;
    return labels.map((label, index) => {
      if (label === "") return "";
      const half = ruler.measureText(label).width / 2;
      const at = plot.valToPos(splits[index], scale);
      if (at - half < free) return "";
      free = at + half + 8;
      return label;
    });
  }

  function axis(more) {
    return {
      stroke: color("--muted"),
      font: FONT,
      grid: { stroke: color("--grid"), width: 1 },
      ticks: { stroke: color("--line"), width: 1, size: 5 },
      ...more,
    };
  }

  function line(label, index, show, more) {
    return {
      label,
      stroke: seriesColor(index),
      width: 2,
      // Told apart without colours, too.
      dash: index % 2 ? [7, 4] : undefined,
      spanGaps: false,
      value: (_, value) => (value == null ? "" : show(value)),
      ...more,
    };
  }

  const LEGEND = { markers: { dash: (plot, index) => (plot.series[index].dash ? "dashed" : "solid") } };

  const positive = (value) => (value == null ? value : Math.max(value, LEAST_US));

  const LOG = {
    distr: 3,
    range: (_, min, max) => (min == null ? [1, 1000] : [min / 1.25, max * 1.25]),
  };
  const FROM_ZERO = { range: (_, min, max) => [0, max == null || max === 0 ? 1 : max * 1.1] };

  function latencyAxis(log) {
    return axis({
      size: 66,
      values: (_, splits) => splits.map((split) => (split === 0 ? "0" : latency(split))),
      ...(log ? { splits: (plot) => logSplits(plot.scales.y.min, plot.scales.y.max), filter: (_, splits) => splits } : {}),
    });
  }

  // The value nearest to the pointer, although another curve may have its points elsewhere.
  const nearest = (plot, series, index) => {
    const values = plot.data[series];
    for (let step = 0; step < values.length; step += 1) {
      if (values[index - step] != null) return index - step;
      if (values[index + step] != null) return index + step;
    }
    return index;
  };

  // --- the charts ------------------------------------------------------------------------------------------------

  /** Latency over percentile: x is log10(1 / (1 - p)), so that each further nine has the same width. */
  function percentileChart(curves) {
    const percentileAt = new Map();
    const tables = curves.map(({ count, percentiles }) => {
      const xs = [];
      const ys = [];
      // A hundredth part of a hundred requests is one: 100 % stands where the last single request does.
      const last = Math.log10(Math.max(count, 2));
      for (const point of percentiles) {
        const x = Math.min(last, -Math.log10(Math.max(1 - point.percentile / 100, 1e-12)));
        if (x === xs[xs.length - 1]) ys[ys.length - 1] = positive(point.latency_us);
        else {
          xs.push(x);
          ys.push(positive(point.latency_us));
        }
        percentileAt.set(x, point.percentile);
      }
      return [xs, ys];
    });
    return {
      data: uPlot.join(tables),
      options: {
        scales: { x: { time: false, range: (_, min, max) => [0, Math.max(max, 1)] }, y: LOG },
        cursor: { dataIdx: nearest, drag: { x: false, y: false } },
        series: [
          { label: "Percentile", value: (_, x) => (x == null ? "" : percent(percentileAt.get(x) ?? 100 * (1 - 10 ** -x))) },
          ...curves.map((curve, index) => line(curve.name, curve.color ?? index, latency, { spanGaps: true, points: { show: false } })),
        ],
        axes: [
          axis({
            size: 34,
            splits: (plot) => {
              const splits = [0, Math.log10(2)];
              for (let nines = 1; nines <= plot.scales.x.max; nines += 1) splits.push(nines);
              return splits;
            },
            filter: (_, splits) => splits,
            values: (plot, splits) =>
              withoutCollisions(plot, splits, "x", splits.map((x) => (x === 0 ? "" : percent(100 * (1 - 10 ** -x))))),
          }),
          latencyAxis(true),
        ],
      },
    };
  }

  const timeAxis = () =>
    axis({
      size: 34,
      values: (plot, splits) => withoutCollisions(plot, splits, "x", splits.map((t) => `${exact.format(t)} s`)),
    });
  const timeSeries = { label: "Time", value: (_, t) => (t == null ? "" : `${exact.format(t)} s`) };
  const TIME = { time: false };

  function latencyChart(series) {
    const p50 = series.points.map((point) => positive(point.p50_us));
    const p99 = series.points.map((point) => positive(point.p99_us));
    const seen = [...p50, ...p99].filter((value) => value != null);
    const log = seen.length > 0 && Math.max(...seen) > 20 * Math.min(...seen);
    return {
      note: log ? "; logarithmic scale" : "",
      data: [series.points.map((point) => point.t_ms / 1000), p50, p99],
      options: {
        scales: { x: TIME, y: log ? LOG : FROM_ZERO },
        cursor: { drag: { x: false, y: false } },
        series: [timeSeries, line("p50", 0, latency), line("p99", 1, latency)],
        axes: [timeAxis(), latencyAxis(log)],
      },
    };
  }

  function throughputChart(run) {
    const { interval_ms: interval, points } = run.series;
    // The last interval ends with the run, not with the clock; a rate over a sliver of it would be noise.
    const lengths = points.map((point) => Math.min(interval, run.elapsed_s * 1000 - point.t_ms));
    const kept = points.map((_, index) => index === 0 || lengths[index] >= interval / 2);
    const chosen = points.filter((_, index) => kept[index]);
    const perSecond = (name) =>
      chosen.map((point) => {
        const ms = lengths[points.indexOf(point)];
        return ms > 0 ? (point[name] * 1000) / ms : null;
      });
    const data = [chosen.map((point) => point.t_ms / 1000), perSecond("requests")];
    const series = [timeSeries, line("Requests", 0, rate)];
    if (points.some((point) => point.errors > 0)) {
      data.push(perSecond("errors"));
      series.push(line("Errors", 1, rate, { stroke: color("--bad") }));
    }
    return {
      data,
      options: {
        scales: { x: TIME, y: FROM_ZERO },
        cursor: { drag: { x: false, y: false } },
        series,
        axes: [timeAxis(), axis({ size: 66, values: (_, splits) => splits.map(shortRate) })],
      },
    };
  }

  /** Mean latency over the value's size, a line for each size of keys. */
  function largeChart(cells, operation) {
    const keySizes = [...new Set(cells.map((cell) => cell.key_bytes))].sort((a, b) => a - b);
    const valueSizes = [...new Set(cells.map((cell) => cell.value_bytes))].sort((a, b) => a - b);
    // A logarithmic scale has no place for nothing: an empty value stands where half a byte would.
    const places = valueSizes.map((size) => Math.max(size, 0.5));
    const find = (key, value) => cells.find((cell) => cell.key_bytes === key && cell.value_bytes === value);
    return {
      data: [
        places,
        ...keySizes.map((key) => valueSizes.map((value) => positive(find(key, value)?.[operation]?.mean_us ?? null))),
      ],
      options: {
        scales: { x: { time: false, distr: 3, log: 2, range: (_, min, max) => [min / 1.3, max * 1.3] }, y: LOG },
        cursor: { drag: { x: false, y: false } },
        series: [
          { label: "Value", value: (_, size) => (size == null ? "" : bytes(size < 1 ? 0 : size)) },
          ...keySizes.map((size, index) => line(`key of ${bytes(size)}`, index, latency, { spanGaps: true, points: { show: true } })),
        ],
        axes: [
          axis({
            size: 34,
            splits: () => places,
            filter: (_, splits) => splits,
            values: (plot, splits) => withoutCollisions(plot, splits, "x", valueSizes.map(bytes)),
          }),
          latencyAxis(true),
        ],
      },
    };
  }

  function allRuns() {
    const name = ({ address, protocol, database }) =>
      `${address} (${protocol === "resp" ? "RESP" : protocol}${database > 0 ? `, database ${database}` : ""})`;
    const servers = [...new Set(report.runs.map((run) => name(run.server)))];
    return report.runs
      .filter((run) => run.totals.percentiles.length > 0)
      .map((run) => ({
        name: `${name(run.server)}, round ${run.round}`,
        color: servers.indexOf(name(run.server)),
        ...run.totals,
      }));
  }

  /** Returns the data and options of a figure's chart; null if there is nothing to draw. */
  function chart(figure) {
    const run = report.runs?.[Number(figure.dataset.run)];
    switch (figure.dataset.chart) {
      case "percentiles": {
        const curves = run.operations.filter((operation) => operation.percentiles.length > 0);
        return curves.length > 0 ? percentileChart(curves) : null;
      }
      case "latency":
        return run.series.points.length > 0 ? latencyChart(run.series) : null;
      case "throughput":
        return run.series.points.length > 0 ? throughputChart(run) : null;
      case "runs":
        return allRuns().length > 0 ? percentileChart(allRuns()) : null;
      case "large-set":
      case "large-get":
        return largeChart(report.large.cells, figure.dataset.chart.slice("large-".length));
      default:
        return null;
    }
  }

  // --- on the page -----------------------------------------------------------------------------------------------

  const figures = [...document.querySelectorAll("figure[data-chart]")];
  const plots = new Map();

  function draw(figure, width) {
    plots.get(figure)?.destroy();
    plots.delete(figure);
    const made = chart(figure);
    if (!made) return;
    figure.hidden = false;
    figure.querySelector(".note").textContent = made.note ?? "";
    const place = figure.querySelector(".plot");
    const size = { width: width ?? Math.floor(place.clientWidth), height: 280 };
    plots.set(figure, new uPlot({ ...made.options, ...size, legend: LEGEND }, made.data, place));
  }

  const drawAll = (width) => figures.forEach((figure) => draw(figure, width));

  drawAll();
  const resized = new ResizeObserver((entries) => {
    if (root.classList.contains("printing")) return;
    for (const { target } of entries) {
      const plot = plots.get(target.parentElement);
      const width = Math.floor(target.clientWidth);
      if (plot && width > 0 && plot.width !== width) plot.setSize({ width, height: plot.height });
    }
  });
  figures.forEach((figure) => resized.observe(figure.querySelector(".plot")));
  matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () => drawAll());
  addEventListener("beforeprint", () => {
    root.classList.add("printing");
    drawAll(PAPER_WIDTH);
  });
  addEventListener("afterprint", () => {
    root.classList.remove("printing");
    drawAll();
  });
})();
