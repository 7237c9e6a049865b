import { mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { BlobId } from '@shoal/oci';
import fc from 'fast-check';
import { pino } from 'pino';
import { expect, onTestFinished, test } from 'vitest';
import { Ledger } from './ledger.ts';
import { Pins } from './pins.ts';

const blob = (character: string): BlobId => `a.test/sha256:${character.repeat(64)}` as BlobId;
const [A, B, C] = [blob('a'), blob('b'), blob('c')];

async function pinFile(): Promise<string> {
  const folder = await mkdtemp(join(tmpdir(), 'shoal-pins-'));
  onTestFinished(() => rm(folder, { recursive: true, force: true }));
  return join(folder, 'pins.json');
}

const load = (path: string, limitBytes = 100, ledger = new Ledger()): Promise<Pins> =>
  Pins.load({ path, limitBytes }, { ledger, logger: pino({ level: 'silent' }) });

test('a blob is pinned while any pin names it', async () => {
  const pins = await load(await pinFile());
  await pins.put({ name: 'one', blobs: new Map([[A, 10]]) });
  await pins.put({
    name: 'two',
    blobs: new Map([
      [A, 10],
      [B, 10],
    ]),
  });
  expect(await pins.delete('one')).toBe(true);
  expect([pins.has(A), pins.has(B), pins.has(C)]).toEqual([true, true, false]);
  expect(await pins.delete('two')).toBe(true);
  expect(pins.has(A)).toBe(false);
  expect(await pins.delete('two')).toBe(false);
});

test('a pin of the same name takes the place of the one before', async () => {
  const pins = await load(await pinFile());
  await pins.put({ name: 'one', blobs: new Map([[A, 90]]) });
  await pins.put({ name: 'one', blobs: new Map([[B, 90]]) });
  expect([pins.has(A), pins.has(B)]).toEqual([false, true]);
});

test('what would leave too little for others is refused and changes nothing, what is shared counts once', async () => {
  const path = await pinFile();
  const pins = await load(path);
  await pins.put({ name: 'one', blobs: new Map([[A, 80]]) });
  await expect(pins.put({ name: 'two', blobs: new Map([[B, 21]]) })).rejects.toMatchObject({ code: 'too-many-pins' });
  expect(pins.has(B)).toBe(false);
  expect((await load(path)).list().map(({ name }) => name)).toEqual(['one']);
  await pins.put({
    name: 'three',
    blobs: new Map([
      [A, 80],
      [C, 20],
    ]),
  });
  expect(pins.has(C)).toBe(true);
});

test('they are there after a restart, and bytes are counted of what is here alone', async () => {
  const path = await pinFile();
  await (await load(path)).put({
    name: 'one',
    blobs: new Map([
      [A, 30],
      [B, 40],
    ]),
  });
  const ledger = new Ledger();
  ledger.addBlob({ id: B, sizeBytes: 40 }, 1);
  ledger.addBlob({ id: C, sizeBytes: 20 }, 1);
  const pins = await load(path, 100, ledger);
  expect([pins.has(A), pins.has(B), pins.has(C), pins.heldBytes()]).toEqual([true, true, false, 40]);
});

test('of a smaller cache, those count that were pinned first, and the others again when it has grown', async () => {
  const path = await pinFile();
  const before = await load(path);
  await before.put({ name: 'old', blobs: new Map([[A, 60]]) });
  await before.put({ name: 'new', blobs: new Map([[B, 40]]) });
  const small = await load(path, 70);
  expect([small.has(A), small.has(B)]).toEqual([true, false]);
  const large = await load(path, 100);
  expect([large.has(A), large.has(B)]).toEqual([true, true]);
});

test('the same holds while it runs', async () => {
  const pins = await load(await pinFile());
  await pins.put({ name: 'one', blobs: new Map([[A, 40]]) });
  await pins.put({ name: 'two', blobs: new Map([[B, 50]]) });
  await pins.resize(60);
  expect([pins.has(A), pins.has(B)]).toEqual([true, false]);
  await expect(pins.put({ name: 'three', blobs: new Map([[C, 1]]) })).rejects.toMatchObject({ code: 'too-many-pins' });
  await pins.resize(100);
  expect([pins.has(A), pins.has(B)]).toEqual([true, true]);
});

test('forgotten blobs are in no pin, and a pin of nothing is none', async () => {
  const pins = await load(await pinFile());
  await pins.put({ name: 'one', blobs: new Map([[A, 1]]) });
  await pins.put({
    name: 'two',
    blobs: new Map([
      [A, 1],
      [B, 1],
    ]),
  });
  await pins.forget([A]);
  expect(pins.list()).toEqual([{ name: 'two', blobs: new Map([[B, 1]]) }]);
});

test('a damaged file pins nothing, whatever is in it', async () => {
  const path = await pinFile();
  await fc.assert(
    fc.asyncProperty(fc.oneof(fc.string(), fc.json()), async (text) => {
      await writeFile(path, text);
      expect((await load(path)).has(A)).toBe(false);
    }),
    { numRuns: 50 },
  );
  await (await load(path)).put({ name: 'one', blobs: new Map([[A, 1]]) });
  expect(JSON.parse(await readFile(path, 'utf8'))).toEqual([{ name: 'one', blobs: [[A, 1]] }]);
});
