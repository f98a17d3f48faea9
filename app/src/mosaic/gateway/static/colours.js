// The colour of a line in a chart, by its name. The browser stores the names in the order in which it met them, so that
// a name has the same colour in every chart and view, and no two names have the same.

const KEY = "colours";
const MOST = 400;
const GOLDEN_ANGLE = 137.508;
const LIGHTNESS = [52, 40, 64];
const EACH = 14;
let names = [];
try {
  names = JSON.parse(localStorage.getItem(KEY)) ?? [];
} catch {
  // Without its storage a browser assigns the colours anew on each page.
}

export function colourOf(name) {
  let place = names.indexOf(name);
  if (place < 0) {
    if (names.length >= MOST) names = [];
    place = names.push(name) - 1;
    localStorage.setItem(KEY, JSON.stringify(names));
  }
  // Each hue is far from those before it; after EACH hues the lightness changes.
  return `hsl(${((place * GOLDEN_ANGLE) % 360).toFixed(1)} 62% ${LIGHTNESS[Math.floor(place / EACH) % LIGHTNESS.length]}%)`;
}
