// A rendered picture on a canvas. Each tile is painted when its part is done. A tile comes with the event stream or is
// fetched. Many tiles at once, e.g. of a job that is done already, are cut out of the whole picture.

import { tint } from "/static/dom.js";
import { request } from "/static/net.js";

const LOADS_AT_ONCE = 8;
const CUT_FROM = 16;

const fromBase64 = (text) =>
  new Blob([Uint8Array.from(atob(text), (byte) => byte.charCodeAt(0))], { type: "image/png" });

export class Picture {
  // `params` of the job: width, height and tile in pixels, columns in tiles.
  constructor(canvas, job, params) {
    this.canvas = canvas;
    this.context = canvas.getContext("2d", { alpha: false });
    this.job = job;
    this.params = params;
    this.tinted = false;
    this.hosts = new Map();
    this.tiles = new Map();
    this.sent = new Map();
    this.queue = [];
    this.loading = 0;
    canvas.width = params.width;
    canvas.height = params.height;
    this.paint();
  }

  // Takes tiles before their parts: PNG in base64, by index.
  receive(tiles) {
    for (const [index, png] of Object.entries(tiles)) {
      if (!this.hosts.has(Number(index))) this.sent.set(Number(index), png);
    }
  }

  // Takes done parts. The same part twice changes nothing.
  take(parts) {
    const missing = [];
    for (const { part: index, host } of parts.filter((part) => !this.hosts.has(part.part))) {
      this.hosts.set(index, host);
      if (this.sent.has(index)) {
        this.show(index, fromBase64(this.sent.get(index))).catch(() => this.fetch(index));
        this.sent.delete(index);
      } else {
        missing.push(index);
      }
    }
    if (missing.length >= CUT_FROM) this.cut(missing);
    else for (const index of missing) this.fetch(index);
  }

  // The picture has every tile whose part is done.
  async cut(indexes) {
    try {
      const answer = await request(`/api/jobs/${this.job}/image`, { cache: "default" });
      const whole = await createImageBitmap(await answer.blob());
      await Promise.all(indexes.map((index) => {
        const { left, top } = this.place(index);
        const { tile } = this.params;
        return this.show(index, whole, left, top, Math.min(tile, whole.width - left), Math.min(tile, whole.height - top));
      }));
    } catch {
      for (const index of indexes.filter((one) => !this.tiles.has(one))) this.fetch(index);
    }
  }

  fetch(index) {
    this.queue.push(index);
    this.load();
  }

  // `image` is the tile, or the picture from which the box after it is cut.
  async show(index, image, ...box) {
    this.tiles.set(index, await createImageBitmap(image, ...box));
    this.paintTile(index);
  }

  async load() {
    if (this.loading >= LOADS_AT_ONCE || !this.queue.length) return;
    const index = this.queue.shift();
    this.loading += 1;
    try {
      const answer = await request(`/api/jobs/${this.job}/tiles/${index}.png`, { cache: "default" });
      await this.show(index, await answer.blob());
    } catch {
      setTimeout(() => this.fetch(index), 1000);
    } finally {
      this.loading -= 1;
      this.load();
    }
  }

  set tint(on) {
    this.tinted = on;
    this.paint();
  }

  // Missing tiles have a colour of the page's theme.
  paint() {
    this.context.fillStyle = getComputedStyle(document.documentElement).getPropertyValue("--sunk");
    this.context.fillRect(0, 0, this.canvas.width, this.canvas.height);
    for (const index of this.tiles.keys()) this.paintTile(index);
  }

  place(index) {
    const { columns, tile } = this.params;
    return { left: (index % columns) * tile, top: Math.floor(index / columns) * tile };
  }

  paintTile(index) {
    const bitmap = this.tiles.get(index);
    const { left, top } = this.place(index);
    this.context.drawImage(bitmap, left, top);
    if (!this.tinted) return;
    // The host's hue and saturation with the tile's brightness; then a thin layer, so that black tiles get a colour too.
    this.context.fillStyle = tint(this.hosts.get(index));
    for (const [mode, strength] of [["color", 1], ["source-over", 0.22]]) {
      this.context.globalCompositeOperation = mode;
      this.context.globalAlpha = strength;
      this.context.fillRect(left, top, bitmap.width, bitmap.height);
    }
    this.context.globalCompositeOperation = "source-over";
    this.context.globalAlpha = 1;
  }
}
