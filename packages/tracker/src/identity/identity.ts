/**
 * What makes this tracker the one its cluster trusts, as files in the data directory that only their owner reads:
 *
 *   tls.pem          private key and self-signed certificate of the API; agents pin its public key
 *   cluster-key.pem  Ed25519 key that signs membership certificates
 *   join-secret      what an agent must know to join
 *   join-token       pin and secret in one line, for the operator; written last, so where it is the others were, too
 *
 * A missing or damaged file is never replaced by a new one once the identity was complete: every agent would be locked
 * out without anybody having asked for it.
 */
import {
  createPrivateKey,
  createPublicKey,
  generateKeyPairSync,
  hash,
  type KeyObject,
  randomBytes,
  X509Certificate,
} from 'node:crypto';
import { join } from 'node:path';
import { formatJoinToken, parseJoinToken } from '@shoal/wire';
import type { Logger } from 'pino';
import { generate } from 'selfsigned';
import { TrackerStartError } from '../start-error.ts';
import { createOnce, readIfThere, replaceFile } from './durable-file.ts';

const JOIN_SECRET_BYTES = 32;
const TLS_VALIDITY_YEARS = 30;

export interface TrackerIdentity {
  tls: { key: string; cert: string };
  /** Ed25519, private. */
  clusterKey: KeyObject;
  /** base64url, as agents send it. */
  joinSecret: string;
  joinToken: string;
}

/** As they are named in the data directory, and in a folder given to `readIdentity`. */
export const IDENTITY_FILES = ['tls.pem', 'cluster-key.pem', 'join-secret', 'join-token'] as const;

/** Reads an identity that somebody else keeps, such as a mounted Secret; nothing is created or written. */
export async function readIdentity(folder: string): Promise<TrackerIdentity> {
  const [tlsText, keyText, secretText, token] = await Promise.all(
    IDENTITY_FILES.map(async (name) => {
      const path = join(folder, name);
      const text = await readIfThere(path).catch((error: NodeJS.ErrnoException) => {
        throw unusable(path, `cannot be read (${error.code ?? error.message})`);
      });
      if (text === undefined) throw unusable(path, 'is missing');
      return text;
    }),
  );
  const [tls, clusterKey] = [
    parseGiven(join(folder, 'tls.pem'), tlsText, parseTls),
    parseGiven(join(folder, 'cluster-key.pem'), keyText, parseClusterKey),
  ];
  const joinSecret = (secretText ?? '').trim();
  const joinToken = formatJoinToken({ pin: pinOf(tls.cert), secret: joinSecret });
  if (token?.trim() !== joinToken) {
    throw unusable(join(folder, 'join-token'), 'does not fit the other files: agents that have it would not be let in');
  }
  return { tls, clusterKey, joinSecret, joinToken };
}

function parseGiven<T>(path: string, text: string | undefined, parse: (text: string) => T): T {
  try {
    return parse(text ?? '');
  } catch (error) {
    throw unusable(path, `is damaged (${error instanceof Error ? error.message : String(error)})`);
  }
}

function unusable(path: string, what: string): TrackerStartError {
  return new TrackerStartError(
    'IDENTITY_INCOMPLETE',
    `${path} ${what}; give the folder with ${IDENTITY_FILES.join(', ')} of one tracker, as they are in its data folder.`,
  );
}

/** Reads the identity, or creates it at the first start. The data directory must exist and be this process's own. */
export async function openIdentity(dataDir: string, logger: Logger): Promise<TrackerIdentity> {
  const tokenPath = join(dataDir, 'join-token');
  const writtenToken = await readIfThere(tokenPath);
  const complete = writtenToken !== undefined;

  const tls = await openFile(dataDir, 'tls.pem', complete, createTls, parseTls);
  const clusterKey = await openFile(dataDir, 'cluster-key.pem', complete, createClusterKey, parseClusterKey);
  const joinSecret = await openFile(
    dataDir,
    'join-secret',
    complete,
    () => `${randomBytes(JOIN_SECRET_BYTES).toString('base64url')}\n`,
    (text) => text.trim(),
  );
  const joinToken = formatJoinToken({ pin: pinOf(tls.cert), secret: joinSecret });
  if (parseJoinToken(joinToken) === undefined) throw damaged(join(dataDir, 'join-secret'), 'it holds no join secret');
  if (writtenToken?.trim() !== joinToken) {
    if (complete) logger.warn({ path: tokenPath }, 'the join token did not fit the identity; written again');
    await replaceFile(tokenPath, `${joinToken}\n`);
  }
  return { tls, clusterKey, joinSecret, joinToken };
}

async function openFile<T>(
  dataDir: string,
  name: string,
  complete: boolean,
  create: () => string | Promise<string>,
  parse: (text: string) => T,
): Promise<T> {
  const path = join(dataDir, name);
  let text = await readIfThere(path);
  if (text === undefined) {
    if (complete) {
      throw new TrackerStartError(
        'IDENTITY_INCOMPLETE',
        `${path} is missing. Restore it from a backup, or remove ${join(dataDir, 'join-token')} to let the tracker ` +
          'create a new one; every agent then needs the new join token.',
      );
    }
    await createOnce(path, await create());
    text = (await readIfThere(path)) ?? '';
  }
  try {
    return parse(text);
  } catch (error) {
    throw damaged(path, error instanceof Error ? error.message : String(error), error);
  }
}

function damaged(path: string, what: string, cause?: unknown): TrackerStartError {
  return new TrackerStartError(
    'IDENTITY_DAMAGED',
    `${path} is damaged (${what}). Restore it from a backup, or remove it together with the file join-token beside ` +
      'it to let the tracker create a new one; every agent then needs the new join token.',
    { cause },
  );
}

async function createTls(): Promise<string> {
  const notAfterDate = new Date();
  notAfterDate.setFullYear(notAfterDate.getFullYear() + TLS_VALIDITY_YEARS);
  const made = await generate([{ name: 'commonName', value: 'shoal-tracker' }], {
    keyType: 'ec',
    curve: 'P-256',
    algorithm: 'sha256',
    notAfterDate,
  });
  return `${made.private.trim()}\n${made.cert.trim()}\n`;
}

/** Both readers of PEM take the part that is theirs. */
function parseTls(text: string): { key: string; cert: string } {
  if (!new X509Certificate(text).checkPrivateKey(createPrivateKey(text))) {
    throw new Error('the key does not belong to the certificate');
  }
  return { key: text, cert: text };
}

function createClusterKey(): string {
  return generateKeyPairSync('ed25519').privateKey.export({ type: 'pkcs8', format: 'pem' }).toString();
}

function parseClusterKey(text: string): KeyObject {
  const key = createPrivateKey(text);
  if (key.asymmetricKeyType !== 'ed25519') throw new Error('an Ed25519 key is expected');
  return key;
}

function pinOf(certificate: string): string {
  const publicKey = new X509Certificate(certificate).publicKey.export({ type: 'spki', format: 'der' });
  return hash('sha256', publicKey, 'base64url');
}

/** base64url of the 32 raw bytes of the public half. */
export function rawPublicKey(clusterKey: KeyObject): string {
  const { x } = createPublicKey(clusterKey).export({ format: 'jwk' });
  if (x === undefined) throw new TypeError('not an Ed25519 key');
  return x;
}
