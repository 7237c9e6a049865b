import { createHash } from 'node:crypto';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { type BlobId, blobIdOf, type Digest, OCI_CONFIG, OCI_MANIFEST } from '@shoal/oci';
import { pino } from 'pino';
import { onTestFinished } from 'vitest';
import type { BlobStore, RemovalReason } from '../store/blob-store.ts';
import { openStore } from '../store/open-store.ts';
import type { AdminDependencies } from './admin.ts';
import { CacheDesk } from './cache-desk.ts';

export interface DeskStage {
  desk: CacheDesk;
  store: BlobStore;
  dataDir: string;
  /** What went, and why, in order. */
  gone: [id: BlobId, reason: RemovalReason][];
  /** What `registry/repository:tag` is. */
  tags: Map<string, Digest>;
  /** Milliseconds since 1970; may be moved. */
  clock: { nowMs: number };
  keep(bytes: Uint8Array, mediaType?: string): Promise<BlobId>;
  /** An image of `a.test` with such layers, all of it kept, under this tag. */
  image(name: string, layers: readonly Uint8Array[]): Promise<{ manifest: BlobId; config: BlobId; layers: BlobId[] }>;
}

const notAsked = (): Promise<never> => Promise.reject(new Error('not asked for here'));

/** For admins of which no check and no order is asked. */
export const unasked: Pick<AdminDependencies, 'check' | 'prefetch'> = {
  check: { facts: notAsked, registry: async (registry) => ({ registry, outcome: 'open' }) },
  prefetch: { place: notAsked, find: notAsked, list: notAsked, cancel: notAsked },
};

/** A desk over a real store in a folder of its own. */
export async function deskStage(quotaBytes = 100_000): Promise<DeskStage> {
  const dataDir = await mkdtemp(join(tmpdir(), 'shoal-desk-'));
  const clock = { nowMs: Date.parse('2026-01-01T00:00:00Z') };
  const gone: DeskStage['gone'] = [];
  const store = await openStore(
    { dataDir, quotaBytes, minFreeDiskBytes: 0 },
    {
      logger: pino({ level: 'silent' }),
      clock: () => clock.nowMs++,
      onEvicted: ({ id }, reason) => gone.push([id, reason]),
    },
  );
  onTestFinished(async () => {
    await store.close();
    await rm(dataDir, { recursive: true, force: true });
  });
  const tags = new Map<string, Digest>();
  const desk = new CacheDesk({
    store,
    idOf: blobIdOf,
    tagDigests: async ({ registry, name }, tag) => [tags.get(`${registry}/${name}:${tag}`) ?? []].flat(),
    clock: () => clock.nowMs,
  });
  const keep = async (bytes: Uint8Array, mediaType?: string): Promise<BlobId> => {
    const id = blobIdOf('a.test', digestOfBytes(bytes));
    await store.put(id, bytes, mediaType);
    return id;
  };
  return {
    desk,
    store,
    dataDir,
    gone,
    tags,
    clock,
    keep,
    async image(name, layers) {
      const configBytes = Buffer.from(JSON.stringify({ name }));
      const [config, ...ids] = [await keep(configBytes), ...(await Promise.all(layers.map((layer) => keep(layer))))];
      const manifestBytes = imageManifest(configBytes, layers);
      const manifest = await keep(manifestBytes, OCI_MANIFEST);
      tags.set(name, digestOfBytes(manifestBytes));
      return { manifest, config: config as BlobId, layers: ids };
    },
  };
}

export function digestOfBytes(bytes: Uint8Array): Digest {
  return `sha256:${createHash('sha256').update(bytes).digest('hex')}` as Digest;
}

export function imageManifest(config: Uint8Array, layers: readonly Uint8Array[]): Buffer {
  const described = (mediaType: string, bytes: Uint8Array): object => ({
    mediaType,
    digest: digestOfBytes(bytes),
    size: bytes.length,
  });
  return Buffer.from(
    JSON.stringify({
      schemaVersion: 2,
      mediaType: OCI_MANIFEST,
      config: described(OCI_CONFIG, config),
      layers: layers.map((layer) => described('application/vnd.oci.image.layer.v1.tar+gzip', layer)),
    }),
  );
}
