// The lab: brokers, worker hosts and other services, live.

import { count, find, h, moment, reconcile, since, swatch } from "./dom.js";
import commands from "./commands.js";
import { copyable } from "./copy.js";
import { helped } from "./help.js";
import { onLab } from "./shell.js";

const WORDS = { up: "up", late: "degraded", down: "down", unknown: "unknown" };

const badge = (state) => h("span", { class: `badge ${state}` }, h("span", { class: "dot", "aria-hidden": "true" }), WORDS[state]);

const fact = (name, value, className = "") => h("div", { class: `fact ${className}` }, h("dt", {}, helped(name)), h("dd", {}, value));

function head(name, state, mark = null) {
  return h("header", {}, mark, h("h3", {}, name), badge(state));
}

// The commands that break and mend a host. What was opened stays open when the card is made again.
const opened = new Set();
function commandList(kind, host, name = host) {
  const lines = commands[kind].flatMap(([text, command]) => [h("p", { class: "hint" }, text), copyable(command.replace("{host}", host))]);
  return h("details", { class: "commands", open: opened.has(name), ontoggle: (event) => (event.target.open ? opened.add(name) : opened.delete(name)) },
    h("summary", { "data-action": "commands" }, "Break it and mend it"), ...lines);
}

function brokerCard(broker) {
  const facts = [
    fact("leads", broker.leads === null ? "–" : `${count(broker.leads, "queue")}, ${count(broker.leads_delays, "delay level")}`),
    fact("alarms", broker.alarms.join(", ") || "none", broker.alarms.length ? "bad" : ""),
    fact("partitions", broker.partitions.join(", ") || "none", broker.partitions.length ? "bad" : ""),
    fact("memory", broker.memory_mb === null ? "–" : `${broker.memory_mb} MB`),
  ];
  return h("li", { class: `host ${broker.state}` },
    head(broker.name, broker.state),
    broker.reason && h("p", { class: "reason" }, broker.reason),
    h("dl", { class: "facts" }, ...facts),
    commandList("broker", broker.name));
}

// One square for each pool process, filled while it is busy.
function slots(busy, all) {
  const label = `${busy} of ${all} processes busy`;
  const squares = Array.from({ length: all }, (_, place) => h("i", { class: place < busy ? "slot busy" : "slot" }));
  return h("span", { class: "slots", role: "img", "aria-label": label, title: label }, ...squares);
}

function instanceRow(instance) {
  const queues = instance.queues.map((name) => name.replace(/^mosaic\./, "")).join(", ");
  return h("li", { class: `instance ${instance.state}` },
    h("span", { class: "dot", "aria-hidden": "true" }),
    h("span", { class: "name" }, instance.name),
    slots(instance.busy, instance.concurrency),
    h("span", { class: "rate" }, instance.state === "down" ? "–" : `${instance.rate.toFixed(1)}/s`),
    h("span", { class: "queues", title: `pid ${instance.pid}, since ${moment(instance.started)}` }, queues));
}

function proxyLine(servers) {
  if (servers === null) return h("p", { class: "proxy soft" }, "the proxy does not answer");
  const marks = servers.map((server) => h("span", { class: `server ${server.state === "UP" ? "up" : "down"}`, title: `${server.broker}: ${server.state}, ${count(server.sessions, "session")}` },
    h("span", { class: "dot", "aria-hidden": "true" }), server.broker.replace(/^broker-/, "b"), h("span", { class: "hidden" }, ` ${server.state}, `), h("b", {}, String(server.sessions))));
  return h("p", { class: "proxy" }, h("span", { class: "soft" }, helped("proxy sessions")), ...marks);
}

function workerCard(worker) {
  return h("li", { class: `host worker ${worker.state}` },
    head(worker.host, worker.state, swatch(worker.host)),
    worker.reason && h("p", { class: "reason" }, worker.reason),
    h("ul", { class: "instances" }, ...worker.instances.map(instanceRow)),
    worker.state === "down" ? null : proxyLine(worker.proxy),
    commandList("worker", worker.host));
}

function baseCard({ name, state, reason, facts, extra, kind = name, host = name }) {
  return h("li", { class: `host ${state}` },
    head(name, state),
    reason && h("p", { class: "reason" }, reason),
    facts.length ? h("dl", { class: "facts" }, ...facts.map(([key, value]) => fact(key, value))) : null,
    extra ? proxyLine(extra) : null,
    commandList(kind, host, name));
}

function bases(lab) {
  const { database, beat, gateway } = lab;
  return [
    { name: "Database", state: database.state, reason: database.reason, facts: [
      ["answers in", database.answer_ms === null ? "–" : `${database.answer_ms} ms`],
      ["connections", database.connections === null ? "–" : String(database.connections)],
    ] },
    { name: "Beat", state: beat.state, reason: beat.reason, tick: beat.tick, facts: [
      ["on", beat.host ?? "–"],
      ["last tick", beat.tick ? h("span", {}, since(beat.tick), `, by ${beat.tick_host}`) : "–"],
    ] },
    { name: `Proxy of ${gateway.host}`, state: gateway.state, reason: gateway.reason, facts: [], extra: gateway.proxy, kind: "Proxy", host: gateway.host },
  ];
}

function figures(lab) {
  const up = (list) => list.filter((one) => one.state === "up").length;
  const sum = (key) => lab.workers.reduce((total, worker) => total + worker[key], 0);
  const or = (value) => (value === null ? "–" : value.toLocaleString());
  return [
    ["Brokers up", `${up(lab.brokers)} of ${lab.brokers.length}`],
    ["Worker hosts up", `${up(lab.workers)} of ${lab.workers.length}`],
    ["Processes busy", `${sum("busy")} of ${sum("concurrency")}`],
    ["Tasks a second", sum("rate").toFixed(1)],
    ["Parts waiting", or(lab.work.waiting_parts)],
    ["Jobs running", or(lab.work.running_jobs)],
  ];
}

function show(lab) {
  reconcile(find("figures"), figures(lab), ([name]) => name, ([name, value]) => h("div", { class: "figure" }, h("dt", {}, helped(name)), h("dd", {}, value)));
  reconcile(find("brokers"), lab.brokers, (broker) => broker.name, brokerCard);
  reconcile(find("workers"), lab.workers, (worker) => worker.host, workerCard);
  reconcile(find("bases"), bases(lab), (one) => one.name, baseCard);
  find("no-brokers").hidden = lab.brokers.length > 0;
  find("no-workers").hidden = lab.workers.length > 0;
  find("cluster").textContent = lab.cluster_reason;
  find("cluster").hidden = !lab.cluster_reason;
}

onLab(show);
