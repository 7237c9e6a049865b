import { createHash, randomBytes } from 'node:crypto';
import { PieceMap, pieceCountOf, pieceExtent } from '@shoal/swarm';
import { expect, test } from 'vitest';
import { RunningHash } from './running-hash.ts';

const SIZE = 256 * 1024 * 3 + 1000;

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
  return { hash, pieces, reads, bytesOf, expected, fail: (value: boolean) => (failing = value) };
}

test('pieces that come in order are never read back', async () => {
  const { hash, pieces, reads, bytesOf, expected } = setUp();
  for (let index = 0; index < 4; index++) {
    expect(hash.offer(index, bytesOf(index))).toBe(true);
    pieces.add(index);
  }
  expect(await hash.digest()).toBe(expected);
  expect(reads).toEqual([]);
});

test('a closed hole is caught up before the end', async () => {
  const { hash, pieces, bytesOf, expected } = setUp();
  for (const index of [1, 2]) {
    expect(hash.offer(index, bytesOf(index))).toBe(false);
    pieces.add(index);
  }
  hash.offer(0, bytesOf(0));
  pieces.add(0);
  await hash.catchUp();
  expect(hash.next).toBe(3);
  hash.offer(3, bytesOf(3));
  pieces.add(3);
  expect(await hash.digest()).toBe(expected);
});

test('a piece that did not reach the disk is hashed again, also while reading back', async () => {
  const { hash, pieces, bytesOf, expected } = setUp();
  pieces.add(1);
  pieces.add(2);
  pieces.add(3);
  hash.offer(0, randomBytes(bytesOf(0).length));
  const reading = hash.catchUp();
  hash.rewind();
  await reading;
  expect(hash.next).toBe(0);
  hash.offer(0, bytesOf(0));
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
