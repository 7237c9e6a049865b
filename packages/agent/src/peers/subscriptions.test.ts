import { PieceMap } from '@shoal/swarm';
import type { ControlFrame } from '@shoal/wire';
import { pino } from 'pino';
import { expect, test } from 'vitest';
import { randomBlob } from './cluster.fixture.ts';
import { MAX_WANTS_PER_CONNECTION, Subscriptions } from './subscriptions.ts';

const blob = randomBlob(1).id;
const SIZE_BYTES = 1_000_000;
const settle = () => new Promise((resolve) => setImmediate(resolve));
const mapOf = (...indexes: number[]) => {
  const map = PieceMap.empty(4);
  for (const index of indexes) map.add(index);
  return map;
};

/** Lookups are answered by hand, so that things can happen while one is under way. */
function subscriptions() {
  const sent: string[] = [];
  const lookups: ((indexes: number[] | undefined) => void)[] = [];
  const say = (frame: ControlFrame) => {
    if (frame.type === 'map') {
      const map = PieceMap.fromBytes(4, frame.bitmap);
      sent.push(`map ${[0, 1, 2, 3].filter((index) => map?.has(index))}`);
    } else sent.push(frame.type === 'have' ? `have ${frame.indexes}` : frame.type);
  };
  const subject = new Subscriptions({
    holdings: {
      held: () =>
        new Promise((resolve) => {
          lookups.push((indexes) =>
            resolve(indexes === undefined ? undefined : { sizeBytes: SIZE_BYTES, pieces: mapOf(...indexes) }),
          );
        }),
      read: () => Promise.resolve(undefined),
    },
    send: say,
    logger: pino({ level: 'silent' }),
  });
  return { subject, sent, lookups };
}

test('a piece published during the lookup is in the map', async () => {
  const { subject, sent, lookups } = subscriptions();
  subject.want(blob);
  subject.publish({ blob, sizeBytes: SIZE_BYTES, indexes: [2] });
  lookups[0]?.([0]);
  await settle();
  subject.publish({ blob, sizeBytes: SIZE_BYTES, indexes: [3] });
  expect(sent).toEqual(['map 0,2', 'have 3']);
});

test('nothing held is no answer, and the first piece brings the map', async () => {
  const { subject, sent, lookups } = subscriptions();
  subject.want(blob);
  lookups[0]?.(undefined);
  await settle();
  expect(sent).toEqual([]);
  subject.publish({ blob, sizeBytes: SIZE_BYTES, indexes: [1] });
  lookups[1]?.(undefined);
  await settle();
  expect(sent).toEqual(['map 1']);
});

test('what was withdrawn during the lookup is not told', async () => {
  const { subject, sent, lookups } = subscriptions();
  subject.want(blob);
  subject.withdraw(blob);
  lookups[0]?.([0, 1]);
  await settle();
  lookups[1]?.(undefined);
  await settle();
  expect([lookups.length, sent]).toEqual([2, []]);
});

test('an answer that comes after the unwant is dropped', async () => {
  const { subject, sent, lookups } = subscriptions();
  subject.want(blob);
  subject.unwant(blob);
  lookups[0]?.([0]);
  await settle();
  expect(sent).toEqual([]);
});

test('only so many wants are taken, and one lookup at a time is made', async () => {
  const { subject, lookups } = subscriptions();
  const many = [...Array(MAX_WANTS_PER_CONNECTION).keys()].map((n) => `${blob}${n}` as typeof blob);
  expect(many.every((one) => subject.want(one) === 'new')).toBe(true);
  expect(subject.want(blob)).toBe('too-many');
  expect(subject.want(many[6]!)).toBe('again');
  subject.unwant(many[5]!);
  expect(subject.want(blob)).toBe('new');
  await settle();
  expect(lookups).toHaveLength(1);
});
