// Creating elements, and texts for numbers and times.

import { now } from "./ages.js";

export const find = (id) => document.getElementById(id);

// h("li", { class: "x", onclick: f, "aria-label": "y" }, "text", child): functions become listeners, other properties
// become attributes; null and false are left out.
export function h(name, properties = {}, ...children) {
  const made = document.createElement(name);
  for (const [key, value] of Object.entries(properties)) {
    if (typeof value === "function") made.addEventListener(key.slice(2), value);
    else if (value === true) made.setAttribute(key, "");
    else if (value !== null && value !== undefined && value !== false) made.setAttribute(key, value);
  }
  made.append(...children.filter((child) => child !== null && child !== undefined && child !== false));
  return made;
}

// Makes `items` the children of `parent`: `make(item)` creates a child, `key(item)` identifies it. Unchanged children are
// kept, and with them focus, selection and transitions.
export function reconcile(parent, items, key, make) {
  const known = new Map([...parent.children].map((child) => [child.dataset.key, child]));
  const wanted = items.map((item) => {
    const name = String(key(item));
    const signature = JSON.stringify(item);
    const old = known.get(name);
    if (old && old.signature === signature) return old;
    const made = make(item);
    made.dataset.key = name;
    made.signature = signature;
    if (old && old.contains(document.activeElement)) {
      const label = document.activeElement.dataset.action;
      old.replaceWith(made);
      if (label) made.querySelector(`[data-action="${label}"]`)?.focus();
    }
    return made;
  });
  const same = wanted.length === parent.children.length && wanted.every((node, place) => node === parent.children[place]);
  if (same) return;
  // A child that moves loses the focus.
  const active = document.activeElement;
  parent.replaceChildren(...wanted);
  if (parent.contains(active)) active.focus({ preventScroll: true });
}

// Every page shows times in UTC, as the journals of the hosts and the reports of drills do.
export const time = (iso) => `${new Date(iso).toISOString().slice(11, 19)} UTC`;

export const moment = (iso) => `${new Date(iso).toISOString().slice(0, 19).replace("T", " ")} UTC`;

export function ago(iso) {
  const seconds = Math.max(0, (now() - new Date(iso).getTime()) / 1000);
  if (seconds < 60) return `${seconds.toFixed(0)} s`;
  if (seconds < 3600) return `${Math.floor(seconds / 60)} min`;
  if (seconds < 86400) return `${Math.floor(seconds / 3600)} h`;
  return `${Math.floor(seconds / 86400)} d`;
}

// A time as "5 s ago" that stays right while the page is open.
export const since = (iso) => h("span", { class: "since", "data-at": iso, title: moment(iso) }, `${ago(iso)} ago`);

setInterval(() => {
  for (const one of document.querySelectorAll(".since")) one.textContent = `${ago(one.dataset.at)} ago`;
}, 1000);

export function seconds(value) {
  if (value === null || value === undefined) return "–";
  if (value < 1) return `${Math.round(value * 1000)} ms`;
  return value < 100 ? `${value.toFixed(1)} s` : `${Math.round(value)} s`;
}

export const count = (number, one, many = `${one}s`) => `${number} ${number === 1 ? one : many}`;

export const sentence = (text) => text.charAt(0).toUpperCase() + text.slice(1);

// The colours of hosts, by their order in the lab: a host has the same colour on every page.
const palette = (document.body.dataset.tints ?? "").split(",");
const order = (document.body.dataset.hosts ?? "").split(",").filter(Boolean);

export function tint(host) {
  let place = order.indexOf(host);
  // After the worker hosts, whose colours do not change.
  if (place < 0) place = order.push(host) - 1;
  return palette[place % palette.length];
}

export function swatch(host) {
  const made = h("i", { class: "swatch", "aria-hidden": "true" });
  made.style.setProperty("--swatch", tint(host));
  return made;
}
