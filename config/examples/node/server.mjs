// A Node service that trusts only what extauthz stamped. Run it with
//   JWKS=http://127.0.0.1:9192/.well-known/jwks.json AUDIENCE=openclaw PORT=8080 npm start
import { readFileSync } from "node:fs";
import { createServer } from "node:http";
import { keysFrom, rewriteHeaders, StampRefused, stampVerifier } from "./stamp.mjs";

const { JWKS, AUDIENCE, ISSUER = "extauthz", USER_HEADER, HOST = "127.0.0.1", PORT = "8080" } = process.env;
if (!JWKS || !AUDIENCE) {
  console.error("set JWKS (a URL or a file) and AUDIENCE (this Gateway's id)");
  process.exit(2);
}
const keys = keysFrom(JWKS.includes("://") ? JWKS : JSON.parse(readFileSync(JWKS, "utf8")));
const verify = stampVerifier({ keys, audience: AUDIENCE, issuer: ISSUER });

/** Who is there. Throws a StampRefused, and from then on the request's headers can be believed. */
async function identify(request) {
  const stamps = request.headersDistinct["x-authz-stamp"] ?? [];
  if (stamps.length > 1) throw new StampRefused("stamp_repeated");
  const hosts = request.headersDistinct.host ?? [];
  // Without one, or with several, nobody knows which host the rest of the service goes by.
  if (hosts.length > 1 || hosts[0]?.includes(",")) throw new StampRefused("stamp_host");
  const claims = await verify(stamps[0] ?? "", {
    method: request.method,
    host: hosts[0],
    path: request.url,
  });
  if (hosts.length === 0) throw new StampRefused("stamp_host");
  rewriteHeaders(request, claims, USER_HEADER);
  return claims;
}

// Whatever fails, nobody gets in.
const reasonOf = (error) => (error instanceof StampRefused ? error.reason : "stamp_internal_error");

const server = createServer(async (request, response) => {
  response.setHeader("content-type", "application/json");
  response.setHeader("cache-control", "no-store");
  let claims;
  try {
    claims = await identify(request);
  } catch (error) {
    const reason = reasonOf(error);
    response.writeHead(401, { "www-authenticate": `authz-stamp error="${reason}"` });
    response.end(JSON.stringify({ error: reason }));
    return;
  }
  // Your application begins here.
  response.end(JSON.stringify({ user: claims.sub, gateway: claims.aud, headers: request.headers }));
});

server.on("upgrade", async (request, socket) => {
  socket.on("error", () => socket.destroy());
  try {
    await identify(request);
  } catch (error) {
    const reason = reasonOf(error);
    const body = JSON.stringify({ error: reason });
    socket.end(
      `HTTP/1.1 401 Unauthorized\r\nwww-authenticate: authz-stamp error="${reason}"\r\n` +
        `content-type: application/json\r\ncontent-length: ${body.length}\r\nconnection: close\r\n\r\n${body}`,
    );
    return;
  }
  // Hand the socket to your WebSocket library here, e.g. `webSocketServer.handleUpgrade(request, socket, head, ...)`.
  socket.end("HTTP/1.1 501 Not Implemented\r\ncontent-length: 0\r\nconnection: close\r\n\r\n");
});

server.listen(Number(PORT), HOST, () => console.log(`listening on ${server.address().port}`));
