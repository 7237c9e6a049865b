import { createHash, randomBytes } from 'node:crypto';
import { existsSync } from 'node:fs';
import { mkdtemp, open, readdir, readFile, rm, stat, truncate, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { BlobId } from '@shoal/oci';
import { pieceCountOf, pieceExtent } from '@shoal/swarm';
import fc from 'fast-check';
import { type Logger, pino } from 'pino';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import type { BlobStore, PartialBlob } from './blob-store.ts';
import { openStore, type StoreDependencies, type StoreOptions } from './open-store.ts';

const KIB = 1024;
const PIECE = 256 * KIB;
const logger = pino({ level: 'silent' });

let dataDir: string;
let now: number;
const opened: BlobStore[] = [];

beforeEach(async () => {
  dataDir = await mkdtemp(join(tmpdir(), 'shoal-store-'));
  now = 1_700_000_000_000;
});

afterEach(async () => {
  for (const store of opened.splice(0)) await store.close();
  await rm(dataDir, { recursive: true, force: true });
});

async function start(options: Partial<StoreOptions> = {}, more: Partial<StoreDependencies> = {}): Promise<BlobStore> {
  const store = await openStore(
    { dataDir, quotaBytes: 64 * 1024 * KIB, minFreeDiskBytes: 0, ...options },
    { logger, clock: () => now++, ...more },
  );
  opened.push(store);
  return store;
}

function idOf(bytes: Uint8Array, algorithm = 'sha256'): BlobId {
  return `a.test/${algorithm}:${createHash(algorithm).update(bytes).digest('hex')}` as BlobId;
}

const sha256 = (bytes: Uint8Array) => createHash('sha256').update(bytes).digest();

function pieceOf(content: Uint8Array, index: number): Uint8Array {
  const { offset, length } = pieceExtent(content.length, index);
  return content.subarray(offset, offset + length);
}

async function writePiece(partial: PartialBlob, content: Uint8Array, index: number): Promise<void> {
  const bytes = pieceOf(content, index);
  await partial.write(index, bytes, sha256(bytes), Buffer.from(`by ${index}`));
}

async function writeAll(partial: PartialBlob, content: Uint8Array): Promise<void> {
  for (let index = 0; index < pieceCountOf(content.length); index++) await writePiece(partial, content, index);
}

/** Pulls a blob through a partial, as the agent does. */
async function keep(store: BlobStore, content: Uint8Array): Promise<BlobId> {
  const id = idOf(content);
  const partial = await store.partial(id, content.length);
  await writeAll(partial, content);
  await partial.commit();
  return id;
}

async function contentOf(store: BlobStore, id: BlobId): Promise<Buffer | undefined> {
  const handle = await store.open(id);
  if (handle === undefined) return undefined;
  const bytes = await handle.read(0, handle.sizeBytes);
  handle.release();
  return bytes;
}

const blobPath = (id: BlobId) => join(dataDir, 'blobs', id.replace(/(.*)\/(.*):(.*)/, '$2/$3@$1'));
const partialPath = (id: BlobId) => join(dataDir, 'partial', id.replace(/(.*)\/.*:(.*)/, '$2@$1'));
const filesIn = (name: string) => readdir(join(dataDir, name));

async function flip(path: string, offset: number): Promise<void> {
  const file = await open(path, 'r+');
  const byte = Buffer.alloc(1);
  await file.read(byte, 0, 1, offset);
  byte[0] = byte[0]! ^ 0xff;
  await file.write(byte, 0, 1, offset);
  await file.close();
}

describe('a blob that arrives in pieces', () => {
  test('is found and read after its commit, with its piece hashes', async () => {
    const store = await start();
    const content = randomBytes(PIECE * 2 + 77);
    const id = await keep(store, content);
    expect(await store.find(id)).toEqual({ id, sizeBytes: content.length });
    const handle = (await store.open(id))!;
    expect(await handle.read(PIECE - 5, 10)).toEqual(content.subarray(PIECE - 5, PIECE + 5));
    expect(Buffer.from(await handle.pieceHash(2))).toEqual(sha256(pieceOf(content, 2)));
    handle.release();
    await expect(handle.read(0, 1)).rejects.toMatchObject({ code: 'closed' });
    expect(await filesIn('partial')).toEqual([]);
  });

  test('is found again by the next agent, with its media type', async () => {
    const first = await start();
    const content = randomBytes(1000);
    const id = idOf(content, 'sha512');
    const partial = await first.partial(id, content.length);
    await writeAll(partial, content);
    await partial.commit({ mediaType: 'application/json' });
    await first.close();
    const second = await start();
    expect(await second.find(id)).toEqual({ id, sizeBytes: 1000, mediaType: 'application/json' });
    expect(await contentOf(second, id)).toEqual(content);
  });

  test('can be empty', async () => {
    const store = await start();
    const id = await keep(store, Buffer.alloc(0));
    expect(await contentOf(store, id)).toEqual(Buffer.alloc(0));
  });

  test('says that it is verified before it is found', async () => {
    const store = await start();
    const content = randomBytes(PIECE);
    const id = idOf(content);
    const partial = await store.partial(id, content.length);
    await writeAll(partial, content);
    let foundThen: boolean | undefined;
    await partial.commit({ onVerified: () => (foundThen = existsSync(blobPath(id))) });
    expect(foundThen).toBe(false);
  });

  test('is read through the partial after the commit too', async () => {
    const store = await start();
    const content = randomBytes(PIECE + 10);
    const partial = await store.partial(idOf(content), content.length);
    await writeAll(partial, content);
    await partial.commit();
    expect(await partial.read(PIECE - 3, 6)).toEqual(content.subarray(PIECE - 3, PIECE + 3));
    await partial.close();
  });

  test('is not committed when it hashes to something else, and can be dropped then', async () => {
    const store = await start();
    const content = randomBytes(PIECE + 10);
    const id = idOf(randomBytes(3));
    const partial = await store.partial(id, content.length);
    await writeAll(partial, content);
    let verified = false;
    const commit = partial.commit({ onVerified: () => (verified = true) });
    await expect(commit).rejects.toMatchObject({ code: 'digest-mismatch' });
    expect(verified).toBe(false);
    expect(await store.find(id)).toBeUndefined();
    await partial.drop();
    expect(await filesIn('partial')).toEqual([]);
    expect(store.usage().bytes).toBe(0);
    const again = await store.partial(id, content.length);
    expect(again.pieces.held).toBe(0);
  });

  test('is committed after a wrong piece was forgotten and the right one took its place', async () => {
    const store = await start();
    const content = randomBytes(PIECE * 3 + 10);
    const id = idOf(content);
    const partial = await store.partial(id, content.length);
    await writePiece(partial, content, 0);
    await writePiece(partial, content, 2);
    await writePiece(partial, content, 3);
    const wrong = randomBytes(PIECE);
    await partial.write(1, wrong, sha256(wrong), Buffer.from('liar'));
    await expect(partial.commit()).rejects.toMatchObject({ code: 'digest-mismatch' });
    expect(partial.pieces.complete).toBe(true);
    expect(await partial.damaged()).toEqual([]);

    const forgetting = partial.forget([1]);
    expect(partial.pieces.has(1)).toBe(false);
    expect(partial.attestation(1)).toBeUndefined();
    // Not awaited: the record of the right piece must outlive that of the wrong one.
    const right = pieceOf(content, 1);
    await Promise.all([forgetting, partial.write(1, right, sha256(right), Buffer.from('honest'))]);
    await partial.close();

    const resumed = await store.partial(id, content.length);
    expect(resumed.pieces.complete).toBe(true);
    expect(Buffer.from(resumed.attestation(1)!).toString()).toBe('honest');
    await resumed.commit();
    expect(await contentOf(store, id)).toEqual(content);
  });

  test('does not come back with a piece that was forgotten', async () => {
    const first = await start();
    const content = randomBytes(PIECE * 3);
    const partial = await first.partial(idOf(content), content.length);
    await writeAll(partial, content);
    await partial.forget([0, 2]);
    expect(first.usage().bytes).toBe(content.length);
    await first.close();
    const second = await start();
    const resumed = await second.partial(idOf(content), content.length);
    expect([0, 1, 2].map((index) => resumed.pieces.has(index))).toEqual([false, true, false]);
  });

  test('says which of its pieces changed on the disk', async () => {
    const store = await start();
    const content = randomBytes(PIECE * 3);
    const id = idOf(content);
    const partial = await store.partial(id, content.length);
    await writeAll(partial, content);
    await flip(partialPath(id), PIECE + 17);
    expect(await partial.damaged()).toEqual([1]);
    expect(Buffer.from(partial.pieceHash(1)!)).toEqual(sha256(pieceOf(content, 1)));
  });

  test('cannot be committed with a hole, nor read in one', async () => {
    const store = await start();
    const content = randomBytes(PIECE * 2);
    const partial = await store.partial(idOf(content), content.length);
    await writePiece(partial, content, 1);
    await expect(partial.commit()).rejects.toMatchObject({ code: 'io' });
    await expect(partial.read(PIECE - 1, 2)).rejects.toMatchObject({ code: 'io' });
    expect(await partial.read(PIECE, 5)).toEqual(content.subarray(PIECE, PIECE + 5));
  });

  test('is open once at a time', async () => {
    const store = await start();
    const content = randomBytes(PIECE);
    const partial = await store.partial(idOf(content), content.length);
    await expect(store.partial(idOf(content), content.length)).rejects.toMatchObject({ code: 'io' });
    await partial.close();
    await expect(partial.read(0, 1)).rejects.toMatchObject({ code: 'closed' });
    await (await store.partial(idOf(content), content.length)).drop();
  });

  test('takes the same piece twice', async () => {
    const store = await start();
    const content = randomBytes(PIECE + 1);
    const partial = await store.partial(idOf(content), content.length);
    await Promise.all([writePiece(partial, content, 0), writePiece(partial, content, 0)]);
    await writePiece(partial, content, 1);
    await partial.commit();
    expect(await contentOf(store, partial.id)).toEqual(content);
  });

  test('commits to the right content whatever order its pieces come in', async () => {
    const store = await start();
    const orders = fc.integer({ min: 1, max: 9 }).chain((count) =>
      fc.record({
        order: fc.shuffledSubarray([...Array(count).keys()], { minLength: count, maxLength: count }),
        tail: fc.integer({ min: 1, max: PIECE }),
        atOnce: fc.integer({ min: 1, max: 4 }),
        resumeAfter: fc.option(fc.nat({ max: count }), { nil: undefined }),
      }),
    );
    await fc.assert(
      fc.asyncProperty(orders, async ({ order, tail, atOnce, resumeAfter }) => {
        const content = randomBytes(PIECE * (order.length - 1) + tail);
        const id = idOf(content);
        let partial = await store.partial(id, content.length);
        for (let at = 0; at < order.length; at += atOnce) {
          await Promise.all(order.slice(at, at + atOnce).map((index) => writePiece(partial, content, index)));
          if (resumeAfter === undefined || at > resumeAfter || at + atOnce <= resumeAfter) continue;
          const held = partial.pieces.toBytes();
          await partial.close();
          partial = await store.partial(id, content.length);
          expect(partial.pieces.toBytes()).toEqual(held);
        }
        await partial.commit();
        expect((await contentOf(store, id))?.equals(content)).toBe(true);
        await store.drop(id);
      }),
      { numRuns: 40 },
    );
    expect(store.usage()).toMatchObject({ bytes: 0, blobs: 0 });
  });
});

describe('a partial', () => {
  const content = randomBytes(PIECE * 4 + 9);
  const id = idOf(content);

  async function leaveHalf(indexes = [0, 1, 3]): Promise<void> {
    const store = await start();
    const partial = await store.partial(id, content.length);
    for (const index of indexes) await writePiece(partial, content, index);
    await store.close();
  }

  test('resumes with its pieces and attestations', async () => {
    await leaveHalf();
    const store = await start();
    expect(store.usage().bytes).toBe(PIECE * 3);
    const partial = await store.partial(id, content.length);
    expect(store.usage().bytes).toBe(content.length);
    expect([0, 1, 2, 3, 4].filter((index) => partial.pieces.has(index))).toEqual([0, 1, 3]);
    expect(Buffer.from(partial.attestation(3)!).toString()).toBe('by 3');
    expect(partial.attestation(2)).toBeUndefined();
    await writePiece(partial, content, 2);
    await writePiece(partial, content, 4);
    await partial.commit();
    expect(await contentOf(store, id)).toEqual(content);
  });

  test('loses a piece whose byte was flipped on the disk', async () => {
    await leaveHalf();
    await flip(partialPath(id), PIECE + 100);
    const partial = await (await start()).partial(id, content.length);
    expect([0, 1, 2, 3, 4].filter((index) => partial.pieces.has(index))).toEqual([0, 3]);
    for (const index of [1, 2, 4]) await writePiece(partial, content, index);
    await partial.commit();
  });

  test('loses a piece with a record and no bytes', async () => {
    await leaveHalf();
    await truncate(partialPath(id), PIECE * 3 + 5);
    const partial = await (await start()).partial(id, content.length);
    expect([0, 1, 2, 3, 4].filter((index) => partial.pieces.has(index))).toEqual([0, 1]);
  });

  test('does not take bytes without a record for a piece', async () => {
    await leaveHalf([0]);
    const file = await open(partialPath(id), 'r+');
    await file.write(pieceOf(content, 2), 0, 1000, PIECE * 2);
    await file.close();
    const partial = await (await start()).partial(id, content.length);
    expect(partial.pieces.held).toBe(1);
  });

  test('starts over when the size is another one', async () => {
    await leaveHalf();
    const store = await start();
    const partial = await store.partial(id, content.length - 1);
    expect(partial.pieces.held).toBe(0);
  });

  test('without a record is swept, and so are records without it', async () => {
    await leaveHalf();
    await rm(partialPath(id));
    await writeFile(join(dataDir, 'partial', 'abc.put-1'), 'left over');
    const store = await start();
    expect(await filesIn('partial')).toEqual([]);
    expect(store.usage().bytes).toBe(0);
    expect((await store.partial(id, content.length)).pieces.held).toBe(0);
  });

  test('dropped while pieces are being written leaves nothing', async () => {
    const store = await start();
    const partial = await store.partial(id, content.length);
    const writes = [0, 1, 2].map((index) => writePiece(partial, content, index));
    await partial.drop();
    await Promise.allSettled(writes);
    expect(await filesIn('partial')).toEqual([]);
    expect(store.usage().bytes).toBe(0);
    await expect(writePiece(partial, content, 3)).rejects.toMatchObject({ code: 'closed' });
  });
});

describe('put', () => {
  test('keeps a small object with its media type', async () => {
    const store = await start();
    const bytes = Buffer.from('{"schemaVersion":2}');
    await store.put(idOf(bytes), bytes, 'application/vnd.oci.image.manifest.v1+json');
    const handle = (await store.open(idOf(bytes)))!;
    expect(handle.mediaType).toBe('application/vnd.oci.image.manifest.v1+json');
    expect(await handle.read(0, bytes.length)).toEqual(bytes);
    expect(Buffer.from(await handle.pieceHash(0))).toEqual(sha256(bytes));
    handle.release();
    expect(await filesIn('partial')).toEqual([]);
  });

  test('refuses what does not hash to the digest', async () => {
    const store = await start();
    const put = store.put(idOf(Buffer.from('a')), Buffer.from('b'));
    await expect(put).rejects.toMatchObject({ code: 'digest-mismatch' });
    expect(store.usage().blobs).toBe(0);
  });

  test('twice at once is the same as once', async () => {
    const store = await start();
    const bytes = randomBytes(500);
    await Promise.all([1, 2, 3].map(() => store.put(idOf(bytes), bytes)));
    expect(store.usage()).toMatchObject({ bytes: 500, blobs: 1 });
  });
});

describe('room', () => {
  test('the least recently used blob goes first, and it is told', async () => {
    const evicted: BlobId[] = [];
    const store = await start({ quotaBytes: 1000, lowWater: 1 }, { onEvicted: ({ id }) => evicted.push(id) });
    const [a, b] = [await keep(store, randomBytes(400)), await keep(store, randomBytes(400))];
    (await store.open(a))!.release();
    const c = await keep(store, randomBytes(400));
    expect(evicted).toEqual([b]);
    expect(await store.find(b)).toBeUndefined();
    expect(existsSync(blobPath(b))).toBe(false);
    expect((await Array.fromAsync(store.list())).map((blob) => blob.id)).toEqual([a, c]);
    expect(store.usage()).toEqual({ bytes: 800, blobs: 2, quotaBytes: 1000 });
  });

  test('eviction goes down to the low water mark', async () => {
    const store = await start({ quotaBytes: 1000, lowWater: 0.5 });
    for (let index = 0; index < 10; index++) await keep(store, randomBytes(100));
    await keep(store, randomBytes(100));
    expect(store.usage().bytes).toBe(500);
  });

  test('a blob larger than the quota is refused and costs nobody', async () => {
    const store = await start({ quotaBytes: 1000 });
    await keep(store, randomBytes(900));
    const big = randomBytes(1001);
    await expect(store.partial(idOf(big), big.length)).rejects.toMatchObject({ code: 'over-quota' });
    await expect(store.put(idOf(big), big)).rejects.toMatchObject({ code: 'over-quota' });
    expect(store.usage().bytes).toBe(900);
  });

  test('open blobs and open partials stay', async () => {
    const store = await start({ quotaBytes: 1000 });
    const handle = (await store.open(await keep(store, randomBytes(400))))!;
    const partial = await store.partial(idOf(Buffer.from('p')), 400);
    const third = idOf(Buffer.from('x'));
    await expect(store.partial(third, 400)).rejects.toMatchObject({ code: 'over-quota' });
    handle.release();
    await (await store.partial(third, 400)).drop();
    expect(store.usage()).toMatchObject({ blobs: 0, bytes: 400 });
    await partial.drop();
  });

  test('an idle partial goes before any blob', async () => {
    const store = await start({ quotaBytes: 1000, lowWater: 1 });
    const content = randomBytes(400);
    const blob = await keep(store, randomBytes(400));
    const partial = await store.partial(idOf(content), content.length);
    await writeAll(partial, content);
    await partial.close();
    await keep(store, randomBytes(300));
    expect(await store.find(blob)).toBeDefined();
    expect(await filesIn('partial')).toEqual([]);
    expect(store.usage().bytes).toBe(700);
  });

  test('blobs go to keep the floor of free disk, and a pull that would break it is refused', async () => {
    let free = 1500;
    const store = await start({ minFreeDiskBytes: 1000 }, { diskFree: async () => free });
    const first = await keep(store, randomBytes(400));
    free = 1100;
    const second = await keep(store, randomBytes(300));
    expect(await store.find(first)).toBeUndefined();
    free = 900;
    await expect(store.partial(idOf(Buffer.from('x')), 300)).rejects.toMatchObject({ code: 'disk-full' });
    expect(await store.find(second)).toBeDefined();
  });

  test('what is promised to one pull is not given to another', async () => {
    const store = await start({ minFreeDiskBytes: 1000 }, { diskFree: async () => 1500 });
    await store.partial(idOf(Buffer.from('a')), 400);
    await expect(store.partial(idOf(Buffer.from('b')), 400)).rejects.toMatchObject({ code: 'disk-full' });
  });

  test('a smaller quota is kept from the start', async () => {
    const first = await start();
    for (let index = 0; index < 10; index++) await keep(first, randomBytes(100));
    await first.close();
    expect((await start({ quotaBytes: 500 })).usage().bytes).toBe(400);
  });

  test('the order of use survives a restart', async () => {
    const first = await start();
    const [a, b] = [await keep(first, randomBytes(400)), await keep(first, randomBytes(400))];
    (await first.open(a))!.release();
    await first.close();
    const second = await start({ quotaBytes: 1000, lowWater: 1 });
    await keep(second, randomBytes(400));
    expect(await second.find(a)).toBeDefined();
    expect(await second.find(b)).toBeUndefined();
  });
});

describe('drop', () => {
  test('of an open blob hides it at once and leaves its readers alone', async () => {
    const store = await start();
    const content = randomBytes(3000);
    const id = await keep(store, content);
    const handle = (await store.open(id))!;
    await store.drop(id);
    expect(await store.open(id)).toBeUndefined();
    expect(await handle.read(0, 3000)).toEqual(content);
    expect(store.usage()).toMatchObject({ blobs: 0, bytes: 3000 });
    handle.release();
    handle.release();
    expect(store.usage().bytes).toBe(0);
    expect(await filesIn('blobs/sha256')).toEqual([]);
  });

  test('and a new pull do not disturb each other', async () => {
    const store = await start();
    const content = randomBytes(3000);
    const id = await keep(store, content);
    const handle = (await store.open(id))!;
    await store.drop(id);
    await keep(store, content);
    handle.release();
    expect(await contentOf(store, id)).toEqual(content);
    expect(store.usage()).toMatchObject({ blobs: 1, bytes: 3000 });
  });
});

describe('damage', () => {
  test('a truncated blob is gone after the next start', async () => {
    const first = await start();
    const id = await keep(first, randomBytes(3000));
    await first.close();
    await truncate(blobPath(id), 2999);
    const store = await start();
    expect(await store.find(id)).toBeUndefined();
    expect(existsSync(blobPath(id))).toBe(false);
  });

  test('a blob that shrinks while it is read fails that read and is dropped', async () => {
    const evicted: BlobId[] = [];
    const store = await start({}, { onEvicted: ({ id }) => evicted.push(id) });
    const id = await keep(store, randomBytes(3000));
    const handle = (await store.open(id))!;
    await truncate(blobPath(id), 10);
    await expect(handle.read(0, 3000)).rejects.toMatchObject({ code: 'io' });
    expect(await store.open(id)).toBeUndefined();
    expect(evicted).toEqual([id]);
    handle.release();
    expect(await filesIn('blobs/sha256')).toEqual([]);
  });

  test('a file that vanished is not found', async () => {
    const first = await start();
    const id = await keep(first, randomBytes(3000));
    await first.close();
    const store = await start();
    await rm(blobPath(id));
    expect(await store.open(id)).toBeUndefined();
    expect(await store.find(id)).toBeUndefined();
  });

  test('a file without a record is hashed: right ones are taken in, wrong ones removed', async () => {
    await (await start()).close();
    const content = randomBytes(PIECE + 5);
    const right = idOf(content, 'sha512');
    const wrong = idOf(randomBytes(5));
    await writeFile(blobPath(right), content);
    await writeFile(blobPath(wrong), content);
    const store = await start();
    expect(await contentOf(store, right)).toEqual(content);
    const handle = (await store.open(right))!;
    expect(Buffer.from(await handle.pieceHash(1))).toEqual(sha256(pieceOf(content, 1)));
    handle.release();
    expect(existsSync(blobPath(wrong))).toBe(false);
  });

  test.each(['CURRENT', 'MANIFEST-'])(
    'garbage in %s: the index is moved aside and rebuilt, with one warning',
    async (name) => {
      const first = await start();
      const contents = [randomBytes(PIECE * 2), randomBytes(10)];
      for (const content of contents) await keep(first, content);
      await first.close();
      for (const file of await filesIn('index')) {
        if (file.startsWith(name)) await writeFile(join(dataDir, 'index', file), randomBytes(300));
      }
      const lines: string[] = [];
      const loud = pino({ level: 'warn' }, { write: (line: string) => void lines.push(line) }) as Logger;
      const store = await start({}, { logger: loud });
      for (const content of contents) expect(await contentOf(store, idOf(content))).toEqual(content);
      expect(lines).toHaveLength(1);
      expect((await readdir(dataDir)).filter((file) => file.startsWith('index.corrupt-'))).toHaveLength(1);
      await store.close();
      expect((await start()).usage().blobs).toBe(2);
    },
  );

  test('garbage in the index log loses no blob', async () => {
    const first = await start();
    const content = randomBytes(5000);
    const id = await keep(first, content);
    await first.close();
    for (const file of await filesIn('index')) {
      if (/\.(log|ldb)$/.test(file)) await writeFile(join(dataDir, 'index', file), randomBytes(300));
    }
    expect(await contentOf(await start(), id)).toEqual(content);
  });
});

describe('the data folder', () => {
  test('belongs to one agent', async () => {
    await start();
    const second = start();
    await expect(second).rejects.toMatchObject({ code: 'unwritable' });
    await expect(second).rejects.toThrow(dataDir);
  });

  test('must be a folder', async () => {
    const file = join(dataDir, 'file');
    await writeFile(file, '');
    for (const wrong of [file, join(file, 'below')]) {
      const failed = start({ dataDir: wrong });
      await expect(failed).rejects.toMatchObject({ code: 'unwritable' });
      await expect(failed).rejects.toThrow(wrong);
    }
  });

  test('is readable by its owner only', async () => {
    const store = await start();
    const id = await keep(store, randomBytes(10));
    const small = randomBytes(10);
    await store.put(idOf(small), small);
    for (const path of [blobPath(id), blobPath(idOf(small))]) expect((await stat(path)).mode & 0o777).toBe(0o600);
    for (const folder of ['blobs', 'blobs/sha256', 'partial', 'index']) {
      expect((await stat(join(dataDir, folder))).mode & 0o777).toBe(0o700);
    }
    expect(await readFile(blobPath(idOf(small)))).toEqual(small);
  });
});

test('one blob of two registries is two blobs, and each is found under its own name alone', async () => {
  const first = await start();
  const content = randomBytes(PIECE + 5);
  const one = await keep(first, content);
  const other = one.replace('a.test', '[::1]:5000') as BlobId;
  expect(await first.open(other)).toBeUndefined();
  const partial = await first.partial(other, content.length);
  expect(partial.pieces.held).toBe(0);
  await writeAll(partial, content);
  await partial.commit();
  await first.drop(one);
  expect(await contentOf(first, other)).toEqual(content);
  await first.close();
  const store = await start();
  expect(await contentOf(store, other)).toEqual(content);
  expect(await store.find(one)).toBeUndefined();
  expect(await filesIn('blobs/sha256')).toEqual([other.replace(/(.*)\/.*:(.*)/, '$2@$1')]);
});

test("a registry whose name is longer than a file's can be is not kept", async () => {
  const store = await start();
  const content = randomBytes(10);
  const long = idOf(content).replace('a.test', `${'a23456789.'.repeat(25)}abc:65535`) as BlobId;
  await expect(store.partial(long, content.length)).rejects.toMatchObject({ name: 'StoreError' });
  await expect(store.put(long, content)).rejects.toMatchObject({ name: 'StoreError' });
  expect(store.usage().bytes).toBe(0);
});

test('notes are kept, listed by prefix and deleted', async () => {
  const first = await start();
  await first.notes.put('peers/b', '2');
  await first.notes.put('peers/a', '');
  await first.notes.put('q/x', '3');
  await first.notes.put('q/ÿ\u{1f41f}', '4');
  await first.close();
  await expect(first.notes.get('q/x')).rejects.toMatchObject({ code: 'closed' });
  const store = await start();
  expect(await Array.fromAsync(store.notes.entries('peers/'))).toEqual([
    ['peers/a', ''],
    ['peers/b', '2'],
  ]);
  expect(await Array.fromAsync(store.notes.entries('q/'))).toHaveLength(2);
  await store.notes.delete('peers/a');
  expect(await store.notes.get('peers/a')).toBeUndefined();
  expect(await store.notes.get('peers/b')).toBe('2');
});

test('closing keeps an open partial and ends its handles', async () => {
  const first = await start();
  const content = randomBytes(PIECE + 1);
  const id = await keep(first, randomBytes(10));
  const handle = (await first.open(id))!;
  const partial = await first.partial(idOf(content), content.length);
  await writePiece(partial, content, 0);
  await first.close();
  await expect(handle.read(0, 1)).rejects.toMatchObject({ code: 'closed' });
  await expect(writePiece(partial, content, 1)).rejects.toMatchObject({ code: 'closed' });
  await expect(first.open(id)).rejects.toMatchObject({ code: 'closed' });
  const store = await start();
  expect((await store.partial(idOf(content), content.length)).pieces.held).toBe(1);
  expect(await store.find(id)).toBeDefined();
});
