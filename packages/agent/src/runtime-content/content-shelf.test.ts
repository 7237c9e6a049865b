import { symlink, truncate, writeFile } from 'node:fs/promises';
import type { BlobId } from '@shoal/oci';
import { pino } from 'pino';
import { beforeEach, expect, onTestFinished, test, vi } from 'vitest';
import { readVerifiedPiece } from '../pull/verified-piece.ts';
import { type ContentFolder, contentFolder } from './content-folder.fixture.ts';
import { ContentShelf, type ContentShelfOptions } from './content-shelf.ts';

const KIB = 1024;
const PIECE = 256 * KIB;

let folder: ContentFolder;
let events: string[];

beforeEach(async () => {
  folder = await contentFolder();
  events = [];
});

function start(options: ContentShelfOptions = {}): ContentShelf {
  const shelf = new ContentShelf(options, {
    logger: pino({ level: 'silent' }),
    onWhole: ({ id }) => events.push(`whole ${id}`),
    onGone: ({ id }) => events.push(`gone ${id}`),
  });
  onTestFinished(() => shelf.close());
  return shelf;
}

const untilWhole = (shelf: ContentShelf, id: BlobId) => vi.waitFor(() => expect(shelf.isWhole(id)).toBe(true));

test('what is listed is hashed, told of, and given out as it is', async () => {
  const shelf = start();
  const [one, empty] = [await folder.add(3 * PIECE + 5), await folder.add(0)];
  shelf.replace([one.record, empty.record], folder.path);
  expect(shelf.usage()).toEqual({ blobs: 0, bytes: 0, waiting: 2, wrong: 0, unreadable: 0 });
  await untilWhole(shelf, one.record.id);
  await untilWhole(shelf, empty.record.id);
  expect(events.toSorted()).toEqual([`whole ${one.record.id}`, `whole ${empty.record.id}`].toSorted());
  expect(shelf.usage()).toEqual({ blobs: 2, bytes: 3 * PIECE + 5, waiting: 0, wrong: 0, unreadable: 0 });
  expect(shelf.find(one.record.id)).toEqual(one.record);
  const handle = await shelf.open(one.record.id);
  expect(await handle?.read(0, one.bytes.length)).toEqual(one.bytes);
  for (let index = 0; index < 4; index++) {
    const { bytes } = await readVerifiedPiece({ drop: async (id) => shelf.doubt(id) }, handle!, index);
    expect(bytes).toEqual(one.bytes.subarray(index * PIECE, (index + 1) * PIECE));
  }
  handle?.release();
});

test('what has the wrong bytes or the wrong size is never told of, nor given out', async () => {
  const shelf = start();
  const [flipped, short] = [await folder.add(2 * PIECE), await folder.add(100)];
  await folder.damage(flipped.digest, PIECE);
  await truncate(folder.fileOf(short.digest), 99);
  shelf.replace([flipped.record, short.record], folder.path);
  await vi.waitFor(() => expect(shelf.usage().wrong).toBe(2));
  expect(shelf.find(flipped.record.id)).toBeUndefined();
  expect(await shelf.open(flipped.record.id)).toBeUndefined();
  shelf.replace([flipped.record, short.record], folder.path);
  expect(shelf.usage()).toMatchObject({ wrong: 2, waiting: 0 });
  expect(events).toEqual([]);
});

test('who asks for a blob has it hashed at once, before what nobody asks for', async () => {
  // At this rate the first one alone would take minutes.
  const shelf = start({ checkBytesPerSecond: 10 * KIB });
  const [slow, wanted] = [await folder.add(4 * PIECE), await folder.add(4 * PIECE)];
  shelf.replace([slow.record, wanted.record], folder.path);
  const handle = await shelf.open(wanted.record.id);
  expect(await handle?.read(0, 10)).toEqual(wanted.bytes.subarray(0, 10));
  handle?.release();
  expect(events).toEqual([`whole ${wanted.record.id}`]);
  // Also one that is being hashed slowly.
  expect(shelf.find(slow.record.id)).toBeUndefined();
  expect(shelf.usage().waiting).toBe(1);
});

