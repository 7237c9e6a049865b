/**
 * Who this agent is: an Ed25519 key that lives as long as its data directory. The file appears whole or not at all, and
 * names its own PeerId, so damage is noticed instead of silently becoming somebody else.
 */
import { randomBytes, sign } from 'node:crypto';
import { link, mkdir, open, readFile, unlink } from 'node:fs/promises';
import { join } from 'node:path';
import { peerIdOfEd25519Key } from '@shoal/wire';
import { z } from 'zod';
import { privateKeyOfSeed, rawPublicKey, SEED_BYTES } from './ed25519-key.ts';

const IDENTITY_FILE = 'identity.json';

export interface Identity {
  /** The 32-byte Ed25519 seed. Secret. */
  seed: Uint8Array;
  peerId: string;
  sign(bytes: Uint8Array): Uint8Array;
}

/** `damaged`: the file is not what was written; `io`: it could not be read or made. */
export class IdentityError extends Error {
  readonly code: 'damaged' | 'io';
  constructor(code: 'damaged' | 'io', message: string, options?: ErrorOptions) {
    super(message, options);
    this.name = 'IdentityError';
    this.code = code;
  }
}

const fileSchema = z.object({ version: z.literal(1), peerId: z.string(), seed: z.string() });

/** Reads `dataDir/identity.json`, or makes it (mode 0600) the first time. @throws IdentityError */
export async function loadOrCreateIdentity(dataDir: string): Promise<Identity> {
  const path = join(dataDir, IDENTITY_FILE);
  try {
    const found = await readIfThere(path);
    if (found !== undefined) return parseIdentity(found, path);
    await mkdir(dataDir, { recursive: true });
    await createExclusively(dataDir, path, serialize(identityOfSeed(randomBytes(SEED_BYTES))));
    // Read back rather than returned: another process may have been first.
    return parseIdentity(await readFile(path, 'utf8'), path);
  } catch (error) {
    if (error instanceof IdentityError) throw error;
    throw new IdentityError('io', `cannot read or create ${path}`, { cause: error });
  }
}

export function identityOfSeed(seed: Uint8Array): Identity {
  const key = privateKeyOfSeed(seed);
  return {
    seed: Uint8Array.from(seed),
    peerId: peerIdOfEd25519Key(rawPublicKey(key)),
    sign: (bytes) => sign(null, bytes, key),
  };
}

function serialize(identity: Identity): string {
  const seed = Buffer.from(identity.seed).toString('base64url');
  return `${JSON.stringify({ version: 1, peerId: identity.peerId, seed })}\n`;
}

function parseIdentity(text: string, path: string): Identity {
  const damaged = (cause?: unknown) => new IdentityError('damaged', `${path} is damaged`, { cause });
  let json: unknown;
  try {
    json = JSON.parse(text);
  } catch {
    // The parser's message would quote the secret.
    throw damaged();
  }
  const parsed = fileSchema.safeParse(json);
  if (!parsed.success) throw damaged(parsed.error);
  const seed = Buffer.from(parsed.data.seed, 'base64url');
  if (seed.length !== SEED_BYTES) throw damaged();
  const identity = identityOfSeed(seed);
  if (identity.peerId !== parsed.data.peerId) throw damaged();
  return identity;
}

async function readIfThere(path: string): Promise<string | undefined> {
  try {
    return await readFile(path, 'utf8');
  } catch (error) {
    if (isErrno(error, 'ENOENT')) return undefined;
    throw error;
  }
}

/** Durable and whole before it has its name; the first one to give it that name wins. */
async function createExclusively(dataDir: string, path: string, text: string): Promise<void> {
  const temporary = `${path}.${randomBytes(6).toString('hex')}.tmp`;
  const file = await open(temporary, 'wx', 0o600);
  try {
    try {
      await file.writeFile(text);
      await file.sync();
    } finally {
      await file.close();
    }
    await link(temporary, path).catch((error: unknown) => {
      if (!isErrno(error, 'EEXIST')) throw error;
    });
  } finally {
    await unlink(temporary);
  }
  const directory = await open(dataDir, 'r');
  try {
    await directory.sync();
  } finally {
    await directory.close();
  }
}

function isErrno(error: unknown, code: string): boolean {
  return error instanceof Error && 'code' in error && error.code === code;
}
