import { beforeEach, expect, test } from 'vitest';
import { SHOWN_AFTER_MS } from './active-blobs.ts';
import { MAX_BLOBS_OF_ROLLOUT, MAX_NODES_OF_ROLLOUT, MAX_ROLLOUTS } from './rollouts.ts';
import { blobOf, DashboardRooms, pullOf, reportOf } from './rooms.fixture.ts';

let rooms: DashboardRooms;
const [layer, other] = [blobOf(1), blobOf(2)];
const list = (nowMs = 0) => rooms.rollouts.list(nowMs);

beforeEach(() => {
  rooms = new DashboardRooms();
});

test('a node is at what it pulled and what it holds, of all that it wants of the image', () => {
  rooms.say('p1', 'want', [layer, other], 0, 'node-1');
  rooms.say('p2', 'have', layer, 0, 'node-2');
  rooms.say('p3', 'want', layer, 0, 'node-3');
  rooms.reports.take('p1', reportOf([pullOf(layer, 400), pullOf(other, 100)]), 0);
  const [rollout] = list().rollouts;
  expect(rollout).toMatchObject({
    name: 'a.test/org/app',
    ended: false,
    nodesDone: 1,
    nodesTotal: 3,
    heldBytes: 1_500,
    totalBytes: 4_000,
  });
  const nodes = rollout?.nodes.map(({ name, state, heldBytes, totalBytes }) => [name, state, heldBytes, totalBytes]);
  expect(nodes).toEqual([
    ['node-3', 'waiting', 0, 1_000],
    ['node-1', 'pulling', 500, 2_000],
    ['node-2', 'done', 1_000, 1_000],
  ]);
  expect(rollout?.blobs.map(({ holding, wanting }) => [holding, wanting])).toEqual([
    [1, 2],
    [0, 1],
  ]);
});

test('a pull that a later report does not tell of has ended: done when the blob is held, waiting when it is not', () => {
  rooms.say('p1', 'want', layer);
  rooms.say('p2', 'want', layer);
  for (const peerId of ['p1', 'p2']) rooms.reports.take(peerId, reportOf([pullOf(layer, 900)]), 0);
  rooms.say('p1', 'have', layer, 2_000);
  for (const peerId of ['p1', 'p2']) rooms.reports.take(peerId, reportOf(), 2_000);
  const [rollout] = list(2_000).rollouts;
  expect(rollout?.ended).toBe(true);
  expect(rollout?.nodes.map(({ name, state, heldBytes }) => [name, state, heldBytes])).toEqual([
    ['p2', 'waiting', 900],
    ['p1', 'done', 1_000],
  ]);
  expect(list(SHOWN_AFTER_MS).rollouts).toEqual([]);
});

test('nobody brings up a blob that it did not announce, is at more than all of it, or reports without being there', () => {
  rooms.say('p1', 'want', layer);
  rooms.reports.take('p1', reportOf([pullOf(layer, 5_000), pullOf(other, 1)]), 0);
  rooms.reports.take('stranger', reportOf([pullOf(other, 1)]), 0);
  const { rollouts } = list();
  expect(rollouts.flatMap(({ blobs }) => blobs.map(({ blob }) => blob))).toEqual([layer]);
  expect(rollouts[0]?.nodes[0]?.heldBytes).toBe(1_000);
  expect(rooms.reports.size).toBe(1);
});

test('of ten thousand nodes some hundreds are told, those that pull first, and the counts are of all', () => {
  for (let node = 0; node < 10_000; node++) rooms.say(`p${node}`, node < 2_500 ? 'have' : 'want', layer);
  for (let node = 5_000; node < 5_100; node++) rooms.reports.take(`p${node}`, reportOf([pullOf(layer, 700)]), 0);
  const [rollout] = list().rollouts;
  expect(rollout?.nodes).toHaveLength(MAX_NODES_OF_ROLLOUT);
  expect(rollout?.nodes.filter(({ state }) => state === 'pulling')).toHaveLength(100);
  expect(rollout).toMatchObject({ nodesTotal: 10_000, nodesDone: 2_500, heldBytes: 2_500_000, totalBytes: 10_000_000 });
});

test('however many blobs and repositories are pulled, an answer stays small', () => {
  const many = Array.from({ length: 64 }, (_, index) => blobOf(index));
  for (let node = 0; node < 500; node++) rooms.say(`p${node}`, 'want', many);
  for (const [index, blob] of many.entries()) {
    const repository = index < 40 ? 'org/large' : `org/${index}`;
    rooms.reports.take(`p${index}`, reportOf([pullOf(blob, 1, { repository })]), 0);
  }
  const { rollouts, leftOut } = list();
  expect(rollouts).toHaveLength(MAX_ROLLOUTS);
  expect(leftOut).toBe(25 - MAX_ROLLOUTS);
  for (const { blobs } of rollouts) expect(blobs.length).toBeLessThanOrEqual(MAX_BLOBS_OF_ROLLOUT);
  expect(JSON.stringify(rollouts).length).toBeLessThan(400_000);
});
