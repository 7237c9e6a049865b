import type { BlobId } from '@shoal/oci';
import { seededRandom } from '@shoal/swarm';
import { ANNOUNCE_TTL_MS, MAX_ANNOUNCED_BLOBS, MAX_ANSWERED_PEERS, type PeerRecord } from '@shoal/wire';
import fc from 'fast-check';
import { expect, test } from 'vitest';
import { Directory, type DirectoryOptions, HAVE_TTL_MS } from './directory.ts';

const SAMPLE_SIZE = 24;
const blobOf = (index: number): BlobId => `a.test/sha256:${index.toString(16).padStart(64, '0')}` as BlobId;
const blobs = (count: number, from = 0): BlobId[] => Array.from({ length: count }, (_, index) => blobOf(from + index));
const asker = { peerId: 'asker', zone: 'a' };
const directoryWith = (options: Partial<DirectoryOptions> = {}, isShunned = (_peerId: string) => false) =>
  new Directory({ sampleSize: SAMPLE_SIZE, ...options }, { random: seededRandom(7), isShunned });

type State = 'want' | 'have';

function say(
  directory: Directory,
  peerId: string,
  zone: string,
  state: State,
  nowMs = 0,
  blobs: BlobId | BlobId[] = blobOf(0),
): void {
  const all = [blobs].flat().map((blob) => ({ blob, state }));
  directory.announce({ peerId, zone }, { addresses: [`/ip4/127.0.0.1/tcp/${nowMs}`], blobs: all, withdraw: [] }, nowMs);
}

/** Announces the wish, and answers with who the directory names for each blob. */
function want(directory: Directory, member: { peerId: string; zone: string }, blobs: BlobId[], nowMs = 0) {
  say(directory, member.peerId, member.zone, 'want', nowMs, blobs);
  const { peers, swarms } = directory.introduce(member, blobs, nowMs);
  const bySwarm = new Map(swarms.map((swarm) => [swarm.blob, swarm.peers.map((index) => peers[index] as PeerRecord)]));
  return { peers, bySwarm };
}

function sample(directory: Directory, blob = blobOf(0)): PeerRecord[] {
  return want(directory, asker, [blob]).bySwarm.get(blob) ?? [];
}

test('a sample is mostly of the same zone, with a few across and without the asker', () => {
  const directory = directoryWith();
  for (let index = 0; index < 200; index++) say(directory, `peer-${index}`, 'abcd'[index % 4] ?? 'a', 'want');
  const peers = sample(directory);
  expect(new Set(peers.map((peer) => peer.peerId)).size).toBe(SAMPLE_SIZE);
  expect(peers.filter((peer) => peer.zone === 'a')).toHaveLength(18);
  for (const zone of 'bcd') expect(peers.filter((peer) => peer.zone === zone).length).toBeLessThanOrEqual(4);
  expect(peers.map((peer) => peer.peerId)).not.toContain('asker');
});

test('a small swarm is answered whole, however it lies across the zones', () => {
  const zones = fc.array(fc.tuple(fc.constantFrom('a', 'b', 'c', 'd', 'e'), fc.constantFrom<State>('want', 'have')), {
    maxLength: 40,
  });
  fc.assert(
    fc.property(zones, fc.integer({ min: 1, max: 20 }), (placed, sampleSize) => {
      const directory = directoryWith({ sampleSize });
      for (const [index, [zone, state]] of placed.entries()) say(directory, `peer-${index}`, zone, state);
      const peers = sample(directory);
      expect(new Set(peers.map((peer) => peer.peerId)).size).toBe(Math.min(sampleSize, placed.length));
      expect(peers).toHaveLength(Math.min(sampleSize, placed.length));
    }),
  );
});

test('blobs that the same agents want share one sample', () => {
  const directory = directoryWith();
  const image = blobs(12);
  for (let index = 0; index < 300; index++) say(directory, `peer-${index}`, 'abc'[index % 3] ?? 'a', 'want', 0, image);
  const { peers, bySwarm } = want(directory, asker, image);
  expect(peers).toHaveLength(SAMPLE_SIZE);
  for (const mates of bySwarm.values())
    expect(mates.map(({ peerId }) => peerId).toSorted()).toEqual(peers.map(({ peerId }) => peerId).toSorted());
});

test('a blob that few want is found beside one that everybody has', () => {
  const directory = directoryWith();
  for (let index = 0; index < 1_000; index++) say(directory, `peer-${index}`, 'a', 'have', 0, blobOf(1));
  for (let index = 0; index < 10; index++) say(directory, `peer-${index}`, 'a', 'want', 0, blobOf(2));
  const { peers, bySwarm } = want(directory, asker, [blobOf(1), blobOf(2)]);
  expect(bySwarm.get(blobOf(2))).toHaveLength(10);
  expect(bySwarm.get(blobOf(1))).toHaveLength(SAMPLE_SIZE);
  expect(peers).toHaveLength(SAMPLE_SIZE);
});

