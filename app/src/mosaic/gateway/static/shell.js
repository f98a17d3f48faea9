// Parts of every page: the theme switch, the state of the lab, messages.

import { find, h, sentence } from "./dom.js";
import { follow } from "./net.js";

let toastTimer;

export function say(text, kind = "bad") {
  const toast = find("toast");
  toast.textContent = sentence(text);
  toast.className = `toast ${kind}`;
  toast.hidden = false;
  clearTimeout(toastTimer);
  toastTimer = setTimeout(() => { toast.hidden = true; }, 8000);
}

export const complain = (error) => say(error.message);

function nextTheme() {
  const root = document.documentElement;
  const dark = root.dataset.theme
    ? root.dataset.theme === "dark"
    : matchMedia("(prefers-color-scheme: dark)").matches;
  root.dataset.theme = dark ? "light" : "dark";
  localStorage.setItem("theme", root.dataset.theme);
  document.dispatchEvent(new Event("theme"));
}

find("theme").addEventListener("click", nextTheme);

const listeners = [];
let latest = null;
export function onLab(listen) {
  listeners.push(listen);
  if (latest) listen(latest);
}

const worst = (states) => ["down", "late", "unknown", "up"].find((state) => states.includes(state)) ?? "unknown";

function vital(name, state, text, href = "/") {
  return h("a", { class: `vital ${state}`, href }, h("span", { class: "dot", "aria-hidden": "true" }), `${name} `, h("b", {}, text));
}

function vitals(lab) {
  const up = (list) => `${list.filter((one) => one.state === "up").length}/${list.length}`;
  const words = { up: "up", late: "late", down: "down", unknown: "unknown" };
  const all = [
    vital("Brokers", worst(lab.brokers.map((one) => one.state)), up(lab.brokers)),
    vital("Workers", worst(lab.workers.map((one) => one.state)), up(lab.workers)),
    vital("Database", lab.database.state, words[lab.database.state]),
    vital("Beat", lab.beat.state, words[lab.beat.state], "/periodic"),
  ];
  if (lab.applications.length) {
    const states = lab.applications.map((one) => one.state);
    all.push(vital("Other applications", worst(states), up(lab.applications), "/workers"));
  }
  if (lab.alerts !== null) all.push(vital("Alerts", lab.alerts ? "down" : "up", String(lab.alerts), "/charts"));
  return all;
}

// Marks a table that is wider than its card: the columns at the right are reached by scrolling.
const widths = new ResizeObserver((entries) => {
  for (const { target } of entries) {
    const card = target.closest(".scroll");
    card.classList.toggle("wider", card.scrollWidth > card.clientWidth + 1);
  }
});
for (const one of document.querySelectorAll(".scroll, .scroll > table")) widths.observe(one);

let shown = "";
function take(lab) {
  latest = lab;
  const now = vitals(lab);
  const text = now.map((one) => one.outerHTML).join();
  if (text !== shown) find("vitals").replaceChildren(...now);
  shown = text;
  const away = lab.database.state === "down";
  find("banner").hidden = !away;
  if (away) find("banner").textContent = `${lab.database.reason} This page continues automatically when it answers.`;
  for (const listen of listeners) listen(lab);
}

let lost;
follow("/api/lab/events", { lab: take }, (connected) => {
  clearTimeout(lost);
  if (connected) find("offline").hidden = true;
  // A short reconnection is not shown.
  else lost = setTimeout(() => { find("offline").hidden = false; }, 1500);
});
