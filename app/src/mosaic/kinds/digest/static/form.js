// Counts the words of a file, or of the text field.

import { find } from "/static/dom.js";
import { problem, submit, tooLarge } from "/static/forms.js";

find("digest").addEventListener("submit", (event) => {
  event.preventDefault();
  const form = event.target;
  const file = form.elements.file.files[0];
  const body = file ?? form.elements.text.value;
  if (file && form.elements.text.value.trim()) return problem(form, "there is a file and a text; remove one of them.");
  if (!file && !body.trim()) return problem(form, "write a text or choose a file first.");
  if (tooLarge(form, file ? file.size : body.length)) return;
  // The Blob's type would replace the header, and the gateway refuses other types than text/plain.
  const bytes = file ? new Blob([file], { type: "text/plain" }) : body;
  submit(form, { headers: { "Content-Type": "text/plain; charset=utf-8" }, body: bytes });
});
