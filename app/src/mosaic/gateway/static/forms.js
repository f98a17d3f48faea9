// Shared by the forms of all kinds of jobs: sending, one sentence for an error, and areas to drop a file on.

import { find, h, sentence } from "./dom.js";
import { request } from "./net.js";

const maxBytes = Number(find("forms").dataset.maxMb) * 2 ** 20;

export function problem(form, text = "") {
  const line = form.querySelector(".error");
  line.textContent = text && sentence(text);
  line.hidden = !text;
}

export function tooLarge(form, bytes) {
  if (bytes <= maxBytes) return false;
  problem(form, `this is ${Math.ceil(bytes / 2 ** 20)} MB; at most ${maxBytes / 2 ** 20} MB are accepted.`);
  return true;
}

// Submits a job of the kind that the form's id names, with the priority of all forms, and opens its page.
export async function submit(form, options) {
  const button = form.querySelector("button[type=submit]");
  button.disabled = true;
  problem(form);
  try {
    const answer = await request(`/api/jobs/${form.id}?priority=${find("priority").value}`, { method: "POST", ...options });
    location.assign(`/jobs/${(await answer.json()).job}`);
  } catch (error) {
    problem(form, error.message);
    button.disabled = false;
  }
}

export const asJson = (body) => ({ headers: { "Content-Type": "application/json" }, body: JSON.stringify(body) });

// Forms without a script of their own: `data-send` is their format, `json` or `multipart`.
for (const form of document.querySelectorAll("form[data-send]")) {
  form.addEventListener("submit", (event) => {
    event.preventDefault();
    const input = form.querySelector("input[type=file]");
    if (input && !input.files.length) return problem(form, form.dataset.missing);
    if (input && tooLarge(form, input.files[0].size)) return;
    if (form.dataset.send === "multipart") return submit(form, { body: new FormData(form) });
    const fields = [...form.elements].filter((field) => field.name && field.value !== "");
    submit(form, asJson(Object.fromEntries(fields.map((field) => [field.name, field.type === "number" ? Number(field.value) : field.value]))));
  });
}

for (const zone of document.querySelectorAll(".drop")) {
  const input = zone.querySelector("input[type=file]");
  const name = zone.querySelector(".chosen");
  const remove = h("button", { type: "button", class: "quiet", hidden: true, onclick: () => { input.value = ""; show(); input.focus(); } }, "Remove the file");
  zone.after(remove);
  const show = () => {
    name.textContent = input.files[0]?.name ?? name.dataset.empty;
    remove.hidden = !input.files.length;
  };
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
