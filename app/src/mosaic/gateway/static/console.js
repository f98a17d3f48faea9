// The console: starts jobs, paints tiles as they land, lists jobs and logs.

const POLL_MS = 400;
const LIST_MS = 2500;
const LOADS_AT_ONCE = 6;
const tints = document.querySelector("main").dataset.tints.split(",");

const find = (id) => document.getElementById(id);
const canvas = find("canvas");
const context = canvas.getContext("2d", { alpha: false });

function element(name, text = "", className = "") {
  const made = document.createElement(name);
  made.textContent = text;
  if (className) made.className = className;
  return made;
}

async function request(path, options = {}) {
  const answer = await fetch(path, { cache: "no-store", ...options });
  if (answer.status === 401) {
    location.assign("/login");
    throw new Error("login is required");
  }
  if (!answer.ok) {
    const body = await answer.json().catch(() => ({}));
    throw new Error(body.error || `the gateway answered ${answer.status}`);
  }
  return answer;
}

const getJson = async (path) => (await request(path)).json();

let toastTimer;
function complain(error) {
  const toast = find("toast");
  toast.textContent = error.message.charAt(0).toUpperCase() + error.message.slice(1);
  toast.hidden = false;
  clearTimeout(toastTimer);
  toastTimer = setTimeout(() => { toast.hidden = true; }, 6000);
}

class Picture {
  // One job on the canvas; a later picture makes an earlier one stop.
  static current = null;

  constructor(id) {
    this.id = id;
    this.tiles = new Map();
    this.asked = new Set();
    this.queue = [];
    this.loading = 0;
    this.job = null;
    Picture.current?.stop();
    Picture.current = this;
    this.stopped = false;
    this.poll();
  }

  stop() { this.stopped = true; }

  async poll() {
    while (!this.stopped) {
      try {
        this.update(await getJson(`/api/jobs/${this.id}`));
        if (this.job.state !== "running") break;
      } catch (error) {
        complain(error);
        await new Promise((resolve) => setTimeout(resolve, 2000));
      }
      // A job of thousands of parts is a long answer.
      await new Promise((resolve) => setTimeout(resolve, Math.max(POLL_MS, this.job?.total ?? 0)));
    }
    if (!this.stopped) refreshJobs();
  }

  update(job) {
    if (this.stopped) return;
    const first = this.job === null;
    const hosts = this.job ? Object.keys(this.job.by_host).join() : "";
    this.job = job;
    if (first && job.kind === "render") {
      canvas.width = job.params.width;
      canvas.height = job.params.height;
    }
    describe(job);
    if (job.kind !== "render") {
      if (job.state === "done") this.showResult().catch(complain);
      return;
    }
    if (first || hosts !== Object.keys(job.by_host).join()) this.paint();
    for (const part of job.parts) {
      if (part.state === "done" && !this.asked.has(part.part)) {
        this.asked.add(part.part);
        this.queue.push(part);
      }
    }
    this.load();
  }

  load() {
    while (this.loading < LOADS_AT_ONCE && this.queue.length && !this.stopped) {
      const part = this.queue.shift();
      this.loading += 1;
      request(`/api/jobs/${this.id}/tiles/${part.part}.png`, { cache: "default" })
        .then((answer) => answer.blob())
        .then(createImageBitmap)
        .then((bitmap) => {
          this.tiles.set(part.part, { bitmap, host: part.host });
          if (!this.stopped) this.paintTile(part.part);
        })
        .catch(() => this.asked.delete(part.part))
        .finally(() => { this.loading -= 1; this.load(); });
    }
  }

  paint() {
    context.fillStyle = getComputedStyle(document.documentElement).getPropertyValue("--frame");
    context.fillRect(0, 0, canvas.width, canvas.height);
    for (const index of this.tiles.keys()) this.paintTile(index);
  }

  paintTile(index) {
    const { columns, tile } = this.job.params;
    const { bitmap, host } = this.tiles.get(index);
    const left = (index % columns) * tile;
    const top = Math.floor(index / columns) * tile;
    context.drawImage(bitmap, left, top);
    if (find("tint").checked) {
      // Hue and saturation of the host, light and shade of the tile.
      context.globalCompositeOperation = "color";
      context.fillStyle = tintOf(this.job, host);
      context.fillRect(left, top, bitmap.width, bitmap.height);
      context.globalCompositeOperation = "source-over";
    }
  }

  async showResult() {
    if (this.job.kind === "digest") {
      const result = await getJson(`/api/jobs/${this.id}/result`);
      const top = result.top.slice(0, 12).map(([word, count]) => `${word} ${count}`).join(", ");
      if (!this.stopped) find("state").textContent += ` · ${result.words} words, ${result.distinct} distinct: ${top}`;
      return;
    }
    const answer = await request(`/api/jobs/${this.id}/image`);
    const bitmap = await createImageBitmap(await answer.blob());
    if (this.stopped) return;
    canvas.width = bitmap.width;
    canvas.height = bitmap.height;
    context.drawImage(bitmap, 0, 0);
  }
}

function tintOf(job, host) {
  return tints[Object.keys(job.by_host).indexOf(host) % tints.length] || tints[0];
}

function describe(job) {
  const progress = find("progress");
  progress.max = job.total;
  progress.value = job.done;
  const rate = job.seconds > 0 ? (job.done / job.seconds).toFixed(1) : "0";
  const words = { running: "running", done: "done", failed: `failed: ${job.error}` }[job.state];
  find("state").textContent =
    `${job.kind} ${words} · ${job.done} of ${job.total} parts in ${job.seconds.toFixed(1)} s (${rate}/s)`;
  canvas.setAttribute("aria-label", `${job.kind}, ${job.done} of ${job.total} parts done`);
  canvas.classList.toggle("ready", job.kind === "render" && job.state === "done");
  const legend = Object.entries(job.by_host).map(([host, count]) => {
    const item = element("li");
    const swatch = element("i");
    swatch.style.setProperty("--swatch", tintOf(job, host));
    item.append(swatch, element("span", host), element("b", String(count)));
    return item;
  });
  find("legend").replaceChildren(...legend);
  showDownload(job);
}

