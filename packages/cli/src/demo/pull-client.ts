/**
 * Pulls an image through a mirror as containerd does, minus the unpacking: HEAD the tag, GET the manifest by digest,
 * then config and layers, three at a time. It asks nobody but the mirror: where a runtime would fall back to the
 * registry in silence, this client fails, so that a demo or test cannot pass without the agents.
 */
import {
  type Descriptor,
  type Digest,
  MANIFEST_ACCEPT,
  MAX_MANIFEST_BYTES,
  ManifestError,
  manifestChildren,
  parseDigest,
} from '@shoal/oci';
import { Agent, type Dispatcher, request } from 'undici';
import { PullFailure } from './pull-failure.ts';
import { fetchVerified } from './verified-body.ts';

const DEFAULT_PARALLEL_BLOBS = 3;
const CONNECT_TIMEOUT_MS = 10_000;
const RESOLVE_TIMEOUT_MS = 60_000;

export interface PullTarget {
  /** e.g. `http://127.0.0.1:7300` */
  mirrorUrl: string;
  /** Sent as `ns`: the registry the image lives in. */
  registry: string;
  repository: string;
  /** A tag or a digest. */
  reference: string;
  /** Which image of an index. */
  platform: { os: string; architecture: string };
}

export interface PullOptions {
  parallelBlobs?: number;
  /** After every chunk. `totalBytes` is undefined until the manifest is known. */
  onProgress?: (receivedBytes: number, totalBytes: number | undefined) => void;
  signal?: AbortSignal;
}

export interface PulledImage {
  manifestDigest: Digest;
  /** Config and layers, each once. */
  blobs: readonly { digest: Digest; sizeBytes: number }[];
  /** Everything received: index, manifest, config, layers. */
  totalBytes: number;
  /** How many bodies that were. */
  objects: number;
}

/** Every body is checked against its digest. @throws PullFailure, or the signal's reason. */
export async function pullImage(target: PullTarget, options: PullOptions = {}): Promise<PulledImage> {
  const stopping = new AbortController();
  const signal = options.signal === undefined ? stopping.signal : AbortSignal.any([options.signal, stopping.signal]);
  const dispatcher = new Agent({ connect: { timeout: CONNECT_TIMEOUT_MS } });
  try {
    return await new ImagePull(target, options, dispatcher, signal).run();
  } finally {
    stopping.abort();
    await dispatcher.destroy();
  }
}

class ImagePull {
  readonly #target: PullTarget;
  readonly #options: PullOptions;
  readonly #dispatcher: Dispatcher;
  readonly #signal: AbortSignal;
  #receivedBytes = 0;
  #totalBytes: number | undefined;
  #objects = 0;

  constructor(target: PullTarget, options: PullOptions, dispatcher: Dispatcher, signal: AbortSignal) {
    this.#target = target;
    this.#options = options;
    this.#dispatcher = dispatcher;
    this.#signal = signal;
  }

  async run(): Promise<PulledImage> {
    const top = await this.#resolve();
    let manifestDigest = top.digest;
    let manifest = await this.#manifest(top.digest, top.sizeBytes);
    const chosen = this.#choose(manifest);
    if (chosen !== undefined) {
      manifestDigest = chosen.digest;
      manifest = await this.#manifest(chosen.digest, chosen.sizeBytes);
    }
    const blobs = children(manifest).filter((child) => child.kind === 'blob' && !child.foreign);
    this.#totalBytes = this.#receivedBytes + blobs.reduce((sum, blob) => sum + blob.sizeBytes, 0);
    await this.#fetchAll(blobs);
    return { manifestDigest, blobs, totalBytes: this.#receivedBytes, objects: this.#objects };
  }

  /** The tag's digest and size, from a HEAD as runtimes ask. */
  async #resolve(): Promise<{ digest: Digest; sizeBytes: number }> {
    const url = this.#url('manifests', this.#target.reference);
    const { statusCode, headers, body } = await request(url, {
      method: 'HEAD',
      headers: { accept: MANIFEST_ACCEPT },
      headersTimeout: RESOLVE_TIMEOUT_MS,
      dispatcher: this.#dispatcher,
      signal: this.#signal,
    }).catch((cause: unknown) => {
      this.#signal.throwIfAborted();
      throw new PullFailure('unreachable', `no answer to HEAD ${url}`, { cause });
    });
    await body.dump();
    if (statusCode === 401) throw new PullFailure('refused', `${url} needs credentials; only public images are pulled`);
    if (statusCode !== 200) throw new PullFailure('refused', `${statusCode} for HEAD ${url}`);
    const digest = parseDigest(String(headers['docker-content-digest']));
    const sizeBytes = Number(headers['content-length']);
    if (digest === undefined || !(sizeBytes > 0) || sizeBytes > MAX_MANIFEST_BYTES) {
      throw new PullFailure('not-an-image', `HEAD ${url} tells no usable digest and size`);
    }
    return { digest, sizeBytes };
  }

