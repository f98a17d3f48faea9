// Flow: the parts of a vhost in columns, lines between them, and what each part is.

import { copyable } from "./copy.js";
import { count, find, h, reconcile, sentence, swatch, time } from "./dom.js";
import { helped } from "./help.js";
import { follow } from "./net.js";

const { explanations: texts, own } = find("drawing").dataset;
const explanations = JSON.parse(texts);
const SPEED = 80; // pixels a second
const MOST_DOTS = 8; // a second, on a line
const FRESH_MS = 4000;
let vhost = new URL(location).searchParams.get("vhost") ?? own;
let flow = null;
let received = 0;
let stream;
let chosen = null;
const since = new Map(); // id of a part -> when it appeared while the page was open

const rate = (value) => `${value < 10 ? value.toFixed(1) : Math.round(value)}/s`;
const sum = (links) => links.reduce((total, link) => total + link.rate, 0);
const shortName = (name) => name || "(default)";

// Every part of the drawing, by id: its kind, names, figures, and where its text is.
function parts(state) {
  const found = new Map();
  const name = (id) => found.get(id)?.title ?? shortName(id.slice(id.indexOf(":") + 1));
  const add = (id, part) => found.set(id, { id, ...part });
  for (const one of state.exchanges) {
    const kind = explanations[one.type] ? one.type : "exchange";
    add(one.id, { what: `${one.type} exchange`, title: shortName(one.name), kind, code: one.code, facts: [["published", rate(one.rate)]] });
  }
  for (const one of state.queues) {
    const kind = one.name.endsWith(".dead") ? "dead" : explanations[one.type] ? one.type : "classic";
    add(one.id, { what: one.type === "stream" ? "stream" : `${one.type} queue`, title: one.name, kind, code: one.code, facts: [
      ["ready", String(one.ready)], ["unacked", String(one.unacknowledged)], ["delivered", rate(one.rate_out)],
      ["consumers", String(one.consumers)], ["leader", one.leader + (one.broken ? ", down" : "")]] });
  }
  for (const one of state.folds) {
    add(one.id, { what: "several queues", title: one.name, kind: one.id.slice(5), code: one.code, facts: [["queues", String(one.queues)], ["messages", String(one.messages)]] });
  }
  for (const one of state.bindings) {
    add(one.id, { what: "binding", title: one.keys.map((key) => key || "(empty)").join(", ") || "(none)", kind: "binding", code: one.code, facts: [
      ["from", name(one.source)], ["to", name(one.target)], ["routing keys", one.keys.map((key) => key || "(empty)").join(", ")],
      ...one.rate === null ? [] : [["routed", rate(one.rate)]]] });
  }
  for (const one of state.producers) {
    add(one.id, { what: "producer", title: `${one.program} on ${one.host}`, kind: "producer", facts: [
      ["user", one.user], ["published", rate(sum(one.links))], ["exchanges", one.links.map((link) => name(link.target)).join(", ")]] });
  }
  for (const one of state.consumers) {
    const prefetch = [...new Set(one.links.map((link) => link.prefetch || "no limit"))].join(", ");
    const acks = one.links.every((link) => link.acknowledges) ? "yes" : "no";
    add(one.id, { what: "consumer", title: `${one.program} on ${one.host}`, kind: "consumer", facts: [
      ["user", one.user], ["delivered", rate(sum(one.links))], ["prefetch", prefetch], ["acknowledges", acks],
      ["queues", one.links.map((link) => name(link.target)).join(", ")]] });
  }
  for (const one of state.brokers) {
    const leads = state.queues.filter((queue) => queue.leader === one.name).length;
    add(`broker:${one.name}`, { what: "broker", title: one.name, kind: "broker", code: "roles/rabbitmq", facts: [["state", one.state], ["leads here", count(leads, "queue")]] });
  }
  return found;
}

let known = new Map();

function node(id, className, label, lines) {
  const made = h("button", { type: "button", class: `node ${className}`, "data-id": id, "data-action": id, "aria-label": label, "aria-haspopup": "dialog", onclick: () => choose(id) }, ...lines);
  made.classList.toggle("fresh", performance.now() - (since.get(id) ?? -FRESH_MS) < FRESH_MS);
  made.classList.toggle("chosen", chosen === id);
  return made;
}

const line = (text) => h("span", { class: "figures-line" }, text);