test('a piece that changed on the disk is not given out, and its blob is withdrawn until its hash is right', async () => {
  const shelf = start();
  const { record, digest } = await folder.add(2 * PIECE);
  shelf.replace([record], folder.path);
  await untilWhole(shelf, record.id);
  const handle = await shelf.open(record.id);
  await folder.damage(digest, PIECE + 1);
  const drop = async (id: BlobId): Promise<void> => shelf.doubt(id);
  await expect(readVerifiedPiece({ drop }, handle!, 1)).rejects.toMatchObject({ code: 'digest-mismatch' });
  handle?.release();
  expect(events).toEqual([`whole ${record.id}`, `gone ${record.id}`]);
  await vi.waitFor(() => expect(shelf.usage().wrong).toBe(1));
  expect(await shelf.open(record.id)).toBeUndefined();
});

test('another file of the same name is hashed again before anything of it is given out', async () => {
  const shelf = start();
  const { record, digest, bytes } = await folder.add(1_000);
  shelf.replace([record], folder.path);
  await untilWhole(shelf, record.id);
  await folder.remove(digest);
  await writeFile(folder.fileOf(digest), bytes);
  expect(await shelf.open(record.id)).toBeUndefined();
  expect(events.slice(1)).toEqual([`gone ${record.id}`]);
  await untilWhole(shelf, record.id);
  const handle = await shelf.open(record.id);
  expect(await handle?.read(0, 1_000)).toEqual(bytes);
  handle?.release();
});

test('a file that is gone is withdrawn when it is asked for; who reads it meanwhile gets the rest', async () => {
  const shelf = start();
  const { record, digest, bytes } = await folder.add(1_000);
  shelf.replace([record], folder.path);
  await untilWhole(shelf, record.id);
  const reading = await shelf.open(record.id);
  await folder.remove(digest);
  expect(await shelf.open(record.id)).toBeUndefined();
  expect(events).toEqual([`whole ${record.id}`, `gone ${record.id}`]);
  expect(shelf.usage()).toMatchObject({ blobs: 0, waiting: 0, unreadable: 0 });
  expect(await reading?.read(500, 500)).toEqual(bytes.subarray(500));
  reading?.release();
});

test('a read that fails fails alone, and withdraws the blob', async () => {
  const shelf = start();
  const { record, digest } = await folder.add(1_000);
  shelf.replace([record], folder.path);
  await untilWhole(shelf, record.id);
  const handle = await shelf.open(record.id);
  await truncate(folder.fileOf(digest), 10);
  await expect(handle!.read(0, 1_000)).rejects.toMatchObject({ code: 'io' });
  handle?.release();
  expect(events).toEqual([`whole ${record.id}`, `gone ${record.id}`]);
});

test('what is not listed any more is withdrawn; what is being hashed is told of to nobody then', async () => {
  const shelf = start({ checkBytesPerSecond: 10 * KIB });
  const [kept, slow] = [await folder.add(10), await folder.add(4 * PIECE)];
  shelf.replace([kept.record, slow.record], folder.path);
  await untilWhole(shelf, kept.record.id);
  shelf.replace([], folder.path);
  expect(events).toEqual([`whole ${kept.record.id}`, `gone ${kept.record.id}`]);
  expect(shelf.usage()).toEqual({ blobs: 0, bytes: 0, waiting: 0, wrong: 0, unreadable: 0 });
  expect(await shelf.open(slow.record.id)).toBeUndefined();
});

test('a file that cannot be opened is looked at again with the next listing', async () => {
  const shelf = start();
  const { record, digest, bytes } = await folder.add(10);
  await folder.remove(digest);
  await writeFile(`${folder.path}/elsewhere`, bytes);
  await symlink(`${folder.path}/elsewhere`, folder.fileOf(digest));
  shelf.replace([record], folder.path);
  await vi.waitFor(() => expect(shelf.usage().unreadable).toBe(1));
  await folder.remove(digest);
  await writeFile(folder.fileOf(digest), bytes);
  shelf.replace([record], folder.path);
  await untilWhole(shelf, record.id);
});
