// Count a text's words: a file, or what is written.

import { find } from "/static/dom.js";
import { problem, submit, tooLarge } from "/static/forms.js";

find("digest").addEventListener("submit", (event) => {
  event.preventDefault();
  const form = event.target;
  const file = form.elements.file.files[0];
  const body = file ?? form.elements.text.value;
  if (!file && !body.trim()) return problem(form, "write or drop a text first.");
  if (tooLarge(form, file ? file.size : body.length)) return;
  // A Blob's own type would replace the header: a text file of another name would be refused for it.
  const bytes = file ? new Blob([file], { type: "text/plain" }) : body;
  submit(form, { headers: { "Content-Type": "text/plain; charset=utf-8" }, body: bytes });
});
