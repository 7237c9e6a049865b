import { type ChildProcess, spawn } from 'node:child_process';
import { createHash } from 'node:crypto';
import { once } from 'node:events';
import { mkdtemp, readdir, readFile, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import type { BlobId } from '@shoal/oci';
import { pieceCountOf, pieceExtent } from '@shoal/swarm';
import { pino } from 'pino';
import { expect, test } from 'vitest';
import { openStore } from './open-store.ts';

const SIZE = 256 * 1024 * 12 + 321;
const ROUNDS = 4;

/**
 * Pulls blobs without end: pieces last to first, commits, puts and drops. Blob n is n repeated, so that the test can tell
 * what it should be. It says which blobs it was told are committed.
 */
const writer = `
import { createHash } from 'node:crypto';
import { pino } from 'pino';
import { openStore } from ${JSON.stringify(new URL('./open-store.ts', import.meta.url).href)};
const [dataDir, from] = process.argv.slice(1);
const store = await openStore(
  { dataDir, quotaBytes: 2 ** 26, minFreeDiskBytes: 0 },
  { logger: pino({ level: 'silent' }), clock: Date.now },
);
const sha256 = (bytes) => createHash('sha256').update(bytes).digest();
const PIECE = 256 * 1024;
for (let n = Number(from); ; n++) {
  const content = Buffer.alloc(${SIZE}, 'blob ' + n);
  const id = 'a.test/sha256:' + sha256(content).toString('hex');
  const partial = await store.partial(id, content.length);
  const count = Math.ceil(content.length / PIECE);
  for (let index = count - 1; index >= 0; index--) {
    const bytes = content.subarray(index * PIECE, (index + 1) * PIECE);
    if (!partial.pieces.has(index)) await partial.write(index, bytes, sha256(bytes), Buffer.from('a'));
  }
  await partial.commit();
  const small = Buffer.from('small ' + n);
  await store.put('a.test/sha256:' + sha256(small).toString('hex'), small);
  process.stdout.write(id + '\\n');
}
`;

async function writeUntilKilled(dataDir: string, from: number, afterMs: number): Promise<BlobId[]> {
  const args = ['--conditions=source', '--input-type=module', '-e', writer, dataDir, String(from)];
  const cwd = new URL('../..', import.meta.url);
  const child: ChildProcess = spawn(process.execPath, args, { cwd, stdio: ['ignore', 'pipe', 'inherit'] });
  const closed = once(child, 'close');
  let said = '';
  child.stdout?.setEncoding('utf8').on('data', (text: string) => {
    said += text;
  });
  try {
    await Promise.race([once(child.stdout!, 'data'), closed, sleep(10_000)]);
    await sleep(afterMs);
  } finally {
    child.kill('SIGKILL');
  }
  const [, signal] = await closed;
  expect(signal).toBe('SIGKILL');
  return said.split('\n').slice(0, -1) as BlobId[];
}

test('after kill -9 at any moment every committed blob verifies and partial pieces are right', {
  timeout: 60_000,
}, async () => {
  const dataDir = await mkdtemp(join(tmpdir(), 'shoal-crash-'));
  try {
    const told = new Set<BlobId>();
    for (let round = 0; round < ROUNDS; round++) {
      for (const id of await writeUntilKilled(dataDir, round * 10_000, 40 + 53 * round)) told.add(id);
      const gone = new Set<BlobId>();
      const store = await openStore(
        { dataDir, quotaBytes: 2 ** 26, minFreeDiskBytes: 0 },
        { logger: pino({ level: 'silent' }), clock: Date.now, onEvicted: ({ id }) => gone.add(id) },
      );
      const partials = await readdir(join(dataDir, 'partial'));
      expect(partials.length).toBeLessThanOrEqual(round + 1);
      let bytes = 0;
      for await (const { id, sizeBytes } of store.list()) {
        const path = join(dataDir, 'blobs', id.replace('a.test/sha256:', 'sha256/').concat('@a.test'));
        expect(
          `a.test/sha256:${createHash('sha256')
            .update(await readFile(path))
            .digest('hex')}`,
        ).toBe(id);
        const handle = (await store.open(id))!;
        const first = await handle.read(0, Math.min(sizeBytes, 256 * 1024));
        expect(Buffer.from(await handle.pieceHash(0))).toEqual(createHash('sha256').update(first).digest());
        handle.release();
        bytes += sizeBytes;
      }
      expect((await readdir(join(dataDir, 'blobs/sha256'))).length).toBe(store.usage().blobs);
      expect(bytes).toBeLessThanOrEqual(store.usage().bytes);
      // The newest of those it was told about cannot have been evicted yet.
      const newest = [...told].at(-1)!;
      expect(await store.find(newest)).toBeDefined();
      for (const name of partials) {
        const id = `a.test/sha256:${name.replace('@a.test', '')}` as BlobId;
        const partial = await store.partial(id, SIZE);
        for (let index = 0; index < pieceCountOf(SIZE); index++) {
          if (!partial.pieces.has(index)) continue;
          const { offset, length } = pieceExtent(SIZE, index);
          expect((await partial.read(offset, length)).includes('blob ')).toBe(true);
        }
        await partial.close();
      }
      await store.close();
    }
    expect(told.size).toBeGreaterThan(ROUNDS);
  } finally {
    await rm(dataDir, { recursive: true, force: true });
  }
});
