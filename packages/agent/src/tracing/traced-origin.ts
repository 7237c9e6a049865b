/** The way to the registries, watched: each call made for a traced request is a span, a body's until its last byte. */
import type { Digest } from '@shoal/oci';
import {
  type OriginBody,
  type OriginCall,
  type OriginClient,
  OriginError,
  type RegistryStanding,
  type Repository,
  type ResolvedManifest,
} from '../origin/origin-client.ts';
import { codeOf, type Span, type SpanAttributes } from './span.ts';

interface ByteRange {
  offset: number;
  end?: number;
}

/** The span of one call; undefined: it is not watched. `offset`: of a blob, where reading begins. */
export type BeginCall = (
  call: OriginCall,
  name: string,
  attributes: SpanAttributes,
  offset?: number,
) => Span | undefined;

export class TracedOrigin implements OriginClient {
  readonly #origin: OriginClient;
  readonly #begin: BeginCall;

  /** @param begin where spans hang. @default below the one that comes with the call */
  constructor(origin: OriginClient, begin: BeginCall = belowTheCall) {
    this.#origin = origin;
    this.#begin = begin;
  }

  allowed(registry: string): boolean {
    return this.#origin.allowed(registry);
  }

  resolve(repository: Repository, reference: string, accept: string, call: OriginCall): Promise<ResolvedManifest> {
    const span = this.#begin(call, 'registry resolve', { ...placeOf(repository), 'shoal.reference': reference });
    const work = this.#origin.resolve(repository, reference, accept, without(call));
    return watchedCall(span, work, ({ digest }) => ({ 'shoal.digest': digest }));
  }

  manifest(
    repository: Repository,
    reference: string,
    accept: string,
    call: OriginCall,
  ): Promise<ResolvedManifest & { bytes: Buffer }> {
    const span = this.#begin(call, 'registry GET manifest', { ...placeOf(repository), 'shoal.reference': reference });
    const work = this.#origin.manifest(repository, reference, accept, without(call));
    return watchedCall(span, work, ({ digest, sizeBytes }) => ({
      'http.response.status_code': 200,
      'shoal.digest': digest,
      'shoal.bytes': sizeBytes,
    }));
  }

  stat(repository: Repository, digest: Digest, call: OriginCall): Promise<{ sizeBytes: number | undefined }> {
    const span = this.#begin(call, 'registry HEAD blob', { ...placeOf(repository), 'shoal.digest': digest });
    const work = this.#origin.stat(repository, digest, without(call));
    return watchedCall(span, work, ({ sizeBytes }) => ({ 'shoal.blob_bytes': sizeBytes }));
  }

  async blob(repository: Repository, digest: Digest, range: ByteRange, call: OriginCall): Promise<OriginBody> {
    const about = {
      ...placeOf(repository),
      'shoal.digest': digest,
      'shoal.range.from': range.offset,
      'shoal.range.to': range.end,
    };
    const span = this.#begin(call, 'registry GET blob', about, range.offset);
    if (span === undefined) return await this.#origin.blob(repository, digest, range, without(call));
    try {
      const onSent = (): void => {
        span.event('sent');
        call.onSent?.();
      };
      const body = await this.#origin.blob(repository, digest, range, { ...without(call), onSent });
      span.set({ 'http.response.status_code': body.ranged ? 206 : 200 });
      return watched(body, span);
    } catch (error) {
      failed(span, error);
      throw error;
    }
  }

  relay(
    repository: Repository,
    path: string,
    call: OriginCall & { accept?: string },
  ): Promise<{ status: number; headers: Record<string, string>; body: Buffer }> {
    const span = this.#begin(call, 'registry GET list', placeOf(repository));
    const work = this.#origin.relay(repository, path, without(call));
    return watchedCall(span, work, ({ status, body }) => ({
      'http.response.status_code': status,
      'shoal.bytes': body.length,
    }));
  }

  check(registry: string, call: Pick<OriginCall, 'signal' | 'pullId'>): Promise<RegistryStanding> {
    return this.#origin.check(registry, call);
  }

  close(): Promise<void> {
    return this.#origin.close();
  }
}

const belowTheCall: BeginCall = ({ span }, name, attributes) => span?.child(name, 'client', attributes);

/** What is watched here is not watched again below. */
function without<T extends OriginCall>(call: T): T {
  return { ...call, span: undefined };
}

async function watchedCall<T>(
  span: Span | undefined,
  work: Promise<T>,
  found: (result: T) => SpanAttributes,
): Promise<T> {
  if (span === undefined) return await work;
  try {
    const result = await work;
    span.set(found(result));
    span.end();
    return result;
  } catch (error) {
    failed(span, error);
    throw error;
  }
}

function placeOf({ registry, name }: Repository): SpanAttributes {
  return { 'shoal.registry': registry, 'shoal.repository': name };
}

function failed(span: Span, error: unknown): void {
  if (error instanceof OriginError) span.set({ 'http.response.status_code': error.status });
  span.end(codeOf(error));
}

/** The same body; its span ends with it, however that comes about. */
function watched(body: OriginBody, span: Span): OriginBody {
  let receivedBytes = 0;
  const end = (error?: string): void => {
    span.set({ 'shoal.bytes': receivedBytes });
    span.end(error);
  };
  const chunks = (async function* (): AsyncGenerator<Uint8Array> {
    try {
      for await (const chunk of body.chunks) {
        if (receivedBytes === 0) span.event('first byte');
        receivedBytes += chunk.length;
        yield chunk;
      }
      end();
    } catch (error) {
      end(codeOf(error));
      throw error;
    }
  })();
  const close = (): void => {
    end();
    body.close();
  };
  return { ...body, chunks, close };
}
