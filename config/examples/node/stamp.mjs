// Verifies extauthz's stamp (docs/stamp.md) with jose. Nothing of HTTP but header names lives here; the service is in
// server.mjs. Every vector of docs/stamp-vectors.json passes through this file in extauthz's own tests.
import { createHash } from "node:crypto";
import { compactVerify, createLocalJWKSet, createRemoteJWKSet, errors } from "jose";

const TYPE = "authz-stamp+jwt";
const ALGORITHMS = ["ES256", "EdDSA"]; // pinned here, never taken from the stamp
const HEADER_MEMBERS = new Set(["alg", "kid", "typ"]);
const MAX_BYTES = 8192;
const MAX_LIFETIME_SECONDS = 3600;
const LEEWAY_SECONDS = 10;
const KID = /^[A-Za-z0-9_-]{43}$/;
const CONTROL = /[\u0000-\u001f\u007f-\u009f]/;

export class StampRefused extends Error {
  constructor(reason) {
    super(reason);
    this.reason = reason;
  }
}

/** Keys from an https URL, an http URL of this host, or a JWKS object. jose caches and refreshes the former. */
export function keysFrom(source) {
  if (typeof source === "object") return createLocalJWKSet(source);
  const url = new URL(source);
  const here = ["127.0.0.1", "[::1]", "localhost"].includes(url.hostname);
  if (url.protocol !== "https:" && !(url.protocol === "http:" && here)) {
    throw new Error(`JWKS from ${url.protocol}//${url.hostname}: whoever is on the way could choose the keys`);
  }
  return createRemoteJWKSet(url, { timeoutDuration: 5000, cooldownDuration: 10000, cacheMaxAge: 60000 });
}

/** Returns verify(stamp, {method, host, path}), which resolves to the claims or throws a StampRefused. */
export function stampVerifier({ keys, audience, issuer = "extauthz", now = () => Date.now() / 1000 }) {
  return async function verify(stamp, { method, host, path }) {
    const { header, payload } = await signed(stamp, keys);
    const claims = parse(payload);
    checkClaims(claims, issuer, audience, now());
    if ("htm" in claims && claims.htm !== method) throw new StampRefused("stamp_method");
    if ("hth" in claims && (host === undefined || claims.hth !== normalHost(host))) throw new StampRefused("stamp_host");
    if ("pth" in claims && (path === undefined || claims.pth !== pathHash(path))) throw new StampRefused("stamp_path");
    return { ...claims, kid: header.kid };
  };
}

async function signed(stamp, keys) {
  if (!stamp) throw new StampRefused("stamp_missing");
  if (stamp.length > MAX_BYTES) throw new StampRefused("stamp_too_large");
  if (stamp.includes(",")) throw new StampRefused("stamp_repeated");
  const parts = stamp.split(".");
  if (parts.length !== 3 || !parts.every(isCanonical)) throw new StampRefused("stamp_malformed");
  const header = parse(Buffer.from(parts[0], "base64url"));
  if (Object.keys(header).some((name) => !HEADER_MEMBERS.has(name))) throw new StampRefused("stamp_header");
  if (!ALGORITHMS.includes(header.alg)) throw new StampRefused("stamp_algorithm");
  if (header.typ !== TYPE) throw new StampRefused("stamp_type");
  if (typeof header.kid !== "string" || !KID.test(header.kid)) throw new StampRefused("stamp_header");
  try {
    const verified = await compactVerify(stamp, keys, { algorithms: ALGORITHMS });
    return { header: verified.protectedHeader, payload: verified.payload };
  } catch (error) {
    throw new StampRefused(reasonOf(error));
  }
}

function reasonOf(error) {
  if (error instanceof errors.JWSSignatureVerificationFailed) return "stamp_signature";
  if (error instanceof errors.JWKSNoMatchingKey) return "stamp_key_unknown";
  if (error instanceof errors.JOSEAlgNotAllowed) return "stamp_algorithm";
  if (error instanceof errors.JWSInvalid) return "stamp_malformed";
  return "stamp_keys_unavailable";
}

