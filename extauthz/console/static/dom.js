// Making elements and writing values. Whatever comes from outside becomes text here, and nothing else: no markup is
// ever parsed, and the page's policy (Trusted Types) would refuse it.

const SVG = "http://www.w3.org/2000/svg";

function build(node, attributes, children) {
  for (const [name, value] of Object.entries(attributes ?? {})) {
    if (value === null || value === undefined || value === false) continue;
    if (name.startsWith("on")) node.addEventListener(name.slice(2), value);
    else node.setAttribute(name, value === true ? "" : String(value));
  }
  node.append(...children.flat(Infinity).filter((child) => child !== null && child !== undefined && child !== false));
  return node;
}

/** Make an element; children are nodes and text. */
export function el(tag, attributes, ...children) {
  return build(document.createElement(tag), attributes, children);
}

/** Make an SVG element. */
export function svg(tag, attributes, ...children) {
  return build(document.createElementNS(SVG, tag), attributes, children);
}

export const byId = (id) => document.getElementById(id);

const NUMBER = new Intl.NumberFormat("en");
const CLOCK = new Intl.DateTimeFormat("en-GB", { hour: "2-digit", minute: "2-digit", second: "2-digit" });
const SHORT_CLOCK = new Intl.DateTimeFormat("en-GB", { hour: "2-digit", minute: "2-digit" });
const DAY = new Intl.DateTimeFormat("en-GB", { day: "numeric", month: "short", year: "numeric" });

export const number = (value) => NUMBER.format(value);
export const clock = (date) => CLOCK.format(date);
export const shortClock = (date) => SHORT_CLOCK.format(date);

/** "1 gateway", "2 gateways". */
export function count(value, one, many = `${one}s`) {
  return `${number(value)} ${value === 1 ? one : many}`;
}

/** A part of a whole, as percent; small parts are not rounded to none. */
export function share(part, whole) {
  if (!whole || !part) return "0 %";
  const percent = (part / whole) * 100;
  return percent < 0.1 ? "< 0.1 %" : percent > 99.9 && part < whole ? "> 99.9 %" : `${percent.toFixed(percent < 10 ? 1 : 0)} %`;
}

const UNITS = [["d", 86400], ["h", 3600], ["min", 60], ["s", 1]];

/** A span of time in its two largest units: "3 d 4 h". */
export function span(seconds) {
  let left = Math.max(0, Math.round(seconds));
  const parts = [];
  for (const [unit, size] of UNITS) {
    if (left >= size || (unit === "s" && !parts.length)) parts.push(`${Math.floor(left / size)} ${unit}`);
    left %= size;
    if (parts.length === 2) break;
  }
  return parts.join(" ");
}

/** A moment in local time; its title says it in UTC. `when` is a Date or Unix seconds. */
export function moment(when, { day = false, fraction = false } = {}) {
  const date = when instanceof Date ? when : new Date(when * 1000);
  if (Number.isNaN(date.getTime())) return el("span", {}, "?");
  const today = date.toDateString() === new Date().toDateString();
  let text = CLOCK.format(date);
  if (fraction) text += `.${String(date.getMilliseconds()).padStart(3, "0")}`;
  if (day || !today) text = `${DAY.format(date)}, ${text}`;
  return el("time", { datetime: date.toISOString(), title: `${date.toISOString().replace("T", " ").replace("Z", "")} UTC` }, text);
}

export const RESULTS = {
  allow: { sign: "✓", text: "allowed" },
  deny: { sign: "✕", text: "denied" },
  shadow: { sign: "◐", text: "shadow" },
};

/** The result of a decision: a sign and a word, coloured too. */
export function result(value) {
  const known = RESULTS[value] ?? { sign: "?", text: String(value) };
  return el("span", { class: `result ${value in RESULTS ? value : ""}` }, el("span", { "aria-hidden": "true" }, known.sign), ` ${known.text}`);
}

/** What stands where nothing is to be shown yet, and what to do about it. */
export function empty(title, ...told) {
  return el("div", { class: "empty" }, el("p", { class: "empty-title" }, title), el("p", {}, ...told));
}

export function card(title, ...children) {
  return el("section", { class: "card" }, title && el("h2", {}, title), ...children);
}

/** Rows of names and values; what is null is left out. */
export function facts(pairs) {
  return el("dl", { class: "facts" }, pairs.filter(([, value]) => value !== null && value !== undefined).map(
    ([name, value]) => el("div", {}, el("dt", {}, name), el("dd", {}, value)),
  ));
}

/** Text in which what stands between backticks is code, as in the service's own texts. */
export function prose(text) {
  return String(text).split("`").map((part, at) => (at % 2 ? code(part) : part));
}

export const code = (text) => el("code", {}, text);

/** A list that may be longer than what is shown of it. */
export function list({ shown, total }, none = "none") {
  if (!total) return el("span", { class: "muted" }, none);
  const rest = total - shown.length;
  return el("ul", { class: "chips" }, shown.map((text) => el("li", {}, code(text))), rest > 0 && el("li", { class: "muted" }, `and ${number(rest)} more`));
}
