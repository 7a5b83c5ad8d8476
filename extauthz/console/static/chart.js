// The counts over time as stacked bars: denials stand on the ground line, where a change is seen best. Drawn as SVG.

import { RESULTS, clock, number, shortClock, svg } from "./dom.js";

export const RANGES = {
  "5m": { text: "5 minutes", bars: 60, seconds: 5, from: "seconds", unit: "per 5 s" },
  "1h": { text: "1 hour", bars: 60, seconds: 60, from: "minutes", unit: "per minute" },
  "6h": { text: "6 hours", bars: 72, seconds: 300, from: "minutes", unit: "per 5 min" },
};
const ORDER = ["deny", "shadow", "allow"];
const HEIGHT = 220;
const EDGE = { top: 10, right: 28, bottom: 24, left: 44 };

/** Sum points [time, allow, deny, shadow] into the bars of a range that ends now. */
export function bars(counts, range) {
  const { bars: many, seconds, from } = RANGES[range];
  const end = Math.floor(counts.now / seconds);
  const found = Array.from({ length: many }, (_, at) => ({ time: (end - many + 1 + at) * seconds, allow: 0, deny: 0, shadow: 0 }));
  for (const [time, allow, deny, shadow] of counts[from]) {
    const bar = found[Math.floor(time / seconds) - (end - many + 1)];
    if (!bar) continue;
    bar.allow += allow;
    bar.deny += deny;
    bar.shadow += shadow;
  }
  return found;
}

/** The next round number, of which half is round as well. */
function round(value) {
  const power = 10 ** Math.floor(Math.log10(Math.max(value, 1)));
  return [1, 2, 3, 4, 6, 8, 10].map((step) => step * power).find((step) => step >= value);
}

const total = (bar) => bar.allow + bar.deny + bar.shadow;

/** Say what one bar holds. */
export function told(bar, range) {
  const { seconds } = RANGES[range];
  const begin = new Date(bar.time * 1000);
  const end = new Date((bar.time + seconds) * 1000);
  const when = seconds < 60 ? `${clock(begin)}–${clock(end)}` : `${shortClock(begin)}–${shortClock(end)}`;
  const parts = ["allow", "deny", "shadow"].filter((name) => bar[name]).map((name) => `${number(bar[name])} ${RESULTS[name].text}`);
  return `${when}: ${parts.join(", ") || "no requests"}`;
}

/** Draw the bars into an <svg>; `chosen` is the bar that is pointed at, or -1. */
export function draw(node, found, range, chosen) {
  const width = Math.max(node.clientWidth, 240);
  const plot = { width: width - EDGE.left - EDGE.right, height: HEIGHT - EDGE.top - EDGE.bottom };
  const top = round(Math.max(...found.map(total), 4));
  const step = plot.width / found.length;
  const gap = step > 6 ? 2 : 1;
  const up = (value) => (value / top) * plot.height;
  const ground = EDGE.top + plot.height;
  node.setAttribute("viewBox", `0 0 ${width} ${HEIGHT}`);
  node.replaceChildren(patterns(), ...grid(top, width, up, ground));
  found.forEach((bar, at) => {
    const left = EDGE.left + at * step;
    if (at === chosen) node.append(svg("rect", { class: "pointed", x: left - gap / 2, y: EDGE.top, width: step, height: plot.height }));
    let y = ground;
    for (const name of ORDER) {
      if (!bar[name]) continue;
      const height = Math.max(up(bar[name]), 1.5); // what is there is seen
      y -= height;
      const box = { x: left, y, width: Math.max(step - gap, 1), height };
      node.append(svg("rect", { class: `bar ${name}`, ...box }));
      if (name !== "allow") node.append(svg("rect", { class: "texture", fill: `url(#texture-${name})`, ...box }));
    }
  });
  node.append(...hours(found, range, step, ground));
}

/** Which bar is at this place of the drawing, in pixels from its left. */
export function barAt(node, found, x) {
  const step = (Math.max(node.clientWidth, 240) - EDGE.left - EDGE.right) / found.length;
  return Math.min(found.length - 1, Math.max(0, Math.floor((x - EDGE.left) / step)));
}

// Colour is not the only sign: denials are striped, shadow is dotted.
function patterns() {
  const tile = { patternUnits: "userSpaceOnUse", width: 6, height: 6 };
  return svg("defs", {},
    svg("pattern", { id: "texture-deny", ...tile, patternTransform: "rotate(45)" }, svg("rect", { class: "ink", width: 2, height: 6 })),
    svg("pattern", { id: "texture-shadow", ...tile }, svg("circle", { class: "ink", cx: 3, cy: 3, r: 1.2 })),
  );
}

function grid(top, width, up, ground) {
  return [0, 0.5, 1].flatMap((part) => {
    const y = ground - up(top * part);
    return [
      svg("line", { class: part ? "rule" : "ground", x1: EDGE.left, x2: width - EDGE.right, y1: y, y2: y }),
      svg("text", { class: "scale", x: EDGE.left - 8, y: y + 4, "text-anchor": "end" }, number(top * part)),
    ];
  });
}

function hours(found, range, step, ground) {
  const every = Math.ceil(78 / step);
  const marks = [];
  for (let at = found.length - 1; at >= 0; at -= every) {
    const x = EDGE.left + (at + 0.5) * step;
    if (x < EDGE.left + 20) break;
    const when = new Date(found[at].time * 1000);
    marks.push(svg("text", { class: "scale", x, y: ground + 17, "text-anchor": "middle" }, RANGES[range].seconds < 60 ? clock(when) : shortClock(when)));
  }
  return marks;
}
