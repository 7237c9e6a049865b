/**
 * What a manifest names: config and layers of an image, manifests of an index. Nothing else of it is read, unknown
 * fields and unknown media types are fine, and everything is bounded because the bytes come from strangers.
 */
import { type Digest, parseDigest } from './digest.ts';
import { isManifestMediaType } from './media-type.ts';

export const MAX_MANIFEST_BYTES: number = 4 * 1024 * 1024;
export const MAX_MANIFEST_CHILDREN = 1024;
/** No layer is larger than 1 TiB; a size beyond that is a mistake or a trap. */
export const MAX_BLOB_BYTES: number = 2 ** 40;

export interface Descriptor {
  digest: Digest;
  sizeBytes: number;
  /** Empty when the manifest gives none. */
  mediaType: string;
  /** Under which path a client asks for it. */
  kind: 'manifest' | 'blob';
  /** A layer with `urls` of its own: clients fetch it there first, and the registry may not have it. */
  foreign: boolean;
}

export type ManifestErrorCode = 'too-large' | 'not-json' | 'not-a-manifest' | 'too-many-children' | 'bad-descriptor';

export class ManifestError extends Error {
  readonly code: ManifestErrorCode;
  constructor(code: ManifestErrorCode, message: string, options?: ErrorOptions) {
    super(message, options);
    this.name = 'ManifestError';
    this.code = code;
  }
}

/**
 * The manifest's children, each digest once, in the manifest's order (config first). `subject` is not a child.
 * @throws ManifestError
 */
export function manifestChildren(bytes: Uint8Array): Descriptor[] {
  const manifest = parse(bytes);
  const named = new Map<Digest, Descriptor>();
  for (const entry of listed(manifest)) {
    const descriptor = readDescriptor(entry.value, entry.inIndex);
    if (!named.has(descriptor.digest)) named.set(descriptor.digest, descriptor);
  }
  return [...named.values()];
}

function parse(bytes: Uint8Array): Record<string, unknown> {
  if (bytes.length > MAX_MANIFEST_BYTES) throw new ManifestError('too-large', `manifest of ${bytes.length} bytes`);
  let value: unknown;
  try {
    value = JSON.parse(new TextDecoder('utf-8', { fatal: true }).decode(bytes));
  } catch (cause) {
    throw new ManifestError('not-json', 'manifest is not JSON', { cause });
  }
  if (!isRecord(value)) throw new ManifestError('not-a-manifest', 'manifest is not a JSON object');
  return value;
}

function listed(manifest: Record<string, unknown>): { value: unknown; inIndex: boolean }[] {
  const { config, layers, manifests, blobs } = manifest;
  if (![layers, manifests, blobs].some(Array.isArray)) {
    throw new ManifestError('not-a-manifest', 'neither layers nor manifests');
  }
  const entries = [
    ...(isRecord(config) ? [{ value: config, inIndex: false }] : []),
    ...[layers, blobs].flatMap(asArray).map((value) => ({ value, inIndex: false })),
    ...asArray(manifests).map((value) => ({ value, inIndex: true })),
  ];
  if (entries.length > MAX_MANIFEST_CHILDREN) {
    throw new ManifestError('too-many-children', `${entries.length} children`);
  }
  return entries;
}

function readDescriptor(value: unknown, inIndex: boolean): Descriptor {
  if (!isRecord(value)) throw new ManifestError('bad-descriptor', 'descriptor is not an object');
  const digest = typeof value.digest === 'string' ? parseDigest(value.digest) : undefined;
  if (digest === undefined) throw new ManifestError('bad-descriptor', 'descriptor without a digest');
  const sizeBytes = value.size;
  if (typeof sizeBytes !== 'number' || !Number.isInteger(sizeBytes) || sizeBytes < 0 || sizeBytes > MAX_BLOB_BYTES) {
    throw new ManifestError('bad-descriptor', `absurd size of ${digest}`);
  }
  const mediaType = typeof value.mediaType === 'string' ? value.mediaType : '';
  // BuildKit's cache indexes list layers among their manifests, so the place alone does not tell.
  const kind = inIndex && (mediaType === '' || isManifestMediaType(mediaType)) ? 'manifest' : 'blob';
  return { digest, sizeBytes, mediaType, kind, foreign: Array.isArray(value.urls) && value.urls.length > 0 };
}

function asArray(value: unknown): unknown[] {
  return Array.isArray(value) ? value : [];
}

function isRecord(value: unknown): value is Record<string, unknown> {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}