  async #manifest(digest: Digest, sizeBytes: number): Promise<Uint8Array> {
    if (sizeBytes > MAX_MANIFEST_BYTES) throw new PullFailure('not-an-image', `manifest of ${sizeBytes} bytes`);
    const chunks: Uint8Array[] = [];
    await this.#fetch('manifests', digest, sizeBytes, (bytes) => chunks.push(bytes));
    return Buffer.concat(chunks);
  }

  /** The entry for the platform when the manifest is an index, undefined when it is an image. */
  #choose(manifest: Uint8Array): Descriptor | undefined {
    const images = children(manifest).filter((child) => child.kind === 'manifest');
    if (images.length === 0) return undefined;
    const { os, architecture } = this.#target.platform;
    const wanted = platforms(manifest).find((entry) => entry.os === os && entry.architecture === architecture);
    const chosen = images.find((child) => child.digest === wanted?.digest);
    if (chosen === undefined) throw new PullFailure('no-platform', `the index has no image for ${os}/${architecture}`);
    return chosen;
  }

  async #fetchAll(blobs: readonly Descriptor[]): Promise<void> {
    const waiting = [...blobs];
    const lane = async (): Promise<void> => {
      for (let blob = waiting.shift(); blob !== undefined; blob = waiting.shift()) {
        await this.#fetch('blobs', blob.digest, blob.sizeBytes, () => {});
      }
    };
    await Promise.all(Array.from({ length: this.#options.parallelBlobs ?? DEFAULT_PARALLEL_BLOBS }, lane));
  }

  async #fetch(
    kind: 'manifests' | 'blobs',
    digest: Digest,
    sizeBytes: number,
    keep: (bytes: Uint8Array) => void,
  ): Promise<void> {
    await fetchVerified({
      url: this.#url(kind, digest),
      digest,
      sizeBytes,
      headers: { accept: kind === 'manifests' ? MANIFEST_ACCEPT : '*/*' },
      onBytes: (bytes) => {
        keep(bytes);
        this.#receivedBytes += bytes.length;
        this.#options.onProgress?.(this.#receivedBytes, this.#totalBytes);
      },
      dispatcher: this.#dispatcher,
      signal: this.#signal,
    });
    this.#objects += 1;
  }

  #url(kind: 'manifests' | 'blobs', reference: string): string {
    const { mirrorUrl, repository, registry } = this.#target;
    return `${mirrorUrl}/v2/${repository}/${kind}/${reference}?ns=${encodeURIComponent(registry)}`;
  }
}

function children(manifest: Uint8Array): Descriptor[] {
  try {
    return manifestChildren(manifest);
  } catch (cause) {
    if (!(cause instanceof ManifestError)) throw cause;
    throw new PullFailure('not-an-image', cause.message, { cause });
  }
}

/** Read apart from the children, which carry no platform. */
function platforms(manifest: Uint8Array): { digest: string; os: string; architecture: string }[] {
  const index: { manifests?: { digest?: string; platform?: { os?: string; architecture?: string } }[] } = JSON.parse(
    new TextDecoder().decode(manifest),
  );
  return (index.manifests ?? []).map(({ digest = '', platform }) => ({
    digest,
    os: platform?.os ?? '',
    architecture: platform?.architecture ?? '',
  }));
}
