// The three forms: render a view, scale a picture, count a text's words.

import { find, sentence } from "./dom.js";
import { request } from "./net.js";
import { picker } from "./picker.js";
import { clamp, inside, preview } from "./view.js";

const WHOLE = { x: -0.6, y: 0, width: 3.2 };
const maxBytes = Number(find("forms").dataset.maxMb) * 2 ** 20;
const render = find("render");
const canvas = find("preview");
let view = { ...WHOLE };

function problem(form, text = "") {
  const line = form.querySelector(".error");
  line.textContent = text && sentence(text);
  line.hidden = !text;
}

async function submit(form, path, options) {
  const button = form.querySelector("button[type=submit]");
  button.disabled = true;
  problem(form);
  try {
    const answer = await request(path, { method: "POST", ...options });
    location.assign(`/jobs/${(await answer.json()).job}`);
  } catch (error) {
    problem(form, error.message);
    button.disabled = false;
  }
}

function size() {
  const [width, height] = render.elements.size.value.split("x").map(Number);
  return { width, height };
}

function showView() {
  view = clamp(view);
  const { width, height } = size();
  const wide = Math.round(canvas.width * (height / width));
  if (canvas.height !== wide) canvas.height = wide;
  preview(canvas, view);
  const zoom = WHOLE.width / view.width;
  find("where").textContent = `${view.x.toPrecision(8)} ${view.y < 0 ? "−" : "+"} ${Math.abs(view.y).toPrecision(8)} i, ${zoom < 100 ? zoom.toFixed(1) : zoom.toPrecision(3)}×`;
  const { tile } = render.elements;
  const tiles = Math.ceil(width / tile.value) * Math.ceil(height / tile.value);
  find("tiles").textContent = `${tiles} tiles, each a task`;
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
find("reset").addEventListener("click", () => { view = { ...WHOLE }; render.elements.preset.selectedIndex = 1; showView(); });

render.addEventListener("submit", (event) => {
  event.preventDefault();
  const body = {
    center_x: view.x, center_y: view.y, width_units: view.width, ...size(),
    tile: Number(render.elements.tile.value), iterations: Number(render.elements.iterations.value),
  };
  submit(render, "/api/jobs/render", { headers: { "Content-Type": "application/json" }, body: JSON.stringify(body) });
});

function tooLarge(form, bytes) {
  if (bytes <= maxBytes) return false;
  problem(form, `it has ${Math.ceil(bytes / 2 ** 20)} MB; at most ${maxBytes / 2 ** 20} MB are taken.`);
  return true;
}

find("scale").addEventListener("submit", (event) => {
  event.preventDefault();
  const form = event.target;
  const file = form.elements.file.files[0];
  if (!file) return problem(form, "choose a picture first.");
  if (!tooLarge(form, file.size)) submit(form, "/api/jobs/scale", { body: new FormData(form) });
});

find("digest").addEventListener("submit", async (event) => {
  event.preventDefault();
  const form = event.target;
  const file = form.elements.file.files[0];
  const body = file ?? form.elements.text.value;
  if (!file && !body.trim()) return problem(form, "write or drop a text first.");
  if (tooLarge(form, file ? file.size : body.length)) return;
  // A Blob's own type would replace the header: a text file of another name would be refused for it.
  const bytes = file ? new Blob([file], { type: "text/plain" }) : body;
  submit(form, "/api/jobs/digest", { headers: { "Content-Type": "text/plain; charset=utf-8" }, body: bytes });
});

for (const zone of document.querySelectorAll(".drop")) {
  const input = zone.querySelector("input[type=file]");
  const name = zone.querySelector(".chosen");
  const show = () => { name.textContent = input.files[0]?.name ?? name.dataset.empty; };
  input.addEventListener("change", show);
  for (const kind of ["dragover", "dragenter"]) {
    zone.addEventListener(kind, (event) => { event.preventDefault(); zone.classList.add("over"); });
  }
  zone.addEventListener("dragleave", () => zone.classList.remove("over"));
  zone.addEventListener("drop", (event) => {
    event.preventDefault();
    zone.classList.remove("over");
    if (!event.dataTransfer.files.length) return;
    input.files = event.dataTransfer.files;
    show();
  });
}

const asked = new URLSearchParams(location.search);
if (asked.has("width")) {
  view = { x: Number(asked.get("x")), y: Number(asked.get("y")), width: Number(asked.get("width")) };
  render.elements.preset.value = "";
}
showView();
