// Runs docs/stamp-vectors.json through the Node example's verifier: node run_vectors.mjs STAMP_MJS VECTORS_JSON
import { readFileSync } from "node:fs";
import { pathToFileURL } from "node:url";

const [, , module, file] = process.argv;
const { keysFrom, stampVerifier } = await import(pathToFileURL(module));
const { jwks, now, vectors, verifier } = JSON.parse(readFileSync(file, "utf8"));
const verify = stampVerifier({ ...verifier, keys: keysFrom(jwks), now: () => now });
const said = {};
for (const { name, stamp, request } of vectors) {
  said[name] = await verify(stamp, request).then(
    () => null,
    (error) => error.reason ?? `threw ${error}`,
  );
}
console.log(JSON.stringify(said));
