import { MAX_HAVE_INDEXES } from '@shoal/wire';
import fc from 'fast-check';
import { afterEach, beforeEach, expect, test, vi } from 'vitest';
import { randomBlob } from './cluster.fixture.ts';
import { type FreshPieces, FreshPieceWindow } from './fresh-pieces.ts';

const [one, other] = [randomBlob(1).id, randomBlob(1).id];
const SIZE_BYTES = 1_000_000;
const WINDOW_MS = 20;
const names = new Map([
  [one, 'one'],
  [other, 'other'],
]);

beforeEach(() => {
  vi.useFakeTimers();
});
afterEach(() => {
  vi.useRealTimers();
});

function gather() {
  const told: string[] = [];
  const tell = ({ blob, indexes }: FreshPieces) => told.push(`${names.get(blob)} ${indexes.join()}`);
  const subject = new FreshPieceWindow({ windowMs: WINDOW_MS }, { tell });
  return { told, subject };
}

test('the first piece is told at once, those of the next 20 ms together', () => {
  const { told, subject } = gather();
  subject.add(one, SIZE_BYTES, 5);
  expect(told).toEqual(['one 5']);
  subject.add(one, SIZE_BYTES, 6);
  subject.add(other, SIZE_BYTES, 0);
  subject.add(one, SIZE_BYTES, 7);
  subject.add(one, SIZE_BYTES, 6);
  vi.advanceTimersByTime(WINDOW_MS - 1);
  expect(told).toEqual(['one 5']);
  vi.advanceTimersByTime(1);
  expect(told).toEqual(['one 5', 'one 6,7', 'other 0']);
});

test('after a window in which nothing came, the next piece is told at once again', () => {
  const { told, subject } = gather();
  subject.add(one, SIZE_BYTES, 0);
  vi.advanceTimersByTime(WINDOW_MS);
  expect(vi.getTimerCount()).toBe(0);
  subject.add(one, SIZE_BYTES, 1);
  expect(told).toEqual(['one 0', 'one 1']);
});

test('no piece waits longer than a window, none is left out, none is told twice, and no frame is overfull', () => {
  const steps = fc.array(fc.tuple(fc.integer({ min: 0, max: 30 }), fc.integer({ min: 1, max: 1500 })), {
    minLength: 1,
    maxLength: 12,
  });
  fc.assert(
    fc.property(steps, (bursts) => {
      const waiting = new Map<number, number>();
      const frames: number[] = [];
      const tell = ({ indexes }: FreshPieces) => {
        expect(indexes.length).toBeGreaterThan(0);
        expect(indexes.length).toBeLessThanOrEqual(MAX_HAVE_INDEXES);
        frames.push(Date.now());
        for (const index of indexes) {
          expect(Date.now() - (waiting.get(index) ?? Number.NaN)).toBeLessThanOrEqual(WINDOW_MS);
          waiting.delete(index);
        }
      };
      const subject = new FreshPieceWindow({ windowMs: WINDOW_MS }, { tell });
      let next = 0;
      for (const [pauseMs, count] of bursts) {
        vi.advanceTimersByTime(pauseMs);
        for (let n = 0; n < count; n++) {
          waiting.set(next, Date.now());
          subject.add(one, SIZE_BYTES, next++);
        }
      }
      vi.advanceTimersByTime(WINDOW_MS);
      expect(waiting.size).toBe(0);
      subject.stop();
    }),
    { numRuns: 50 },
  );
});

test('what was withdrawn meanwhile is not told, and nothing is after the stop', () => {
  const { told, subject } = gather();
  subject.add(one, SIZE_BYTES, 0);
  subject.add(one, SIZE_BYTES, 1);
  subject.add(other, SIZE_BYTES, 1);
  subject.drop(one);
  vi.advanceTimersByTime(WINDOW_MS);
  expect(told).toEqual(['one 0', 'other 1']);
  subject.add(other, SIZE_BYTES, 2);
  subject.stop();
  vi.advanceTimersByTime(WINDOW_MS);
  expect(told).toEqual(['one 0', 'other 1']);
  expect(vi.getTimerCount()).toBe(0);
});
