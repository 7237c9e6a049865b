/** A repository in memory, which a prefetch reads through a pull room that gives out what it is told to. */
import { createHash } from 'node:crypto';
import { type Digest, OCI_INDEX, OCI_MANIFEST, parsePlatform } from '@shoal/oci';
import type { BlobReader, Keeping, PullSource, Pulls } from '../pull/pulls.ts';
import { FetchedTags } from './fetched-tags.ts';
import type { ImageFetchDependencies } from './image-fetch.ts';
import type { NamedManifest } from './image-walk.ts';

export function digestOf(bytes: Uint8Array): Digest {
  return `sha256:${createHash('sha256').update(bytes).digest('hex')}` as Digest;
}

export interface Named {
  mediaType: string;
  digest: Digest;
  size: number;
}

export class MemoryRegistry {
  readonly contents = new Map<Digest, Buffer>();
  /** What was opened, and how. */
  readonly opened: { digest: Digest; source: PullSource }[] = [];
  /** How often the whole of it was read. */
  readonly read: Digest[] = [];
  /** Called when a blob is waited for; throws, or waits. */
  onWait: (digest: Digest, signal: AbortSignal) => Promise<void> = async () => {};
  root: Named | undefined;

  blob(text: string, mediaType = 'application/vnd.oci.image.layer.v1.tar+gzip'): Named {
    const bytes = Buffer.from(text);
    this.contents.set(digestOf(bytes), bytes);
    return { mediaType, digest: digestOf(bytes), size: bytes.length };
  }

  image(...layers: Named[]): Named {
    return this.blob(
      JSON.stringify({ config: this.blob(`config of ${layers.map(({ digest }) => digest)}`), layers }),
      OCI_MANIFEST,
    );
  }

  index(...entries: [Named, platform?: string, more?: object][]): Named {
    const manifests = entries.map(([named, text, more]) => {
      const platform = text === undefined ? undefined : parsePlatform(text);
      return { ...named, ...(platform && { platform }), ...more };
    });
    return this.blob(JSON.stringify({ manifests }), OCI_INDEX);
  }

  /** @throws when it is not there */
  manifest = async ({ digest }: NamedManifest): Promise<Uint8Array> => {
    const bytes = this.contents.get(digest);
    if (bytes === undefined) throw new Error(`no ${digest}`);
    return bytes;
  };

  get dependencies(): ImageFetchDependencies {
    const pulls: Pick<Pulls, 'open' | 'expect'> = {
      expect: () => {},
      open: async (digest, source) => {
        this.opened.push({ digest, source });
        return this.#reader(digest);
      },
    };
    return {
      pulls,
      origin: { allowed: (registry) => registry === 'r.test' },
      lookups: {
        resolve: async () => {
          if (this.root === undefined) throw new Error('no root');
          const { digest, mediaType, size } = this.root;
          return { digest, mediaType, sizeBytes: size, resolvedAtMs: 0 };
        },
      },
      tags: new FetchedTags(),
      quotaBytes: () => 1_000_000,
    };
  }

  #reader(digest: Digest): BlobReader {
    const bytes = this.contents.get(digest) ?? Buffer.alloc(0);
    const { read } = this;
    let heldBytes = 0;
    const keeping: Keeping = {
      arrived: async (signal) => {
        await this.onWait(digest, signal);
        heldBytes = bytes.length;
      },
      progress: () => ({ heldBytes, fromPeers: heldBytes, fromOrigin: 0 }),
    };
    return {
      digest,
      sizeBytes: bytes.length,
      mediaType: undefined,
      keeping,
      async *bytes() {
        yield bytes;
        read.push(digest);
      },
      close: () => {},
    };
  }
}