function exchangeNode(one) {
  return h("li", {}, node(one.id, "exchange", `${one.type} exchange ${shortName(one.name)}, ${rate(one.rate)}`,
    [h("b", {}, shortName(one.name)), line(`${one.type} · ${rate(one.rate)}`)]));
}

function bindingNode(one) {
  const text = one.keys.map((key) => key || "(empty)").join(", ") || "(none)";
  return h("li", {}, node(one.id, "binding", `binding with routing key ${text}`, [h("b", { title: text }, text)]));
}

function queueNode(one) {
  const figures = `${one.ready.toLocaleString()} ready · ${one.unacknowledged.toLocaleString()} unacked`;
  const bar = h("i");
  bar.style.setProperty("--depth", `${Math.min(100, 25 * Math.log10(1 + one.ready))}%`);
  return h("li", {}, node(one.id, one.broken ? "broken" : "", `${one.type} queue ${one.name}: ${figures}${one.broken ? `, its leader ${one.leader} is down` : ""}`,
    [h("b", { title: one.name }, one.name), line(figures), one.broken ? line(`leader ${one.leader} is down`) : null, h("span", { class: "depth", "aria-hidden": "true" }, bar)].filter(Boolean)));
}

function foldNode(one) {
  const figures = `${count(one.queues, "queue")} · ${count(one.messages, "message")}`;
  return h("li", {}, node(one.id, "fold", `${one.name}: ${figures}`, [h("b", { title: one.name }, one.name), line(figures)]));
}

function clientNode(one, what) {
  return node(one.id, "client", `${what} ${one.program} on ${one.host}, ${rate(sum(one.links))}`,
    [h("b", { title: one.program }, one.program), line(rate(sum(one.links)))]);
}

function hostGroup([host, clients], what) {
  return h("li", { class: "of-host" }, h("span", { class: "hostcount" }, swatch(host), host),
    h("ul", { class: "of-host" }, ...clients.map((one) => h("li", {}, clientNode(one, what)))));
}

const byHost = (clients) => Object.entries(Object.groupBy(clients, (one) => one.host));
// A part that has just appeared looks different for a while, so its signature includes that.
const marked = (items) => items.map((one) => ({ ...one, fresh: performance.now() - (since.get(one.id) ?? -FRESH_MS) < FRESH_MS, chosen: chosen === one.id }));

// Queues in the order of the exchanges that they are bound to, so that few lines cross.
function arranged(state) {
  const isDelay = (one) => one.id === "fold:delays";
  const place = new Map([...state.exchanges].map((one, index) => [one.id, index]));
  const first = new Map();
  for (const one of state.bindings) {
    const found = place.get(one.source) ?? 90;
    first.set(one.target, Math.min(first.get(one.target) ?? 99, found));
  }
  const order = (one) => first.get(one.id) ?? 99;
  const queues = [...state.queues].sort((a, b) => order(a) - order(b) || a.name.localeCompare(b.name));
  const rows = new Map([...queues, ...state.folds].map((one, index) => [one.id, index]));
  // A binding of folded levels is a line without a part of its own.
  const bindings = state.bindings.filter((one) => one.source !== "fold:delays")
    .sort((a, b) => (rows.get(a.target) ?? 99) - (rows.get(b.target) ?? 99) || a.source.localeCompare(b.source));
  return { queues, bindings, delays: state.folds.filter(isDelay), others: state.folds.filter((one) => !isDelay(one)) };
}