function showDownload(job) {
  const link = find("download");
  link.hidden = job.kind === "digest" || job.state !== "done";
  const tint = job.kind === "render" && find("tint").checked ? "?tint=host" : "";
  link.href = `/api/jobs/${job.job}/image${tint}`;
  link.download = `mosaic-${job.job.slice(0, 8)}.png`;
}

function show(job) {
  new Picture(job.job);
  find("picture").scrollIntoView({ block: "nearest" });
}

function jobRow(job) {
  const row = element("tr");
  const hosts = Object.entries(job.by_host).map(([host, count]) => `${host} ${count}`).join(", ");
  const open = element("td");
  const button = element("button", "Show", "quiet");
  button.type = "button";
  button.setAttribute("aria-label", `Show ${job.kind} job of ${new Date(job.created).toLocaleTimeString()}`);
  button.addEventListener("click", () => show(job));
  open.append(button);
  row.append(
    element("td", new Date(job.created).toLocaleTimeString()),
    element("td", job.kind),
    element("td", job.state, job.state),
    element("td", `${job.done} / ${job.total}`, "number"),
    element("td", job.seconds.toFixed(1), "number"),
    element("td", hosts, "hosts"),
    open,
  );
  if (job.error) row.title = job.error;
  return row;
}

async function refreshJobs() {
  const { jobs } = await getJson("/api/jobs?limit=12");
  const body = find("jobs");
  // A row that has the focus is not torn away from under the keyboard.
  if (body.contains(document.activeElement)) return jobs;
  body.replaceChildren(...jobs.map(jobRow));
  return jobs;
}

async function refreshLogs() {
  const { records } = await getJson(`/api/logs?limit=80&severity=${find("severity").value}`);
  find("logs").replaceChildren(...records.map((record) => {
    const item = element("li");
    item.append(
      element("span", new Date(record.at).toLocaleTimeString(), "time"),
      element("span", record.host),
      element("span", record.severity, record.severity),
      element("span", record.unit, "unit"),
      element("span", record.message),
    );
    return item;
  }));
}

async function refreshBeat() {
  const chip = find("beat");
  try {
    const beat = await getJson("/api/beat");
    chip.textContent = `beat ${beat.age_seconds.toFixed(0)} s ago`;
    chip.classList.toggle("late", beat.age_seconds > 60);
  } catch (error) {
    chip.textContent = error.message;
    chip.classList.add("late");
  }
}

async function refresh() {
  for (;;) {
    if (!document.hidden) {
      await Promise.all([refreshJobs(), refreshLogs(), refreshBeat()]).catch(complain);
    }
    await new Promise((resolve) => setTimeout(resolve, LIST_MS));
  }
}

async function submit(form, path, options) {
  const button = form.querySelector("button");
  button.disabled = true;
  try {
    const answer = await request(path, { method: "POST", ...options });
    new Picture((await answer.json()).job);
    await refreshJobs();
  } catch (error) {
    complain(error);
  } finally {
    button.disabled = false;
  }
}

function renderView(view) {
  const form = find("render");
  const [width, height] = form.elements.size.value.split("x").map(Number);
  const body = {
    ...view, width, height, tile: Number(form.elements.tile.value), iterations: Number(form.elements.iterations.value),
  };
  const headers = { "Content-Type": "application/json" };
  return submit(form, "/api/jobs/render", { headers, body: JSON.stringify(body) });
}

function chosenPreset() {
  return find("render").elements.preset.selectedOptions[0].dataset;
}

find("render").elements.preset.addEventListener("change", () => {
  find("render").elements.iterations.value = chosenPreset().iterations;
});

find("render").addEventListener("submit", (event) => {
  event.preventDefault();
  const { x, y, width } = chosenPreset();
  renderView({ center_x: Number(x), center_y: Number(y), width_units: Number(width) });
});

canvas.addEventListener("click", (event) => {
  const job = Picture.current?.job;
  if (job?.kind !== "render" || job.state !== "done") return;
  const box = canvas.getBoundingClientRect();
  const ratio = Math.min(box.width / canvas.width, box.height / canvas.height);
  const column = (event.clientX - box.left - (box.width - canvas.width * ratio) / 2) / ratio;
  const row = (event.clientY - box.top - (box.height - canvas.height * ratio) / 2) / ratio;
  const { center_x, center_y, width_units, width, height } = job.params;
  const step = width_units / width;
  renderView({
    center_x: center_x + (column - width / 2) * step,
    center_y: center_y - (row - height / 2) * step,
    width_units: width_units / 4,
  });
});

find("scale").addEventListener("submit", (event) => {
  event.preventDefault();
  submit(event.target, "/api/jobs/scale", { body: new FormData(event.target) });
});

find("digest").addEventListener("submit", (event) => {
  event.preventDefault();
  const headers = { "Content-Type": "text/plain; charset=utf-8" };
  submit(event.target, "/api/jobs/digest", { headers, body: event.target.elements.text.value });
});

find("tint").addEventListener("change", () => {
  const picture = Picture.current;
  if (picture?.job?.kind !== "render") return;
  picture.paint();
  showDownload(picture.job);
});

find("severity").addEventListener("change", () => refreshLogs().catch(complain));

const jobs = await refreshJobs().catch(() => []);
const latest = jobs.find((job) => job.kind === "render");
if (latest) new Picture(latest.job);
refresh();
