import { verify } from 'node:crypto';
import { mkdtemp, readdir, readFile, rm, stat, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { generateKeyPairFromSeed } from '@libp2p/crypto/keys';
import { peerIdFromPrivateKey } from '@libp2p/peer-id';
import { ed25519KeyOfPeerId } from '@shoal/wire';
import { afterEach, beforeEach, expect, test } from 'vitest';
import { publicKeyOfRaw } from './ed25519-key.ts';
import { loadOrCreateIdentity } from './identity.ts';

let directory: string;
beforeEach(async () => {
  directory = await mkdtemp(join(tmpdir(), 'shoal-identity-'));
});
afterEach(() => rm(directory, { recursive: true }));

test('an identity stays the same and is readable by its owner alone', async () => {
  const first = await loadOrCreateIdentity(join(directory, 'data'));
  const again = await loadOrCreateIdentity(join(directory, 'data'));
  expect(again.peerId).toBe(first.peerId);
  expect(again.seed).toEqual(first.seed);
  expect(await readdir(join(directory, 'data'))).toEqual(['identity.json']);
  expect((await stat(join(directory, 'data', 'identity.json'))).mode & 0o777).toBe(0o600);
});

test('its PeerId is the one libp2p makes of the seed', async () => {
  const identity = await loadOrCreateIdentity(directory);
  const key = await generateKeyPairFromSeed('Ed25519', identity.seed);
  expect(identity.peerId).toBe(peerIdFromPrivateKey(key).toString());
});

test('its signatures fit the key inside the PeerId', async () => {
  const identity = await loadOrCreateIdentity(directory);
  const key = publicKeyOfRaw(ed25519KeyOfPeerId(identity.peerId)!);
  const signature = identity.sign(Buffer.from('text'));
  expect(verify(null, Buffer.from('text'), key, signature)).toBe(true);
  expect(verify(null, Buffer.from('test'), key, signature)).toBe(false);
});

test('two that start at once agree', async () => {
  const both = await Promise.all([loadOrCreateIdentity(directory), loadOrCreateIdentity(directory)]);
  expect(both[0].peerId).toBe(both[1].peerId);
});

test('damage is told apart and never repaired by a new identity', async () => {
  const { peerId } = await loadOrCreateIdentity(directory);
  const path = join(directory, 'identity.json');
  const whole = await readFile(path, 'utf8');
  const seed = (JSON.parse(whole) as { seed: string }).seed;
  for (const damage of [
    '',
    whole.slice(0, -10),
    '{}',
    whole.replace(peerId, `${peerId}x`),
    whole.replace(seed, 'AAAA'),
  ]) {
    await writeFile(path, damage);
    const error = await loadOrCreateIdentity(directory).catch((thrown: unknown) => thrown);
    expect(error).toMatchObject({ name: 'IdentityError', code: 'damaged' });
    expect(`${error}`).not.toContain(seed);
    expect(await readFile(path, 'utf8')).toBe(damage);
  }
});
