/** A folder like containerd's content store, with what a test puts there. */
import { createHash, randomBytes } from 'node:crypto';
import { mkdir, mkdtemp, open, rm, stat, utimes, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { type BlobId, blobIdOf, type Digest } from '@shoal/oci';
import { onTestFinished } from 'vitest';
import type { BlobRecord } from '../store/blob-store.ts';

export interface ContentFolder {
  /** containerd's root folder. */
  readonly root: string;
  /** Of the content store. */
  readonly path: string;
  fileOf(digest: Digest): string;
  /** Random bytes, as a blob of `a.example`. */
  add(sizeBytes: number): Promise<{ record: BlobRecord; digest: Digest; bytes: Buffer }>;
  remove(digest: Digest): Promise<void>;
  /** Changes one byte; the file's times stay. */
  damage(digest: Digest, at?: number): Promise<void>;
}

export async function contentFolder(): Promise<ContentFolder> {
  const root = await mkdtemp(join(tmpdir(), 'shoal-content-'));
  onTestFinished(() => rm(root, { recursive: true, force: true }));
  const path = join(root, 'io.containerd.content.v1.content');
  await mkdir(join(path, 'blobs', 'sha256'), { recursive: true });
  const fileOf = (digest: Digest): string => join(path, 'blobs', digest.replace(':', '/'));
  return {
    root,
    path,
    fileOf,
    async add(sizeBytes) {
      const bytes = randomBytes(sizeBytes);
      const digest = `sha256:${createHash('sha256').update(bytes).digest('hex')}` as Digest;
      await writeFile(fileOf(digest), bytes);
      const id: BlobId = blobIdOf('a.example', digest);
      return { record: { id, sizeBytes }, digest, bytes };
    },
    remove: (digest) => rm(fileOf(digest)),
    async damage(digest, at = 0) {
      const { atime, mtime } = await stat(fileOf(digest));
      const file = await open(fileOf(digest), 'r+');
      const byte = Buffer.alloc(1);
      await file.read(byte, 0, 1, at);
      await file.write(Buffer.of((byte[0] ?? 0) ^ 1), 0, 1, at);
      await file.close();
      await utimes(fileOf(digest), atime, mtime);
    },
  };
}
