// The queues of all applications with the brokers' figures, and the dead letters: retry or drop.

import { seen } from "./ages.js";
import { count, find, h, reconcile, sentence, time } from "./dom.js";
import { offer, onChoice, wanted } from "./applications.js";
import { follow, getJson, request } from "./net.js";
import { complain, say } from "./shell.js";

const LETTERS_MS = 5000;
let dead = -1;
let list = { queues: [] };
const isDead = (queue) => queue.name.endsWith(".dead");

const number = (value, className = "") => h("td", { class: `number ${className}` }, value ? value.toLocaleString() : "0");

function members(queue) {
  const marks = queue.members.map((member) => h("span", { class: `member ${queue.missing.includes(member) ? "down" : "up"}` },
    h("span", { class: "dot", "aria-hidden": "true" }), member,
    member === queue.leader && h("b", { class: "leader" }, "leader"),
    queue.missing.includes(member) && h("span", { class: "hidden" }, " offline")));
  return marks.length ? marks : [h("span", { class: "soft" }, queue.leader)];
}

function row(queue) {
  return h("tr", { class: isDead(queue) && queue.ready ? "attention" : null, "data-application": queue.application },
    h("th", { scope: "row" }, queue.name),
    h("td", {}, queue.application),
    number(queue.ready), number(queue.unacknowledged),
    h("td", { class: "number" }, `${queue.rate_in.toFixed(1)}/s`),
    h("td", { class: "number" }, `${queue.rate_out.toFixed(1)}/s`),
    number(queue.consumers, queue.consumers || isDead(queue) || (!queue.ready && queue.application !== "mosaic") ? "" : "error"),
    h("td", {}, h("span", { class: "members" }, ...members(queue))));
}

function show() {
  const shown = list.queues.filter(wanted);
  reconcile(find("queues"), shown, (queue) => `${queue.application}/${queue.name}`, row);
  find("no-queues").hidden = shown.length > 0;
  find("table").hidden = shown.length === 0;
  find("dead-letters").hidden = !wanted({ application: "mosaic" });
  find("reason").textContent = list.reason;
  find("reason").hidden = !list.reason;
  find("others").textContent = list.queues.length
    ? `Also: ${count(list.delays, "level")} of delayed delivery with ${count(list.delayed, "message")}, ${count(list.tails, "log tail")}, ${count(list.internal, "queue")} of Celery's events and remote control.` : "";
  if (list.dead !== dead) refresh();
  dead = list.dead;
}

async function act(letter, what, button) {
  button.disabled = true;
  try {
    await request(`/api/dead-letters/${letter.handle}/${what}`, { method: "POST" });
    say(what === "retry" ? `${letter.name} was sent back to ${letter.exchange}.` : `${letter.name} was dropped.`, "good");
  } catch (error) {
    complain(error);
    button.disabled = false;
  }
  refresh();
}

// A second click within 4 s confirms, because a dropped message is lost.
function dropButton(letter) {
  const button = h("button", { type: "button", class: "quiet danger", "data-action": "drop", onclick: () => {
    if (button.dataset.sure) return act(letter, "drop", button);
    button.dataset.sure = "yes";
    button.textContent = "Really drop?";
    setTimeout(() => { delete button.dataset.sure; button.textContent = "Drop"; }, 4000);
  } }, "Drop");
  return button;
}

function letterCard(letter) {
  const retry = h("button", { type: "button", class: "quiet", "data-action": "retry", onclick: () => act(letter, "retry", retry) }, "Retry");
  return h("li", { class: "card letter" },
    h("header", { class: "bar" }, h("h3", {}, letter.name), h("span", { class: "badge down" }, letter.reason), h("span", { class: "push actions" }, retry, dropButton(letter))),
    h("p", { class: "soft" }, `Dead-lettered ${letter.count > 1 ? `${letter.count} times ` : ""}in ${letter.queue || "an unknown queue"}${letter.at ? ` at ${time(letter.at)}` : ""}; published to ${letter.exchange || "the default exchange"} with routing key ${letter.routing_key || "–"}.`),
    h("pre", { tabindex: "0" }, letter.preview));
}

let asking = false;
async function refresh() {
  if (asking) return;
  asking = true;
  try {
    const { total, letters } = await getJson("/api/dead-letters");
    seen({ "dead letters": 0 });
    reconcile(find("letters"), letters, (letter) => letter.handle, letterCard);
    find("letters-state").textContent = total > letters.length ? `The first ${letters.length} of ${total}.` : "";
    find("no-letters").hidden = letters.length > 0;
    find("letters-problem").hidden = true;
  } catch (error) {
    find("letters-problem").textContent = sentence(error.message);
    find("letters-problem").hidden = false;
  } finally {
    asking = false;
  }
}

onChoice(show);
follow("/api/queues/events", { queues: (latest) => {
  list = latest;
  offer(list.applications);
  show();
} });
refresh();
// The brokers' figures are some seconds old, so letters are read again while some are shown.
setInterval(() => { if (!document.hidden && (dead !== 0 || find("letters").children.length)) refresh(); }, LETTERS_MS);
