// Help for columns and figures: a label with a text becomes a button that shows it.

import { find, h } from "./dom.js";
import texts from "./help-texts.js";

const [first, second] = location.pathname.split("/").filter(Boolean);
const page = first === "jobs" && second ? "job" : first ?? "lab";
const tip = h("div", { id: "help", popover: "auto", role: "tooltip" });
find("main").append(tip);
let shownFor = null;

export const helpFor = (label) => texts[page]?.[label] ?? texts["*"][label] ?? "";

function show(button, label) {
  tip.textContent = helpFor(label);
  shownFor = label;
  tip.showPopover();
  const place = button.getBoundingClientRect();
  const left = Math.min(place.left, innerWidth - tip.offsetWidth - 8);
  const below = place.bottom + 6 + tip.offsetHeight < innerHeight;
  tip.style.left = `${Math.max(8, left)}px`;
  tip.style.top = `${below ? place.bottom + 6 : Math.max(8, place.top - tip.offsetHeight - 6)}px`;
}

tip.addEventListener("toggle", (event) => { if (event.newState === "closed") shownFor = null; });

// The label, as a button if it has a text.
export function helped(label) {
  if (!helpFor(label)) return label;
  const button = h("button", { type: "button", class: "help", "data-action": `help ${label}`, "aria-describedby": "help", onclick: () => {
    if (shownFor === label) tip.hidePopover();
    else show(button, label);
  } }, label);
  return button;
}

// Headers and figures that are in the page, or are added to it. Other libraries' tables have no texts.
function enhance(root) {
  for (const one of root.querySelectorAll("thead th, dt, .helpable")) {
    const label = one.textContent.trim();
    if (one.querySelector("button, .swatch") || !helpFor(label)) continue;
    one.replaceChildren(helped(label));
  }
}

enhance(document);
new MutationObserver(() => enhance(find("main"))).observe(find("main"), { childList: true, subtree: true });
