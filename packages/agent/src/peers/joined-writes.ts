/**
 * A small message leaves in one write. Noise hands each of its messages down in parts (a length of two bytes, then the
 * ciphertext), every part becomes a system call, and, as TCP does not wait here, a packet of its own. Requests, window
 * updates and everything on the control stream are such messages.
 */
import type { ConnectionEncrypter, MessageStream } from '@libp2p/interface';

/** Copying more than this costs more than the writes that it saves. */
const MAX_JOINED_BYTES = 16 * 1024;

/** Makes `encrypter` write that way on every connection that it secures. */
export function joiningSmallWrites(encrypter: ConnectionEncrypter): ConnectionEncrypter {
  const secureOutbound = encrypter.secureOutbound.bind(encrypter);
  const secureInbound = encrypter.secureInbound.bind(encrypter);
  encrypter.secureOutbound = (connection, options) => secureOutbound(joined(connection), options);
  encrypter.secureInbound = (connection, options) => secureInbound(joined(connection), options);
  return encrypter;
}

function joined<T extends MessageStream>(connection: T): T {
  const send = connection.send.bind(connection);
  connection.send = (data) =>
    send(data instanceof Uint8Array || data.byteLength > MAX_JOINED_BYTES ? data : data.subarray());
  return connection;
}