test('blobs with different members share the room of one answer', () => {
  const directory = directoryWith();
  const all = blobs(40);
  for (const [index, blob] of all.entries()) {
    for (let peer = 0; peer < 30; peer++) say(directory, `peer-${index}-${peer}`, 'a', 'want', 0, blob);
  }
  const { peers, bySwarm } = want(directory, asker, all);
  expect(peers.length).toBeLessThanOrEqual(MAX_ANSWERED_PEERS);
  for (const mates of bySwarm.values()) expect(mates.length).toBeGreaterThanOrEqual(9);
});

test('asked again, and about further blobs, it names the same agents, apart from a few each time', () => {
  const directory = directoryWith();
  const image = blobs(12);
  for (let index = 0; index < 500; index++) say(directory, `peer-${index}`, 'ab'[index % 2] ?? 'a', 'want', 0, image);
  const named = (blobs: BlobId[], nowMs: number) =>
    want(directory, asker, blobs, nowMs).peers.map(({ peerId }) => peerId);
  const first = named(image.slice(0, 1), 0);
  expect(new Set(named(image, 100))).toEqual(new Set(first));
  const known = new Set(first);
  for (let turn = 1; turn <= 6; turn++) for (const peerId of named(image, turn * 10_000)) known.add(peerId);
  expect(known.size).toBeGreaterThan(SAMPLE_SIZE);
  expect(known.size).toBeLessThan(3 * SAMPLE_SIZE);
});

test('everybody gets about as many connections, whether it came first or last', () => {
  const directory = directoryWith();
  const links = new Map<string, Set<string>>();
  const connect = (one: string, other: string): void => {
    links.set(one, (links.get(one) ?? new Set()).add(other));
    links.set(other, (links.get(other) ?? new Set()).add(one));
  };
  const members = Array.from({ length: 2_000 }, (_, index) => ({
    peerId: `peer-${index}`,
    zone: 'abcd'[index % 4] ?? 'a',
  }));
  for (let turn = 0; turn < 2; turn++) {
    for (const member of members) {
      for (const { peerId } of want(directory, member, [blobOf(0), blobOf(1)], 0).peers) connect(member.peerId, peerId);
    }
  }
  const degrees = [...links.values()].map((others) => others.size).toSorted((one, other) => one - other);
  expect(degrees[0]).toBeGreaterThanOrEqual(SAMPLE_SIZE);
  expect(degrees.at(-1)).toBeLessThan(4 * SAMPLE_SIZE);
  // Everybody within a few hops of the first.
  let reached = new Set(['peer-0']);
  for (let hop = 0; hop < 4; hop++)
    reached = new Set([...reached].flatMap((each) => [each, ...(links.get(each) ?? [])]));
  expect(reached.size).toBe(members.length);
});

test('who holds the whole blob is named to many, but not to everybody', () => {
  const directory = directoryWith();
  say(directory, 'holder', 'b', 'have');
  const toldByAnnouncing = new Set<string>();
  const toldByAsking = new Set<string>();
  for (let index = 0; index < 2_000; index++) {
    const member = { peerId: `peer-${index}`, zone: 'a' };
    const { peers } = want(directory, member, [blobOf(0)]);
    if (peers.some(({ peerId }) => peerId === 'holder')) toldByAnnouncing.add(member.peerId);
    if (directory.send(member, blobOf(0), ['holder'], 0).length > 0) toldByAsking.add(member.peerId);
    expect(directory.holders(blobOf(0), member, 4)).toEqual({ sameZone: [], otherZones: ['holder'] });
  }
  expect([...toldByAnnouncing].slice(0, SAMPLE_SIZE)).toEqual(
    Array.from({ length: SAMPLE_SIZE }, (_, index) => `peer-${index}`),
  );
  expect(toldByAnnouncing.size).toBeLessThan(4 * SAMPLE_SIZE);
  // Whoever was told once is told again.
  expect(toldByAsking).toEqual(toldByAnnouncing);
});

test('whom others must not hear of is named nowhere', () => {
  const shunned = new Set<string>();
  const directory = directoryWith({}, (peerId) => shunned.has(peerId));
  for (let index = 0; index < 20; index++) say(directory, `peer-${index}`, 'a', index % 2 === 0 ? 'have' : 'want');
  expect(sample(directory)).toHaveLength(20);
  for (let index = 0; index < 10; index++) shunned.add(`peer-${index}`);
  expect(
    sample(directory)
      .map(({ peerId }) => peerId)
      .filter((peerId) => shunned.has(peerId)),
  ).toEqual([]);
  expect(sample(directory)).toHaveLength(10);
  const holders = directory.holders(blobOf(0), asker, 20).sameZone;
  expect(holders.toSorted()).toEqual(['peer-10', 'peer-12', 'peer-14', 'peer-16', 'peer-18']);
  expect(directory.find(['peer-0', 'peer-10']).map(({ peerId }) => peerId)).toEqual(['peer-10']);
  expect(directory.send(asker, blobOf(0), ['peer-0', 'peer-10'], 0).map(({ peerId }) => peerId)).toEqual(['peer-10']);
});

