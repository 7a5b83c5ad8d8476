// Where one is on the page, kept in the URL's fragment, so that it can be kept, shared and gone back to:
// #decisions?result=deny&gateway=openclaw

/** Return the view's name and its fields. */
export function place() {
  const [view, query = ""] = location.hash.slice(1).split("?", 2);
  return { view, fields: Object.fromEntries(new URLSearchParams(query)) };
}

export function address(view, fields = {}) {
  const wanted = Object.entries(fields).filter(([, value]) => value);
  const query = new URLSearchParams(wanted).toString();
  return query ? `#${view}?${query}` : `#${view}`;
}

/** Go somewhere; the way back stays open. */
export function go(view, fields) {
  location.hash = address(view, fields);
}

/** Remember where one is, without a step on the way back. */
export function stay(view, fields) {
  history.replaceState(null, "", address(view, fields));
}
