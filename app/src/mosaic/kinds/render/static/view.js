// A view of the plane, and a small picture of it for selecting the next view.

const LEAST_WIDTH = 1e-11;
const GREATEST_WIDTH = 8;

export function clamp(view) {
  return {
    x: Math.min(4, Math.max(-4, view.x)),
    y: Math.min(4, Math.max(-4, view.y)),
    width: Math.min(GREATEST_WIDTH, Math.max(LEAST_WIDTH, view.width)),
  };
}

// The view inside a rectangle of a picture: `box` in fractions of the picture's width and height, from the upper left.
export function inside(view, box, aspect) {
  const height = view.width / aspect;
  return clamp({
    x: view.x + (box.left + box.width / 2 - 0.5) * view.width,
    y: view.y - (box.top + box.height / 2 - 0.5) * height,
    width: view.width * box.width,
  });
}

const STOPS = [[0, 4, 10, 60], [0.16, 32, 107, 203], [0.42, 237, 255, 255], [0.6425, 255, 170, 0], [0.8575, 40, 4, 20], [1, 4, 10, 60]];

function colour(time) {
  const place = Math.sqrt(time / 160) % 1;
  const upper = STOPS.findIndex((stop) => stop[0] > place);
  const [from, ...low] = STOPS[upper - 1];
  const [to, ...high] = STOPS[upper];
  const share = (place - from) / (to - from);
  return low.map((value, channel) => value + (high[channel] - value) * share);
}

function escapeTime(x, y, iterations) {
  let [re, im] = [0, 0];
  for (let count = 1; count <= iterations; count += 1) {
    const square = re * re - im * im + x;
    im = 2 * re * im + y;
    re = square;
    const size = re * re + im * im;
    if (size > 4096) return count + 1 - Math.log2(Math.log2(size) / 12);
  }
  return null;
}

// Paints the view on the canvas, line by line, so that the page stays responsive. A new call stops an earlier one.
export function preview(canvas, view, iterations) {
  const run = (canvas.run = (canvas.run ?? 0) + 1);
  const context = canvas.getContext("2d", { alpha: false });
  const { width, height } = canvas;
  const step = view.width / width;
  let row = 0;
  function stripe() {
    if (canvas.run !== run) return;
    const until = performance.now() + 12;
    while (row < height && performance.now() < until) {
      const line = context.createImageData(width, 1);
      const y = view.y - (row + 0.5 - height / 2) * step;
      for (let column = 0; column < width; column += 1) {
        const time = escapeTime(view.x + (column + 0.5 - width / 2) * step, y, iterations);
        const rgb = time === null ? [0, 0, 0] : colour(Math.max(0, time));
        line.data.set([...rgb, 255], column * 4);
      }
      context.putImageData(line, 0, row);
      row += 1;
    }
    if (row < height) requestAnimationFrame(stripe);
  }
  stripe();
}