test('the newest addresses and state are what others hear', () => {
  const directory = directoryWith();
  say(directory, 'one', 'a', 'want', 1);
  expect(directory.holders(blobOf(0), asker, 5).sameZone).toEqual([]);
  say(directory, 'one', 'a', 'have', 2);
  expect(sample(directory)).toEqual([{ peerId: 'one', addresses: ['/ip4/127.0.0.1/tcp/2'], zone: 'a' }]);
  expect(directory.holders(blobOf(0), asker, 5).sameZone).toEqual(['one']);
});

test('an agent that fell silent is forgotten, one that went on is not', () => {
  const directory = directoryWith();
  say(directory, 'one', 'a', 'have', 0);
  say(directory, 'two', 'a', 'have', 1);
  say(directory, 'asker', 'a', 'want', 2);
  expect(sample(directory)).toHaveLength(2);
  say(directory, 'one', 'a', 'want', 3, blobOf(1));
  say(directory, 'asker', 'a', 'want', 3);
  expect(directory.expire(ANNOUNCE_TTL_MS + 1)).toEqual(['two']);
  expect(directory.holders(blobOf(0), asker, 5).sameZone).toEqual(['one']);
  expect(want(directory, asker, [blobOf(0)], ANNOUNCE_TTL_MS).peers.map((peer) => peer.peerId)).toEqual(['one']);
});

test('of an agent that goes on, wants fade soon and complete blobs late', () => {
  const directory = directoryWith();
  say(directory, 'one', 'a', 'want', 0, blobOf(1));
  say(directory, 'one', 'a', 'have', 0, blobOf(2));
  say(directory, 'one', 'a', 'want', ANNOUNCE_TTL_MS, blobOf(3));
  expect(sample(directory, blobOf(1))).toHaveLength(0);
  expect(sample(directory, blobOf(2))).toHaveLength(1);
  say(directory, 'one', 'a', 'want', HAVE_TTL_MS, blobOf(3));
  expect(sample(directory, blobOf(2))).toHaveLength(0);
});

test('an agent that changes its zone is found in the new one only', () => {
  const directory = directoryWith();
  say(directory, 'one', 'b', 'want');
  expect(sample(directory)).toMatchObject([{ peerId: 'one', zone: 'b' }]);
  say(directory, 'one', 'a', 'want');
  expect(sample(directory)).toMatchObject([{ peerId: 'one', zone: 'a' }]);
});

test('it stays within its bounds, and room that is freed can be used', () => {
  const directory = directoryWith({ maxAgents: 2, maxBlobsPerAgent: 2, maxEntries: 3 });
  for (const peerId of ['one', 'two', 'three']) {
    for (let index = 0; index < 3; index++) say(directory, peerId, 'a', 'have', 0, blobOf(index));
  }
  expect([directory.agentCount, directory.entryCount]).toEqual([2, 3]);
  // Whoever found no room is answered all the same.
  expect(sample(directory)).toHaveLength(2);
  expect(directory.agentCount).toBe(2);
  directory.forget('one');
  directory.forget('two');
  expect([directory.agentCount, directory.entryCount, directory.swarmCount]).toEqual([0, 0, 0]);
  say(directory, 'three', 'a', 'have');
  expect(directory.entryCount).toBe(1);
});

test('the largest announcement has an answer within its bound', () => {
  const directory = directoryWith();
  const all = blobs(MAX_ANNOUNCED_BLOBS);
  for (const [index, blob] of all.entries()) say(directory, `peer-${index}`, 'a', 'want', 0, blob);
  const { peers, bySwarm } = want(directory, asker, all);
  expect(peers).toHaveLength(MAX_ANSWERED_PEERS);
  expect(bySwarm.size).toBe(MAX_ANNOUNCED_BLOBS);
});

test('acquaintances are members of whatever blob, mostly of the same zone; never the asker, nor who left or is shunned', () => {
  const directory = directoryWith({}, (peerId) => peerId === 'shunned');
  for (let index = 0; index < 100; index++) say(directory, `peer-${index}`, 'ab'[index % 2] ?? 'a', 'have', 0, []);
  for (const peerId of ['asker', 'shunned', 'left']) say(directory, peerId, 'a', 'have', 0, []);
  directory.forget('left');
  const met = Array.from({ length: 50 }, () => directory.acquaint(asker, 8));
  for (const records of met) {
    expect(new Set(records.map(({ peerId }) => peerId)).size).toBe(8);
    expect(records.filter(({ zone }) => zone === 'a')).toHaveLength(6);
  }
  const names = new Set(met.flat().map(({ peerId }) => peerId));
  expect(names.size).toBeGreaterThan(60);
  for (const peerId of ['asker', 'shunned', 'left']) expect(names).not.toContain(peerId);
});

test('a small cluster is got to know whole', () => {
  const directory = directoryWith();
  for (const [peerId, zone] of [
    ['asker', 'a'],
    ['near', 'a'],
    ['far', 'b'],
  ] as const)
    say(directory, peerId, zone, 'have', 0, []);
  expect(
    directory
      .acquaint(asker, 8)
      .map(({ peerId }) => peerId)
      .sort(),
  ).toEqual(['far', 'near']);
  expect(directoryWith().acquaint(asker, 8)).toEqual([]);
});
