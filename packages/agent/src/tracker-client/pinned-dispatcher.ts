import { hash } from 'node:crypto';
import { TLSSocket } from 'node:tls';
import { Agent, buildConnector } from 'undici';
import { CallError } from './call-error.ts';

const MAX_CONNECTIONS_PER_TRACKER = 8;
const MAX_ANSWER_BYTES = 16 * 1024 * 1024;

/**
 * Connects only to who holds the TLS key of the pin: certificates are not looked at, their key is, before a byte of
 * any request is written.
 * @param pin base64url of the SHA-256 of the public key (SPKI, DER)
 */
export function pinnedDispatcher(pin: string, connectTimeoutMs: number): Agent {
  const connect = buildConnector({
    rejectUnauthorized: false,
    timeout: connectTimeoutMs,
    allowH2: false,
    // A resumed session would vouch for the key by a shared secret only.
    maxCachedSessions: 0,
  });
  return new Agent({
    connections: MAX_CONNECTIONS_PER_TRACKER,
    maxResponseSize: MAX_ANSWER_BYTES,
    connect: (options, callback) => {
      connect(options, (error, socket) => {
        if (error !== null) return callback(error, null);
        if (socket instanceof TLSSocket && pinOf(socket) === pin) return callback(null, socket);
        socket.destroy();
        const message = `the TLS key at ${options.host ?? options.hostname} is not the one in the join token`;
        callback(new CallError('WRONG_PIN', message), null);
      });
    },
  });
}

function pinOf(socket: TLSSocket): string | undefined {
  const spki = socket.getPeerX509Certificate()?.publicKey.export({ type: 'spki', format: 'der' });
  return spki && hash('sha256', spki, 'base64url');
}
