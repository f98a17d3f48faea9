// The monitor's alerts and charts. uPlot (a global variable) draws the charts.

import { now, seen } from "./ages.js";
import { colourOf } from "./colours.js";
import { find, h, reconcile, sentence, since, time, tint } from "./dom.js";
import { getJson } from "./net.js";
import { complain } from "./shell.js";

const REFRESH_MS = 10000;
const HEIGHT = 220;
const drawn = new Map();

const clock = (at) => time(at * 1000);
const hour = (at) => clock(at).slice(0, 5);
const css = (name) => getComputedStyle(document.documentElement).getPropertyValue(name).trim();
const isHost = (name) => document.body.dataset.hosts.split(",").includes(name);
const stroke = (name) => (isHost(name) ? tint(name) : colourOf(name));

function options(chart, width) {
  const axis = { stroke: css("--soft"), grid: { stroke: css("--line"), width: 1 }, ticks: { stroke: css("--line") }, font: "12px system-ui" };
  return {
    width, height: HEIGHT,
    cursor: { sync: { key: "time" }, points: { size: 6 } },
    legend: { live: true },
    scales: { y: { range: (_, low, high) => [Math.min(0, low), high > 0 ? high * 1.08 : 1] } },
    axes: [{ ...axis, label: "UTC", size: 30, labelSize: 16, labelGap: 0, labelFont: axis.font, values: (_, splits) => splits.map(hour) }, { ...axis, size: 52 }],
    series: [{ value: (_, at) => (at === null || at === undefined ? "–" : clock(at)) }, ...chart.lines.map((line) => ({
      label: line.name, stroke: stroke(line.name), width: 2, spanGaps: false,
      value: (_, value) => (value === null || value === undefined ? "–" : value.toLocaleString(undefined, { maximumFractionDigits: 1 })),
    }))],
  };
}

function draw(chart, times) {
  const id = `chart-${chart.id}`;
  let figure = find(id);
  if (!figure) {
    figure = h("figure", { id, class: "card chart" }, h("figcaption", {}, chart.title, h("span", { class: "soft" }, ` ${chart.unit}`)), h("div", { class: "plot" }));
    find("charts").append(figure);
  }
  const plot = figure.querySelector(".plot");
  const data = [times, ...chart.lines.map((line) => line.values)];
  const key = `${chart.lines.map((line) => line.name)} ${plot.clientWidth} ${css("--ink")}`;
  const old = drawn.get(id);
  if (old && old.key === key) return old.plot.setData(data);
  old?.plot.destroy();
  drawn.delete(id);
  if (!chart.lines.length) return plot.replaceChildren(h("p", { class: "empty" }, chart.reason));
  plot.replaceChildren();
  drawn.set(id, { key, plot: new uPlot(options(chart, plot.clientWidth), data, plot) });
}

function alertRow(alert) {
  const labels = Object.entries(alert.labels).map(([key, value]) => `${key}=${value}`).join(", ");
  return h("li", { class: `card alert ${alert.state === "firing" ? "down" : "late"}` },
    h("div", { class: "bar" }, h("span", { class: `badge ${alert.state === "firing" ? "down" : "late"}` }, alert.state), h("h3", {}, alert.name), h("span", { class: "soft push" }, alert.since && "since ", alert.since && since(alert.since))),
    alert.summary && h("p", {}, alert.summary), labels && h("p", { class: "soft mono" }, labels));
}

let last = null;
async function refresh() {
  try {
    const [{ monitored, alerts }, charts] = await Promise.all([getJson("/api/alerts"), getJson(`/api/charts?minutes=${find("minutes").value}`)]);
    find("unmonitored").hidden = monitored;
    find("monitored").hidden = !monitored;
    find("problem").hidden = true;
    if (!monitored) return;
    reconcile(find("alerts"), alerts, (alert) => alert.name + JSON.stringify(alert.labels), alertRow);
    find("no-alerts").hidden = alerts.length > 0;
    last = charts;
    // The last point of a chart stands for the time before it.
    if (charts.times.length) seen({ charts: now() / 1000 - charts.times.at(-1) });
    show();
  } catch (error) {
    find("problem").textContent = sentence(error.message);
    find("problem").hidden = false;
  }
}

function show() {
  for (const chart of last?.charts ?? []) draw(chart, last.times);
}

find("minutes").addEventListener("change", () => refresh().catch(complain));
document.addEventListener("theme", show);
addEventListener("resize", show);
refresh();
setInterval(() => { if (!document.hidden) refresh(); }, REFRESH_MS);
