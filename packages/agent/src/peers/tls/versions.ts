/**
 * What agents may speak on a connection, by ALPN. A version names all that runs inside: yamux, our protocols in it, how blobs
 * are cut into pieces. Both sides offer all that they speak, and the newest that both do is spoken.
 *
 * Whoever finds none in common asks what the other one speaks, in a handshake of its own: the answer is a line per version,
 * then the end. So it can be told apart from a member that is down, and it is also how an address is shown to lead to a member
 * (`dial-back.ts`), without a connection that libp2p would hear of.
 */
import { once } from 'node:events';
import { connect, type SecureContext, type TLSSocket } from 'node:tls';
import { peerIdOfCertificate } from './tls-certificate.ts';

/** Newest first. Another number is another language; keep the one before it for as long as clusters are upgraded from it. */
export const PROTOCOL_VERSIONS: readonly string[] = ['shoal/3'];
/** Never spoken beside others: whoever offers it wants the list, and nothing else. */
export const VERSIONS_QUESTION = 'shoal-versions/1';
const VERSION = /^shoal\/\d{1,9}$/;
const MAX_VERSIONS = 16;
const MAX_ANSWER_BYTES = 512;

/** What to speak with whoever offers these, or undefined. @param spoken newest first */
export function commonVersion(spoken: readonly string[], offered: readonly string[]): string | undefined {
  return spoken.find((version) => offered.includes(version));
}

/** Those of a list by somebody else that are versions. */
export function versionsIn(list: readonly string[]): string[] {
  return list.filter((version) => VERSION.test(version)).slice(0, MAX_VERSIONS);
}

export function versionsAnswer(spoken: readonly string[]): string {
  return spoken.map((version) => `${version}\n`).join('');
}

/** Whether a failed handshake failed because nothing that was offered is spoken there. */
export function isNoCommonVersion(error: unknown): boolean {
  return error instanceof Error && 'code' in error && error.code === 'ERR_SSL_TLSV1_ALERT_NO_APPLICATION_PROTOCOL';
}

/**
 * What the agent at an address speaks. Undefined: it is that agent, or proves to be none at all, but does not know the
 * question, as builds before it.
 * @param host an IP address or a name
 * @throws Error when nobody is there in time, or another one than `peerId`
 */
export async function askVersions(
  { host, port, peerId }: { host: string; port: number; peerId: string },
  secureContext: SecureContext,
  signal: AbortSignal,
): Promise<string[] | undefined> {
  signal.throwIfAborted();
  const socket = connect({ host, port, secureContext, ALPNProtocols: [VERSIONS_QUESTION], rejectUnauthorized: false });
  // Waiting for it to close would miss an end that came before; and what happens after the answer is of no interest.
  socket.on('error', () => {});
  try {
    await once(socket, 'secureConnect', { signal });
    if (provenPeerId(socket) !== peerId) throw new Error(`${host} port ${port} is not ${peerId}`);
    return versionsIn((await readAll(socket, signal)).split('\n'));
  } catch (error) {
    if (isNoCommonVersion(error)) return undefined;
    throw error;
  } finally {
    socket.destroy();
  }
}

/** Of the other end; a session that is taken up again by its ticket shows no certificate anew, so it counts for none. */
export function provenPeerId(socket: TLSSocket): string | undefined {
  const certificate = socket.getPeerX509Certificate();
  return certificate === undefined || socket.isSessionReused() ? undefined : peerIdOfCertificate(certificate);
}

/** @throws Error when it is longer than an answer can be, or when the signal fires */
async function readAll(socket: TLSSocket, signal: AbortSignal): Promise<string> {
  const stop = (): void => void socket.destroy(new Error('too late'));
  signal.addEventListener('abort', stop, { once: true });
  try {
    let text = '';
    for await (const chunk of socket) {
      text += String(chunk);
      if (text.length > MAX_ANSWER_BYTES) throw new Error('more than a list of versions');
    }
    return text;
  } finally {
    signal.removeEventListener('abort', stop);
  }
}
