// Asking the service. The token, if one is wanted, is kept for this tab alone and travels in a header only.

const TOKEN = "extauthz-admin-token";
const WAIT_MS = 15_000;

export class TokenWanted extends Error {}

/** The service answered, and refused; the text says what to do. */
export class Refused extends Error {}

export const token = {
  keep: (value) => sessionStorage.setItem(TOKEN, value),
  forget: () => sessionStorage.removeItem(TOKEN),
  get: () => sessionStorage.getItem(TOKEN),
};

async function ask(name, options) {
  const headers = { ...options.headers };
  const kept = token.get();
  if (kept) headers.Authorization = `Bearer ${kept}`;
  const response = await fetch(`/console/api/${name}`, { ...options, headers, cache: "no-store", signal: AbortSignal.timeout(WAIT_MS) });
  if (response.status === 401) throw new TokenWanted();
  const told = await response.json();
  if (!response.ok) throw new Refused(told.do ?? told.error ?? `the service answered ${response.status}`);
  return told;
}

/** Get data by name; fields that are null, undefined or "" are left out. */
export function get(name, fields = {}) {
  const wanted = Object.entries(fields).filter(([, value]) => value !== null && value !== undefined && value !== "");
  const query = new URLSearchParams(wanted).toString();
  return ask(query ? `${name}?${query}` : name, {});
}

/** Ask for data that depends on more than belongs into a URL. Nothing is changed by it. */
export function post(name, body) {
  return ask(name, { method: "POST", headers: { "Content-Type": "application/json" }, body: JSON.stringify(body) });
}
