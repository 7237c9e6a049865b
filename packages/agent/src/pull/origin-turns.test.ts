import { describe, expect, test } from 'vitest';
import { type OriginTurn, OriginTurns } from './origin-turns.ts';

const MiB = 1024 * 1024;

function setUp() {
  const state = { now: 0, reading: new Set<string>() };
  const turns = new OriginTurns(() => state.now);
  const begin = (
    name: string,
    { sizeBytes = 100 * MiB, registry = 'r', inBackground = (): boolean => false } = {},
  ): OriginTurn => turns.begin({ sizeBytes, registry, reads: () => state.reading.has(name), inBackground });
  return { state, begin };
}

describe('in a crowd', () => {
  const CROWD = 100;

  test('layers are read one after the other, in the order in which they began', () => {
    const { state, begin } = setUp();
    const [first, second, third] = [begin('1'), begin('2'), begin('3')];
    expect(second.isNow(CROWD)).toBe(false);
    expect(first.isNow(CROWD)).toBe(true);
    state.reading.add('1');
    expect(third.isNow(CROWD)).toBe(false);
    expect(first.isNow(CROWD)).toBe(true);
    state.reading.delete('1');
    expect(second.isNow(CROWD)).toBe(true);
  });

  test('a pull that never asks holds up nobody, nor does one that has ended', () => {
    const { state, begin } = setUp();
    begin('1');
    const second = begin('2');
    state.now = 500;
    expect(second.isNow(CROWD)).toBe(true);
    state.reading.add('2');
    const third = begin('3');
    expect(third.isNow(CROWD)).toBe(false);
    second.end();
    expect(third.isNow(CROWD)).toBe(true);
  });

  test('what is in the background waits for all that is not, until somebody wants it', () => {
    const { state, begin } = setUp();
    let inBackground = true;
    const errand = begin('errand', { inBackground: () => inBackground });
    state.reading.add('errand');
    const pull = begin('pull');
    expect([pull.earlier(), pull.isNow(CROWD)]).toEqual([0, true]);
    state.reading.add('pull');
    expect([errand.earlier(), errand.isNow(CROWD)]).toEqual([1, false]);
    inBackground = false;
    expect([errand.isNow(CROWD), pull.isNow(CROWD)]).toEqual([true, false]);
  });

  test('a later one that reads meanwhile does not keep the first from going on', () => {
    const { state, begin } = setUp();
    const [first, second] = [begin('1'), begin('2')];
    expect(first.isNow(CROWD)).toBe(true);
    expect(second.isNow(CROWD)).toBe(true);
    state.reading.add('2');
    expect(first.isNow(CROWD)).toBe(true);
    state.reading.add('1');
    expect(second.isNow(CROWD)).toBe(false);
  });

  test('each knows how many come before it', () => {
    const { begin } = setUp();
    const [first, small, second] = [begin('1'), begin('s', { sizeBytes: MiB }), begin('2')];
    expect([first.earlier(), small.earlier(), second.earlier()]).toEqual([0, 0, 1]);
    first.end();
    expect(second.earlier()).toBe(0);
  });

  test('small blobs and other registries do not wait', () => {
    const { state, begin } = setUp();
    begin('1');
    state.reading.add('1');
    expect(begin('2', { sizeBytes: MiB }).isNow(CROWD)).toBe(true);
    expect(begin('3', { registry: 'other' }).isNow(CROWD)).toBe(true);
  });
});

test.each([
  [0, 8],
  [1, 8],
  [2, 4],
  [3, 3],
  [8, 1],
])('among %i agents one reads %i layers at once', (crowd, expected) => {
  const { state, begin } = setUp();
  const names = Array.from({ length: 10 }, (_, index) => `${index}`);
  for (const name of names) if (begin(name).isNow(crowd)) state.reading.add(name);
  expect(state.reading.size).toBe(expected);
});
