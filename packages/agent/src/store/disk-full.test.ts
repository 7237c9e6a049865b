import { execFileSync } from 'node:child_process';
import { createHash, randomBytes } from 'node:crypto';
import { mkdtemp, readdir, rm, statfs, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { BlobId } from '@shoal/oci';
import { pino } from 'pino';
import { afterEach, beforeEach, expect, test } from 'vitest';
import type { BlobStore } from './blob-store.ts';
import { openStore } from './open-store.ts';

const PIECE = 256 * 1024;

let disk: string;
let mounted: boolean;
let store: BlobStore | undefined;

beforeEach(async () => {
  disk = await mkdtemp(join(tmpdir(), 'shoal-full-'));
  try {
    execFileSync('mount', ['-t', 'tmpfs', '-o', 'size=2m', 'tmpfs', disk], { stdio: 'ignore' });
    mounted = true;
  } catch {
    mounted = false;
  }
});

afterEach(async () => {
  await store?.close();
  store = undefined;
  if (mounted) execFileSync('umount', [disk]);
  await rm(disk, { recursive: true, force: true });
});

async function start(): Promise<BlobStore> {
  store = await openStore(
    { dataDir: join(disk, 'data'), quotaBytes: 2 ** 30, minFreeDiskBytes: 0 },
    { logger: pino({ level: 'silent' }), clock: Date.now },
  );
  return store;
}

const sha256 = (bytes: Uint8Array) => createHash('sha256').update(bytes).digest();
const idOf = (bytes: Uint8Array) => `a.test/sha256:${sha256(bytes).toString('hex')}` as BlobId;

async function fillDisk(): Promise<string> {
  const path = join(disk, 'ballast');
  const { bavail, bsize } = await statfs(disk);
  await writeFile(path, Buffer.alloc(bavail * bsize));
  return path;
}

test('a full disk fails the piece, not the partial, and room makes it whole again', async (context) => {
  if (!mounted) context.skip('needs the right to mount a small disk');
  const blobs = await start();
  const content = randomBytes(PIECE * 3);
  const partial = await blobs.partial(idOf(content), content.length);
  const write = (index: number) => {
    const bytes = content.subarray(index * PIECE, (index + 1) * PIECE);
    return partial.write(index, bytes, sha256(bytes), new Uint8Array());
  };
  await write(0);
  const ballast = await fillDisk();
  await expect(write(1)).rejects.toMatchObject({ code: 'disk-full' });
  expect(partial.pieces.held).toBe(1);
  expect(await partial.read(0, PIECE)).toEqual(content.subarray(0, PIECE));
  await rm(ballast);
  await write(1);
  await write(2);
  await partial.commit();
  const handle = (await blobs.open(partial.id))!;
  expect(await handle.read(0, content.length)).toEqual(content);
  handle.release();
});

test('a full disk fails a put and leaves nothing behind', async (context) => {
  if (!mounted) context.skip('needs the right to mount a small disk');
  const blobs = await start();
  const content = randomBytes(100_000);
  const ballast = await fillDisk();
  await expect(blobs.put(idOf(content), content)).rejects.toMatchObject({ code: 'disk-full' });
  expect(await readdir(join(disk, 'data/partial'))).toEqual([]);
  expect(blobs.usage()).toMatchObject({ bytes: 0, blobs: 0 });
  await rm(ballast);
  await blobs.put(idOf(content), content);
  expect(blobs.usage().blobs).toBe(1);
});

test('an index that could not be written is written again when there is room, and nothing is lost', async (context) => {
  if (!mounted) context.skip('needs the right to mount a small disk');
  const blobs = await start();
  const content = randomBytes(5000);
  await blobs.put(idOf(content), content);
  const ballast = await fillDisk();
  let failure: unknown;
  for (let n = 0; n < 200 && failure === undefined; n++) {
    await blobs.notes.put(`k${n}`, 'x'.repeat(4096)).catch((error: unknown) => {
      failure = error;
    });
  }
  expect(failure).toMatchObject({ code: 'disk-full' });
  await rm(ballast);
  await blobs.notes.put('after', 'yes');
  await blobs.close();
  const again = await start();
  expect(await again.notes.get('after')).toBe('yes');
  expect(await again.find(idOf(content))).toBeDefined();
});
