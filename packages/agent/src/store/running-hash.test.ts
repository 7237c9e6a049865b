import { createHash, randomBytes } from 'node:crypto';
import { PieceMap, pieceCountOf, pieceExtent } from '@shoal/swarm';
import { expect, test } from 'vitest';
import { RunningHash } from './running-hash.ts';

const SIZE = 256 * 1024 * 3 + 1000;
const offsetOf = (index: number): number => pieceExtent(SIZE, index).offset;

function setUp() {
  const content = randomBytes(SIZE);
  const pieces = PieceMap.empty(pieceCountOf(SIZE));
  const reads: number[] = [];
  let failing = false;
  const hash = new RunningHash(
    { algorithm: 'sha512', sizeBytes: SIZE },
    {
      pieces,
      async readInto(into, offset) {
        await new Promise(setImmediate);
        if (failing) throw new Error('disk');
        reads.push(offset);
        into.set(content.subarray(offset, offset + into.length));
      },
    },
  );
  const bytesOf = (index: number) => {
    const { offset, length } = pieceExtent(SIZE, index);
    return content.subarray(offset, offset + length);
  };
  const expected = createHash('sha512').update(content).digest('hex');
  return { hash, pieces, reads, content, bytesOf, expected, fail: (value: boolean) => (failing = value) };
}

test('pieces that come in order are never read back', async () => {
  const { hash, pieces, reads, bytesOf, expected } = setUp();
  for (let index = 0; index < 4; index++) {
    expect(hash.offer(offsetOf(index), bytesOf(index))).toBe(true);
    pieces.add(index);
  }
  expect(await hash.digest()).toBe(expected);
  expect(reads).toEqual([]);
});

test('a closed hole is caught up before the end', async () => {
  const { hash, pieces, bytesOf, expected } = setUp();
  for (const index of [1, 2]) {
    expect(hash.offer(offsetOf(index), bytesOf(index))).toBe(false);
    pieces.add(index);
  }
  hash.offer(offsetOf(0), bytesOf(0));
  pieces.add(0);
  await hash.catchUp();
  expect(hash.next).toBe(3);
  hash.offer(offsetOf(3), bytesOf(3));
  pieces.add(3);
  expect(await hash.digest()).toBe(expected);
});

test('a piece that did not reach the disk is hashed again, also while reading back', async () => {
  const { hash, pieces, bytesOf, expected } = setUp();
  pieces.add(1);
  pieces.add(2);
  pieces.add(3);
  hash.offer(offsetOf(0), randomBytes(bytesOf(0).length));
  const reading = hash.catchUp();
  hash.rewind();
  await reading;
  expect(hash.next).toBe(0);
  hash.offer(offsetOf(0), bytesOf(0));
  pieces.add(0);
  expect(await hash.digest()).toBe(expected);
});

test('a failed read is reported, and a later attempt starts clean', async () => {
  const { hash, pieces, expected, fail } = setUp();
  for (let index = 0; index < 4; index++) pieces.add(index);
  fail(true);
  await expect(hash.digest()).rejects.toThrow('disk');
  fail(false);
  expect(await hash.digest()).toBe(expected);
});

test('a missing piece leaves the digest open', async () => {
  const { hash, pieces } = setUp();
  pieces.add(1);
  expect(await hash.digest()).toBeUndefined();
});

test('what was read for somebody else need not be read again, in whatever portions', async () => {
  const { hash, pieces, reads, content, expected } = setUp();
  for (let index = 0; index < 4; index++) pieces.add(index);
  const portion = 100_000;
  for (let offset = 0; offset < SIZE; offset += portion) {
    expect(hash.offer(offset, content.subarray(offset, offset + portion))).toBe(true);
  }
  expect(hash.next).toBe(4);
  expect(await hash.digest()).toBe(expected);
  expect(reads).toEqual([]);
});

test('half a piece that was read for somebody else is taken up from there', async () => {
  const { hash, pieces, reads, content, expected } = setUp();
  for (let index = 0; index < 4; index++) pieces.add(index);
  hash.offer(0, content.subarray(0, 1000));
  expect(hash.next).toBe(0);
  expect(await hash.digest()).toBe(expected);
  expect(reads[0]).toBe(1000);
});

test('bytes that were read before a piece was taken back do not count', async () => {
  const { hash, pieces, content, expected } = setUp();
  const { generation } = hash;
  hash.rewind();
  expect(hash.offer(0, randomBytes(1000), generation)).toBe(false);
  for (let index = 0; index < 4; index++) pieces.add(index);
  expect(hash.offer(0, content.subarray(0, 1000), hash.generation)).toBe(true);
  expect(await hash.digest()).toBe(expected);
});

test('its state is given for the very bytes that were hashed, and goes on by itself', async () => {
  const { hash, pieces, content, bytesOf } = setUp();
  hash.offer(0, bytesOf(0));
  pieces.add(0);
  expect(hash.before(100)).toBeUndefined();
  const state = hash.before(offsetOf(1));
  hash.offer(offsetOf(1), bytesOf(1));
  const expected = createHash('sha512')
    .update(content.subarray(0, offsetOf(1)))
    .update('else')
    .digest('hex');
  expect(state?.update('else').digest('hex')).toBe(expected);
});
