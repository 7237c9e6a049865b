import { setTimeout as sleep } from 'node:timers/promises';
import type { Digest } from '@shoal/oci';
import { expect, test } from 'vitest';
import { RateLimit } from '../rate/rate-limit.ts';
import { call, clientFor, collect, REPOSITORY, type Script, serve } from './scripted-server.test-support.ts';

const DIGEST = `sha256:${'a'.repeat(64)}` as Digest;
const MiB = 1024 * 1024;
const deadlines = { dialMs: 1000, headersMs: 1000, stallMs: 200 };

const blobOf =
  (bytes: number): Script =>
  (_, response) =>
    response.writeHead(200, { 'content-length': bytes }).end(Buffer.alloc(bytes));

test('blobs come no faster than the rate, all together, and the sender is held back', async () => {
  const server = await serve(blobOf(2 * MiB));
  const downloadLane = new RateLimit({ bytesPerSecond: 4 * MiB }).lane();
  const client = clientFor(server, { deadlines }, { downloadLane });
  const startMs = performance.now();
  const bodies = await Promise.all([1, 2].map(() => client.blob(REPOSITORY, DIGEST, { offset: 0 }, call())));
  const all = await Promise.all(bodies.map(({ chunks }) => collect(chunks)));
  const seconds = (performance.now() - startMs) / 1000;
  expect(all.map(({ length }) => length)).toEqual([2 * MiB, 2 * MiB]);
  // 4 MiB, less one burst of a tenth of a second.
  expect(seconds).toBeGreaterThan(0.85);
  expect(seconds).toBeLessThan(3);
});

test('waiting for the rate is no stall of the origin', async () => {
  const server = await serve(blobOf(256 * 1024));
  const downloadLane = new RateLimit({ bytesPerSecond: 128 * 1024 }).lane();
  const client = clientFor(server, { deadlines }, { downloadLane });
  const body = await client.blob(REPOSITORY, DIGEST, { offset: 0 }, call());
  expect(await collect(body.chunks)).toHaveLength(256 * 1024);
});

test('a body that is stopped while it waits for the rate ends at once, and nothing of it is charged', async () => {
  const server = await serve(blobOf(MiB));
  const lane = new RateLimit({ bytesPerSecond: 64 * 1024 }).lane();
  lane.spend(64 * 1024 * 1024);
  const client = clientFor(server, { deadlines }, { downloadLane: lane });
  for (const stop of ['close', 'abort'] as const) {
    const abort = new AbortController();
    const body = await client.blob(REPOSITORY, DIGEST, { offset: 0 }, call(abort.signal));
    const reading = collect(body.chunks);
    await sleep(100);
    if (stop === 'close') body.close();
    else abort.abort();
    await expect(reading).rejects.toMatchObject({ code: 'cancelled' });
  }
  lane.spend(-64 * 1024 * 1024);
  expect(lane.take(60 * 1024)).toBeUndefined();
});

test('a connection lost while the reader waits for the rate is told as that', async () => {
  const server = await serve((_, response) => {
    response.writeHead(200, { 'content-length': MiB }).write(Buffer.alloc(1000));
    setTimeout(() => response.destroy(), 50);
  });
  const lane = new RateLimit({ bytesPerSecond: 64 * 1024 }).lane();
  lane.spend(64 * 1024 * 1024);
  const body = await clientFor(server, { deadlines }, { downloadLane: lane }).blob(
    REPOSITORY,
    DIGEST,
    { offset: 0 },
    call(),
  );
  await expect(collect(body.chunks)).rejects.toMatchObject({ temporary: true });
});

test('manifests do not wait, and count', async () => {
  const manifest = Buffer.from(`{"padding":"${'x'.repeat(60_000)}"}`);
  const server = await serve((_, response) => response.writeHead(200, { 'content-type': 'x/y' }).end(manifest));
  const lane = new RateLimit({ bytesPerSecond: 64 * 1024 }).lane();
  lane.spend(10 * MiB);
  const client = clientFor(server, { deadlines }, { downloadLane: lane });
  await expect(client.manifest(REPOSITORY, 'v1', '', call())).resolves.toMatchObject({ sizeBytes: manifest.length });
  lane.spend(-10 * MiB);
  expect(lane.take(64 * 1024)).toBeInstanceOf(Promise);
});