function checkClaims(claims, issuer, audience, now) {
  for (const name of ["iss", "aud", "sub", "jti", "prx"]) {
    const value = claims[name];
    if (typeof value !== "string" || !value.trim() || CONTROL.test(value)) throw new StampRefused("stamp_claims");
  }
  if (![claims.iat, claims.exp].every(Number.isSafeInteger)) throw new StampRefused("stamp_claims");
  if ("nbf" in claims && !Number.isSafeInteger(claims.nbf)) throw new StampRefused("stamp_claims");
  if (claims.iss !== issuer) throw new StampRefused("stamp_issuer");
  if (claims.aud !== audience) throw new StampRefused("stamp_audience");
  const lifetime = claims.exp - claims.iat;
  if (lifetime <= 0 || lifetime > MAX_LIFETIME_SECONDS) throw new StampRefused("stamp_lifetime");
  if (Math.max(claims.iat, claims.nbf ?? 0) > now + LEEWAY_SECONDS) throw new StampRefused("stamp_not_yet_valid");
  if (claims.exp <= now - LEEWAY_SECONDS) throw new StampRefused("stamp_expired");
}

// Buffer's decoder skips what it does not know, so that many texts would be one value; writing it again shows it.
function isCanonical(part) {
  return Buffer.from(part, "base64url").toString("base64url") === part;
}

function parse(bytes) {
  let value;
  const text = Buffer.from(bytes).toString("utf8");
  try {
    value = JSON.parse(text);
  } catch {
    throw new StampRefused("stamp_malformed");
  }
  const isObject = value !== null && typeof value === "object" && !Array.isArray(value);
  // JSON.parse takes the last of two members of one name; other readers may take the first.
  if (!isObject || Object.keys(value).length !== countMembers(text)) throw new StampRefused("stamp_malformed");
  return value;
}

// The members of the outermost object, counted in the text.
function countMembers(text) {
  let depth = 0;
  let members = 0;
  for (const [token] of text.matchAll(/"(?:[^"\\]|\\.)*"|[{}[\]:]/gs)) {
    if (token === "{" || token === "[") depth += 1;
    else if (token === "}" || token === "]") depth -= 1;
    else if (token === ":" && depth === 1) members += 1;
  }
  return members;
}

// Without the port; what is no host with at most a port stays whole. Only ASCII letters change.
function normalHost(host) {
  const name = /^(\[[^[\]]*\]|[^:[\]]*)(?::[0-9]*)?$/.exec(host)?.[1] ?? host;
  return name.replace(/[A-Z]/g, (letter) => letter.toLowerCase());
}

function pathHash(path) {
  const target = path.endsWith("?") && path.indexOf("?") === path.length - 1 ? path.slice(0, -1) : path;
  return createHash("sha256").update(target, "utf8").digest("base64url");
}

const canonical = (name) => name.toLowerCase().replace(/[^a-z0-9]/g, "-");

/**
 * Deletes every identity header that arrived, aliases too, and writes them anew from the verified claims, in all three
 * forms in which node:http has the headers: frameworks read any of them.
 */
export function rewriteHeaders(request, claims, userHeader) {
  const names = ["x-authz-user", "x-authz-gateway", "x-authz-decision", "x-authz-stamp"];
  const mine = new Set([...names, userHeader].filter(Boolean).map(canonical));
  for (const headers of [request.headers, request.headersDistinct]) {
    for (const name of Object.keys(headers)) {
      if (mine.has(canonical(name))) delete headers[name];
    }
  }
  const raw = request.rawHeaders; // name, value, name, value
  for (let at = raw.length - 2; at >= 0; at -= 2) {
    if (mine.has(canonical(raw[at]))) raw.splice(at, 2);
  }
  const written = { "x-authz-user": claims.sub, "x-authz-gateway": claims.aud };
  if (userHeader) written[userHeader.toLowerCase()] = claims.sub;
  for (const [name, value] of Object.entries(written)) {
    request.headers[name] = value;
    request.headersDistinct[name] = [value];
    raw.push(name, value);
  }
}
