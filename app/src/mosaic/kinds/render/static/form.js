// Renders a view, which is selected on a small picture of the set.

import { find } from "/static/dom.js";
import { asJson, submit } from "/static/forms.js";
import { picker } from "./picker.js";
import { clamp, inside, preview } from "./view.js";

const MOST_ITERATIONS = 20000;
const WHOLE = { x: -0.6, y: 0, width: 3.2 };
const render = find("render");
const canvas = find("preview");
let view = { ...WHOLE };

function size() {
  const [width, height] = render.elements.size.value.split("x").map(Number);
  return { width, height };
}

function showView() {
  view = clamp(view);
  const { width, height } = size();
  const wide = Math.round(canvas.width * (height / width));
  if (canvas.height !== wide) canvas.height = wide;
  preview(canvas, view, Math.min(MOST_ITERATIONS, Number(render.elements.iterations.value)));
  const zoom = WHOLE.width / view.width;
  find("where").textContent = `${view.x.toPrecision(8)} ${view.y < 0 ? "−" : "+"} ${Math.abs(view.y).toPrecision(8)} i, ${zoom < 100 ? zoom.toFixed(1) : zoom.toPrecision(3)}×`;
  const { tile } = render.elements;
  const tiles = Math.ceil(width / tile.value) * Math.ceil(height / tile.value);
  find("tiles").textContent = `${tiles} tiles, one task each`;
}

picker(canvas.parentElement, canvas, (box) => {
  view = inside(view, box, canvas.width / canvas.height);
  render.elements.preset.value = "";
  showView();
});

render.elements.preset.addEventListener("change", (event) => {
  const { x, y, width, iterations } = event.target.selectedOptions[0].dataset;
  if (!width) return;
  view = { x: Number(x), y: Number(y), width: Number(width) };
  render.elements.iterations.value = iterations;
  showView();
});
render.elements.size.addEventListener("change", showView);
render.elements.tile.addEventListener("change", showView);
render.elements.iterations.addEventListener("input", showView);
find("reset").addEventListener("click", () => { view = { ...WHOLE }; render.elements.preset.selectedIndex = 1; showView(); });

render.addEventListener("submit", (event) => {
  event.preventDefault();
  submit(render, asJson({
    center_x: view.x, center_y: view.y, width_units: view.width, ...size(),
    tile: Number(render.elements.tile.value), iterations: Number(render.elements.iterations.value),
  }));
});

const asked = new URLSearchParams(location.search);
if (asked.has("width")) {
  view = { x: Number(asked.get("x")), y: Number(asked.get("y")), width: Number(asked.get("width")) };
  render.elements.preset.value = "";
}
showView();
