/**
 * Manifests: small, read whole before anything is said. Serving one is a promise to serve its children, so their
 * sizes and the right to read them are recorded first, and peers that hold them are looked for at once.
 */
import {
  applyRange,
  type Descriptor,
  type Digest,
  MANIFEST_ACCEPT,
  MAX_MANIFEST_BYTES,
  ManifestError,
  manifestChildren,
  manifestMediaTypeOf,
  OCI_MANIFEST,
  parseRangeHeader,
} from '@shoal/oci';
import type { Asker } from '../origin/asker.ts';
import { OriginError, type Repository } from '../origin/origin-client.ts';
import type { BlobReader } from '../pull/pulls.ts';
import { within } from '../tracing/span.ts';
import { type Answer, unsatisfiableRange } from './answer.ts';
import { type Exchange, mustBeReadable, openReader, originCall, type Sources } from './exchange.ts';

interface Wanted {
  digest: Digest;
  sizeHintBytes: number | undefined;
  mediaType: string | undefined;
  asker: Asker;
}

/** @throws OriginError, PullError, or the reason of a signal: nothing was sent, and nothing can be served */
export async function answerManifest(
  repository: Repository,
  reference: { tag: string } | { digest: Digest },
  exchange: Exchange,
  sources: Sources,
): Promise<Answer> {
  const wanted =
    'tag' in reference
      ? await resolveTag(repository, reference.tag, exchange, sources)
      : await checkAccess(repository, reference.digest, exchange, sources);
  // A HEAD by tag only asks whether the tag has moved: reading the manifest for it would count as a pull upstream.
  if ('tag' in reference && exchange.isHead && wanted.mediaType !== undefined && wanted.sizeHintBytes !== undefined) {
    const headers = { ...headersOf(wanted.digest, wanted.mediaType), 'content-length': String(wanted.sizeHintBytes) };
    return { status: 200, headers, body: '', result: 'ok' };
  }
  const { bytes, mediaType } = await readManifest(repository, wanted, exchange, sources);
  await announceChildren(repository, wanted.digest, bytes, exchange, sources);
  const type = wanted.mediaType ?? plain(mediaType) ?? manifestMediaTypeOf(bytes) ?? OCI_MANIFEST;
  return bodyAnswer(bytes, headersOf(wanted.digest, type), exchange);
}

async function resolveTag(repository: Repository, tag: string, exchange: Exchange, sources: Sources): Promise<Wanted> {
  const { accept = MANIFEST_ACCEPT, client } = exchange;
  const found = await within(exchange.span, { name: 'reference resolution', kind: 'internal' }, async (span) => {
    const said = await sources.references.resolve({ repository, tag, accept, client }, originCall(exchange, span));
    span?.set({ 'shoal.digest': said.digest, 'shoal.stale': said.stale });
    return said;
  });
  await sources.access.record(repository, found, []);
  const { sizeBytes, mediaType, asker } = found;
  return { digest: found.digest, sizeHintBytes: sizeBytes, mediaType: plain(mediaType), asker };
}

async function checkAccess(
  repository: Repository,
  digest: Digest,
  exchange: Exchange,
  sources: Sources,
): Promise<Wanted> {
  const { accept } = exchange;
  const request = { repository, digest, kind: 'manifest', ...(accept === undefined ? {} : { accept }) } as const;
  const { sizeBytes, mediaType, asker } = await mustBeReadable(request, exchange, sources);
  return { digest, sizeHintBytes: sizeBytes, mediaType: plain(mediaType), asker };
}

async function readManifest(
  repository: Repository,
  { digest, sizeHintBytes, mediaType, asker }: Wanted,
  exchange: Exchange,
  sources: Sources,
): Promise<{ bytes: Buffer; mediaType: string | undefined }> {
  const source = {
    repository,
    kind: 'manifest',
    asker,
    pullId: exchange.pullId,
    span: exchange.span,
    accept: exchange.accept ?? MANIFEST_ACCEPT,
    ...(sizeHintBytes === undefined ? {} : { sizeHintBytes }),
    ...(mediaType === undefined ? {} : { mediaType }),
  } as const;
  const reader = await openReader(exchange, sources, digest, source, 0);
  try {
    return { bytes: await readWhole(reader, exchange.due), mediaType: reader.mediaType };
  } finally {
    reader.close();
  }
}

async function readWhole(reader: BlobReader, signal: AbortSignal): Promise<Buffer> {
  const chunks: Uint8Array[] = [];
  let sizeBytes = 0;
  for await (const chunk of reader.bytes(0, undefined, signal)) {
    sizeBytes += chunk.length;
    if (sizeBytes > MAX_MANIFEST_BYTES) throw new OriginError('invalid', 'the manifest is larger than 4 MiB');
    chunks.push(Buffer.from(chunk));
  }
  signal.throwIfAborted();
  return Buffer.concat(chunks, sizeBytes);
}

async function announceChildren(
  repository: Repository,
  digest: Digest,
  bytes: Buffer,
  exchange: Exchange,
  { access, pulls }: Sources,
): Promise<void> {
  const children = childrenOf(bytes, exchange);
  await access.record(repository, { digest, sizeBytes: bytes.length }, children);
  const expected = children.filter((child) => !child.foreign);
  if (expected.length > 0)
    pulls.expect(
      repository.registry,
      expected.map((child) => child.digest),
    );
}

/** A manifest that cannot be understood is still served as it is; its blobs are then asked for one by one. */
function childrenOf(bytes: Buffer, { logger }: Exchange): Descriptor[] {
  try {
    return manifestChildren(bytes);
  } catch (error) {
    if (!(error instanceof ManifestError)) throw error;
    logger.info({ code: error.code }, 'a manifest whose children cannot be read');
    return [];
  }
}

/** A type told by a peer or the tracker goes into a header only when it is one. */
function plain(mediaType: string | undefined): string | undefined {
  return mediaType !== undefined && /^[\w.+-]+\/[\w.+-]+(; ?[\w.+-]+=[\w.+-]+)?$/.test(mediaType)
    ? mediaType
    : undefined;
}

function headersOf(digest: Digest, mediaType: string): Record<string, string> {
  return {
    'content-type': mediaType,
    'docker-content-digest': digest,
    etag: `"${digest}"`,
    'accept-ranges': 'bytes',
  };
}

function bodyAnswer(bytes: Buffer, headers: Record<string, string>, { isHead, range, ifRange }: Exchange): Answer {
  if (isHead) {
    return { status: 200, headers: { ...headers, 'content-length': String(bytes.length) }, body: '', result: 'ok' };
  }
  const isSame = ifRange === undefined || ifRange === headers.etag;
  const asked = applyRange(parseRangeHeader(isSame ? range : undefined), bytes.length);
  if (asked.kind === 'unsatisfiable') return unsatisfiableRange(bytes.length);
  if (asked.kind !== 'range') return { status: 200, headers, body: bytes, result: 'ok' };
  const contentRange = `bytes ${asked.start}-${asked.end - 1}/${bytes.length}`;
  return {
    status: 206,
    headers: { ...headers, 'content-range': contentRange },
    body: bytes.subarray(asked.start, asked.end),
    result: 'ok',
  };
}
