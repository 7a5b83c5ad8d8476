// Preloaded into every Node process of OpenClaw: nothing goes to any address but this host's own, and whoever tries is
// written down in the file that GUARD_LOG names. It changes nothing else.
'use strict';

const dgram = require('node:dgram');
const dns = require('node:dns');
const fs = require('node:fs');
const net = require('node:net');

const refused = (what) => {
  fs.appendFileSync(process.env.GUARD_LOG, `${what}\n`);
  return Object.assign(new Error(`refused by the test: ${what}`), { code: 'ENOTFOUND' });
};

const isHere = (host) => !host || host === 'localhost' || host === '::1' || /^(::ffff:)?127\./.test(host);

const connect = net.Socket.prototype.connect;
net.Socket.prototype.connect = function (...given) {
  const first = Array.isArray(given[0]) ? given[0][0] : given[0];
  const options = typeof first === 'object' && first !== null ? first : { port: first, host: given[1] };
  const host = typeof options.host === 'string' ? options.host : undefined;
  if (options.path || isHere(host)) return connect.apply(this, given);
  const error = refused(`tcp ${host}`);
  process.nextTick(() => this.destroy(error));
  return this;
};

for (const method of ['send', 'connect']) {
  const original = dgram.Socket.prototype[method];
  dgram.Socket.prototype[method] = function (...given) {
    const host = given.findLast((one) => typeof one === 'string');
    if (host !== undefined && isHere(host)) return original.apply(this, given);
    throw refused(`udp ${host}`);
  };
}

for (const resolver of [dns, dns.promises, dns.Resolver.prototype, dns.promises.Resolver.prototype]) {
  for (const method of Object.getOwnPropertyNames(resolver)) {
    const original = resolver[method];
    if (!/^(lookup|resolve|reverse)/.test(method) || typeof original !== 'function') continue;
    resolver[method] = function (host, ...rest) {
      if (isHere(host)) return original.call(this, host, ...rest);
      const error = refused(`dns ${host}`);
      const callback = rest.at(-1);
      if (typeof callback !== 'function') return Promise.reject(error);
      process.nextTick(callback, error);
      return undefined;
    };
  }
}
