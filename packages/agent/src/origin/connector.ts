/**
 * Opens connections for undici: a dial deadline over name look-up, TCP and TLS together, and for registries that
 * nobody configured a guard over the addresses. The guard filters what the name resolves to and the dial uses exactly
 * those addresses, so a name cannot change its mind between the check and the connection.
 */
import { lookup } from 'node:dns';
import { isIP, type LookupFunction } from 'node:net';
import { getCACertificates } from 'node:tls';
import { buildConnector } from 'undici';
import { OriginError } from './origin-client.ts';
import { isPublicAddress } from './public-address.ts';

export interface ConnectorOptions {
  dialMs: number;
  /** Refuse every address that is not public. */
  publicOnly: boolean;
  insecureTls?: boolean;
  ca?: string;
}

export function createConnector(options: ConnectorOptions): buildConnector.connector {
  const { dialMs, publicOnly, insecureTls, ca } = options;
  const connect = buildConnector({
    // undici's own timer ticks twice a second; the deadline below is exact.
    timeout: 0,
    allowH2: false,
    ...(publicOnly ? { lookup: publicLookup } : {}),
    ...(insecureTls === true ? { rejectUnauthorized: false } : {}),
    ...(ca === undefined ? {} : { ca: [...getCACertificates('default'), ca] }),
    // The declared type is a union of option bags that no literal with TLS and TCP options fits.
  } as buildConnector.BuildOptions);

  return (target, callback) => {
    // net.connect does not look addresses up, so the guard on look-ups never sees them.
    if (publicOnly && isIP(target.hostname) !== 0 && !isPublicAddress(target.hostname)) {
      callback(blockedAddress(target.hostname), null);
      return;
    }
    const timer = setTimeout(() => {
      socket?.destroy(new OriginError('timeout', `${target.hostname} took no connection within ${dialMs} ms`));
    }, dialMs);
    const done: buildConnector.Callback = (...outcome) => {
      clearTimeout(timer);
      callback(...outcome);
    };
    const socket = connect(target, done) as unknown as { destroy(error: Error): void } | undefined;
  };
}

function blockedAddress(host: string): OriginError {
  return new OriginError('blocked-host', `${host} is not on the public internet and not configured by name`);
}

const publicLookup: LookupFunction = (hostname, options, callback) => {
  lookup(hostname, { ...options, all: true }, (error, found) => {
    if (error !== null) {
      callback(error, []);
      return;
    }
    const addresses = found.filter(({ address }) => isPublicAddress(address));
    const [first] = addresses;
    if (first === undefined) callback(blockedAddress(hostname), []);
    else if (options.all === true) callback(null, addresses);
    else callback(null, first.address, first.family);
  });
};