function show() {
  const { queues, bindings, delays, others } = arranged(flow);
  const key = (one) => one.id;
  const list = (name, items, make) => reconcile(find(name), items, key, make);
  list("exchanges", marked([...delays, ...flow.exchanges]), (one) => (one.type ? exchangeNode(one) : foldNode(one)));
  list("bindings", marked(bindings), bindingNode);
  list("queues", marked([...queues, ...others]), (one) => ("ready" in one ? queueNode(one) : foldNode(one)));
  for (const [name, what] of [["producers", "producer"], ["consumers", "consumer"]]) {
    reconcile(find(name), byHost(marked(flow[name])), ([host]) => host, (group) => hostGroup(group, what));
  }
  reconcile(find("brokers"), flow.brokers.map((one) => ({ ...one, chosen: chosen === `broker:${one.name}` })), (one) => one.name, (one) => h("li", { class: one.state },
    h("button", { type: "button", class: `broker-chip ${one.state}`, "data-action": `broker:${one.name}`, "data-id": `broker:${one.name}`, "aria-haspopup": "dialog", onclick: () => choose(`broker:${one.name}`) },
      h("span", { class: one.state }, h("span", { class: "dot", "aria-hidden": "true" })), `${one.name} ${one.state}`)));
  reconcile(find("vhosts"), [...new Set([own, ...flow.vhosts, vhost])].map((name) => ({ name, pressed: name === vhost })), (one) => one.name, ({ name, pressed }) =>
    h("button", { type: "button", "aria-pressed": String(pressed), "data-action": `vhost ${name}`, onclick: () => look(name) }, name));
  find("reason").textContent = flow.reason ? sentence(flow.reason) : "";
  find("reason").hidden = !flow.reason;
  showLines();
  showPart();
}

// Lines.

const SVG = "http://www.w3.org/2000/svg";
const drawn = new Map();

function links() {
  const found = [];
  for (const one of flow.producers) for (const link of one.links) found.push([one.id, link.target, link.rate]);
  for (const one of flow.bindings) {
    if (one.source === "fold:delays") found.push([one.source, one.target, 0]);
    else found.push([one.source, one.id, one.rate ?? 0], [one.id, one.target, one.rate ?? 0]);
  }
  for (const one of flow.consumers) for (const link of one.links) found.push([link.target, one.id, link.rate]);
  return found;
}

function path(from, to) {
  // Back to the left, as between two exchanges: around the right side of both.
  const back = to.left < from.right;
  const [x1, y1, y2] = [from.right, (from.top + from.bottom) / 2, (to.top + to.bottom) / 2];
  const x2 = back ? to.right : to.left;
  const bend = back ? 40 + (from.right - to.right) / 4 : Math.max(24, (x2 - x1) / 2);
  return `M ${x1} ${y1} C ${x1 + bend} ${y1}, ${back ? x2 + bend : x2 - bend} ${y2}, ${x2} ${y2}`;
}

function showLines() {
  const area = find("drawing").querySelector(".flow-columns");
  const base = find("drawing").getBoundingClientRect();
  const shift = { x: find("drawing").scrollLeft - base.left, y: find("drawing").scrollTop - base.top };
  const boxes = new Map([...area.querySelectorAll("[data-id]")].map((one) => {
    const box = one.getBoundingClientRect();
    return [one.dataset.id, { left: box.left + shift.x, right: box.right + shift.x, top: box.top + shift.y, bottom: box.bottom + shift.y }];
  }));
  const svg = find("lines");
  svg.setAttribute("width", area.offsetWidth);
  svg.setAttribute("height", area.offsetHeight);
  const wanted = new Set();
  for (const [from, to, perSecond] of links()) {
    if (!boxes.has(from) || !boxes.has(to)) continue;
    const name = `${from} ${to}`;
    wanted.add(name);
    if (!drawn.has(name)) {
      const pair = ["line", "dots"].map((kind) => {
        const made = document.createElementNS(SVG, "path");
        made.setAttribute("class", kind);
        svg.append(made);
        return made;
      });
      drawn.set(name, pair);
    }
    const [track, dots] = drawn.get(name);
    const course = path(boxes.get(from), boxes.get(to));
    for (const one of [track, dots]) if (one.getAttribute("d") !== course) one.setAttribute("d", course);
    track.classList.toggle("active", perSecond > 0);
    move(dots, perSecond);
  }
  for (const [name, pair] of drawn) {
    if (wanted.has(name)) continue;
    for (const one of pair) one.remove();
    drawn.delete(name);
  }
}

// The dots are the dashes of a line, of length zero with round ends. A dash moves by one gap in the time of one dot.
function move(dots, perSecond) {
  if (dots.dataset.rate === String(perSecond)) return;
  dots.dataset.rate = String(perSecond);
  dots.style.display = perSecond > 0 ? "" : "none";
  if (!perSecond) return;
  const period = Math.ceil(perSecond / MOST_DOTS) / perSecond;
  dots.style.strokeDasharray = `0 ${SPEED * period}`;
  dots.style.setProperty("--shift", String(-SPEED * period));
  dots.style.setProperty("--period", `${period}s`);
}

// What a part is.

