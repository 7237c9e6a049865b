import type { PeerRecord } from '@shoal/wire';
import { beforeEach, expect, test } from 'vitest';
import { Neighbourhood, UnreachableMembers } from './neighbourhood.ts';

let now: number;
let connected: string[];
let dialled: string[];
let unreachable: UnreachableMembers;
let neighbourhood: Neighbourhood;

beforeEach(() => {
  now = 1_000;
  connected = [];
  dialled = [];
  unreachable = new UnreachableMembers();
  neighbourhood = new Neighbourhood({
    network: {
      peerId: 'me',
      connected: () => connected.map((peerId) => ({ peerId, zone: 'z' })),
      dial: (peers) => void dialled.push(...peers.map(({ peerId }) => peerId)),
    },
    unreachable,
    clock: () => now,
  });
});

const members = (from: number, to: number): PeerRecord[] =>
  Array.from({ length: to - from }, (_, at) => ({ peerId: `p${from + at}`, addresses: [], zone: 'z' }));

test('of many members a dozen are dialled, and not the agent itself', () => {
  neighbourhood.meet([{ peerId: 'me', addresses: [], zone: 'z' }, ...members(0, 100)], 0);
  expect(dialled).toEqual(members(0, 12).map(({ peerId }) => peerId));
});

test('nobody is dialled while a dozen are on their way, or are neighbours', () => {
  neighbourhood.meet(members(0, 12), 0);
  neighbourhood.meet(members(12, 30), 0);
  expect(dialled).toHaveLength(12);
  now += 10_000;
  neighbourhood.meet(members(30, 40), 12);
  expect(dialled).toHaveLength(12);
});

test('members found that are connected already count as neighbours', () => {
  connected = ['p0', 'p1', 'p2'];
  neighbourhood.meet(members(0, 20), 0);
  expect(dialled).toHaveLength(9);
  expect(dialled).not.toContain('p1');
});

test('who did not become a neighbour makes room for those that were not tried yet', () => {
  neighbourhood.meet(members(0, 12), 0);
  now += 3_000;
  dialled.length = 0;
  neighbourhood.meet(members(0, 20), 0);
  expect(dialled.slice(0, 8)).toEqual(members(12, 20).map(({ peerId }) => peerId));
  expect(dialled).toHaveLength(12);
});

test('who has what is needed is dialled however many neighbours there are', () => {
  neighbourhood.meet(members(0, 12), 12);
  expect(dialled).toEqual([]);
  neighbourhood.seek(members(50, 52));
  expect(dialled).toEqual(['p50', 'p51']);
});

test('a holder that says nothing is told, once nothing comes in; and not any more when it speaks up', () => {
  const lastProgressAtMs = now;
  neighbourhood.seek(members(0, 2));
  now += 1_000;
  expect(neighbourhood.unreachable(lastProgressAtMs)).toEqual([]);
  now += 1_500;
  expect(neighbourhood.unreachable(now)).toEqual([]);
  expect(neighbourhood.unreachable(lastProgressAtMs).sort()).toEqual(['p0', 'p1']);
  // What comes in from elsewhere meanwhile does not change it.
  now += 1_000;
  expect(neighbourhood.unreachable(now).sort()).toEqual(['p0', 'p1']);
  neighbourhood.heard('p1');
  neighbourhood.seek(members(0, 2));
  expect(neighbourhood.unreachable(now)).toEqual(['p0']);
  // Other blobs need not find it out again.
  expect(unreachable.all()).toEqual(['p0']);
});
