import type { Digest } from '@shoal/oci';
import { seededRandom } from '@shoal/swarm';
import { ANNOUNCE_TTL_MS } from '@shoal/wire';
import fc from 'fast-check';
import { expect, test } from 'vitest';
import { Directory, type DirectoryOptions, HAVE_TTL_MS } from './directory.ts';

const blob = (index: number): Digest => `sha256:${index.toString(16).padStart(64, '0')}` as Digest;
const asker = { peerId: 'asker', zone: 'a' };
const directoryWith = (options: DirectoryOptions = {}) => new Directory(options, { random: seededRandom(7) });

function say(directory: Directory, peerId: string, zone: string, state: 'want' | 'have', nowMs = 0, digest = blob(0)) {
  directory.announce(
    { peerId, zone },
    { addresses: [`/ip4/127.0.0.1/tcp/${nowMs}`], blobs: [{ digest, state }], withdraw: [] },
    nowMs,
  );
}

test('a sample is mostly of the same zone, with a few across and without the asker', () => {
  const directory = directoryWith();
  say(directory, 'asker', 'a', 'want');
  for (let index = 0; index < 100; index++) say(directory, `peer-${index}`, 'abcd'[index % 4] ?? 'a', 'want');
  const sample = directory.sample(blob(0), asker, 16);
  expect(new Set(sample.map((peer) => peer.peerId)).size).toBe(16);
  expect(sample.filter((peer) => peer.zone === 'a')).toHaveLength(12);
  expect(sample.map((peer) => peer.peerId)).not.toContain('asker');
});

test('a small swarm is answered whole, however it lies across the zones', () => {
  const zones = fc.array(fc.constantFrom('a', 'b', 'c', 'd', 'e'), { maxLength: 30 });
  fc.assert(
    fc.property(zones, fc.integer({ min: 1, max: 20 }), (placed, count) => {
      const directory = directoryWith();
      for (const [index, zone] of placed.entries()) say(directory, `peer-${index}`, zone, 'want');
      const sample = directory.sample(blob(0), asker, count);
      expect(new Set(sample.map((peer) => peer.peerId)).size).toBe(Math.min(count, placed.length));
    }),
  );
});

test('the newest addresses and state are what others hear', () => {
  const directory = directoryWith();
  say(directory, 'one', 'a', 'want', 1);
  say(directory, 'one', 'a', 'have', 2);
  const record = { peerId: 'one', addresses: ['/ip4/127.0.0.1/tcp/2'], zone: 'a', complete: true };
  expect(directory.sample(blob(0), asker, 5)).toEqual([record]);
  expect(directory.holders(blob(0), asker, 5)).toEqual([record]);
});

test('an agent that fell silent is forgotten, one that went on is not', () => {
  const directory = directoryWith();
  say(directory, 'one', 'a', 'have', 0);
  say(directory, 'two', 'a', 'have', 1);
  say(directory, 'one', 'a', 'want', 2, blob(1));
  expect(directory.expire(ANNOUNCE_TTL_MS + 1)).toEqual(['two']);
  expect(directory.holders(blob(0), asker, 5).map((peer) => peer.peerId)).toEqual(['one']);
});

test('of an agent that goes on, wants fade soon and complete blobs late', () => {
  const directory = directoryWith();
  say(directory, 'one', 'a', 'want', 0, blob(1));
  say(directory, 'one', 'a', 'have', 0, blob(2));
  say(directory, 'one', 'a', 'want', ANNOUNCE_TTL_MS, blob(3));
  expect(directory.sample(blob(1), asker, 5)).toHaveLength(0);
  expect(directory.sample(blob(2), asker, 5)).toHaveLength(1);
  say(directory, 'one', 'a', 'want', HAVE_TTL_MS, blob(3));
  expect(directory.sample(blob(2), asker, 5)).toHaveLength(0);
});

test('an agent that changes its zone is found in the new one only', () => {
  const directory = directoryWith();
  say(directory, 'one', 'b', 'want');
  say(directory, 'one', 'a', 'want');
  expect(directory.sample(blob(0), asker, 5)).toMatchObject([{ peerId: 'one', zone: 'a' }]);
});

test('it stays within its bounds, and room that is freed can be used', () => {
  const directory = directoryWith({ maxAgents: 2, maxBlobsPerAgent: 2, maxEntries: 3 });
  for (const peerId of ['one', 'two', 'three']) {
    for (let index = 0; index < 3; index++) say(directory, peerId, 'a', 'have', 0, blob(index));
  }
  expect([directory.agentCount, directory.entryCount]).toEqual([2, 3]);
  directory.forget('one');
  directory.forget('two');
  expect([directory.agentCount, directory.entryCount, directory.swarmCount]).toEqual([0, 0, 0]);
  say(directory, 'three', 'a', 'have');
  expect(directory.entryCount).toBe(1);
});