const nodeOf = (id) => document.querySelector(`[data-id="${CSS.escape(id)}"]`);

function choose(id) {
  chosen = id;
  show();
  const box = nodeOf(id)?.getBoundingClientRect();
  // It must not hide what was chosen.
  find("part").classList.toggle("left", Boolean(box) && box.left > innerWidth / 2);
  if (!find("part").open) find("part").show();
  find("part").querySelector("button")?.focus();
}

function leave() {
  const before = chosen;
  chosen = null;
  find("part").close();
  show();
  if (before) nodeOf(before)?.focus();
}

let shownPart = "";
function showPart() {
  if (chosen === null) return;
  const part = known.get(chosen) ?? (find("part").open && shownPart ? { ...JSON.parse(shownPart), gone: true } : null);
  if (part === null || JSON.stringify(part) === shownPart) return;
  shownPart = JSON.stringify(part);
  const label = document.activeElement && find("part").contains(document.activeElement) ? document.activeElement.dataset.action : null;
  const { text, lesson } = explanations[part.kind];
  find("part").replaceChildren(
    h("header", { class: "bar" }, h("h2", { id: "part-title", class: "push-right" }, part.title), h("button", { type: "button", class: "quiet push", "data-action": "close", onclick: leave }, "Close")),
    h("p", { class: "kind" }, part.gone ? `${part.what}, which is not there any more` : part.what),
    h("p", {}, text),
    h("dl", { class: "facts" }, ...part.facts.map(([name, value]) => h("div", { class: "fact" }, h("dt", {}, helped(name)), h("dd", {}, value)))),
    ...part.code ? [h("p", { class: "hint" }, "Declared by ", h("code", {}, part.code))] : [],
    h("p", { class: "hint" }, "The lesson that shows it:"),
    copyable(`./lab tour ${lesson}`));
  if (label) find("part").querySelector(`[data-action="${CSS.escape(label)}"]`)?.focus();
}

document.addEventListener("keydown", (event) => {
  if (event.key === "Escape" && chosen !== null && !document.querySelector(":popover-open")) leave();
});

// Changes.

function compare(before, after) {
  const changes = [];
  for (const [id, part] of after) if (!before.has(id)) { since.set(id, performance.now()); changes.push(`${part.what} ${part.title} appeared`); }
  for (const [id, part] of before) if (!after.has(id)) changes.push(`${part.what} ${part.title} is gone`);
  for (const [id, part] of after) {
    const old = before.get(id);
    if (old?.kind === "broker" && part.facts[0][1] !== old.facts[0][1]) changes.push(`broker ${part.title} is ${part.facts[0][1]}`);
  }
  if (!changes.length) return;
  const more = changes.length > 3 ? `, and ${changes.length - 3} more` : "";
  find("change").textContent = `${time(flow.now)} ${changes.slice(0, 3).join(", ")}${more}.`;
}

function take(latest) {
  const now = parts(latest);
  const before = flow;
  flow = latest;
  if (before && before.vhost === latest.vhost && before.topology) compare(known, now);
  known = now;
  received = performance.now();
  show();
  showAges();
}

function showAges() {
  if (!flow) return;
  const passed = (performance.now() - received) / 1000;
  const age = (at) => (at ? `${Math.max(0, (new Date(flow.now) - new Date(at)) / 1000 + passed).toFixed(1)} s` : "unknown");
  find("flow-ages").textContent = `Age: parts ${age(flow.topology)}, ready ${flow.counts ? age(flow.counts) : "as rates"}, rates and unacked ${age(flow.rates)} (the brokers count every 5 s).`;
}

function look(name) {
  vhost = name;
  const url = new URL(location);
  url.searchParams.set("vhost", name);
  history.replaceState(null, "", url);
  if (chosen !== null) leave();
  since.clear();
  find("change").textContent = "";
  stream?.close();
  stream = follow(`/api/flow/events?vhost=${encodeURIComponent(name)}`, { flow: take });
  if (flow) show();
}

setInterval(showAges, 500);
setInterval(() => { if (flow && !document.hidden) show(); }, 1000); // what was fresh is not any more
new ResizeObserver(() => {
  find("sideways").hidden = find("drawing").scrollWidth <= find("drawing").clientWidth + 2;
  if (flow) showLines();
}).observe(find("drawing"));
look(vhost);
