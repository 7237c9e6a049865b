// An origin registry for tests: the reading side of the distribution API over real HTTP, which counts what it sends
// and goes wrong on demand.
//
//   const image = await buildImage({ seed: 'one', layers: [5_000_000, 300_000] });
//   await using origin = await FaultOrigin.start();
//   origin.add(image);                                  // as image.repository : image.tag
//   // … an agent with registries: { 'docker.io': { url: origin.url } } …
//
//   const stall = origin.inject({ kind: 'blob', nth: 1 }, { type: 'stall', afterBytes: 100_000 });
//   // … pull …
//   expect(stall.hits).toBe(1);
//   expect(origin.stats().byDigest[image.layers[0].digest]?.bytes).toBeLessThan(1.2 * image.layers[0].sizeBytes);
//
//   origin.inject({ kind: 'blob' }, { type: 'redirect' });                  // every blob from another port…
//   origin.inject({ kind: 'blob', times: 1 }, { type: 'redirect', expired: true }); // …the first time to a 403
//   origin.inject({ kind: 'manifest' }, { type: 'status', status: 429, retryAfter: 2 });
//   origin.inject({}, { type: 'slow', bytesPerSecond: 1_000_000 });         // everything
//   origin.clearFaults();
//   await origin.down();  await origin.up();                                // the same port
//   await origin.until((stats) => stats.blobBytes > 1_000_000);
//
// Several faults may strike one request (slow and ignore-range and wrong-byte); of one type the newest strikes.
// A request that the login refuses is not struck and does not count as one that fits.
// Faults of bodies strike at the address that sends the body: after a redirect that is kind `signed`.
import { randomUUID } from 'node:crypto';
import type { IncomingMessage, ServerResponse } from 'node:http';
import { setTimeout as sleep } from 'node:timers/promises';
import { applyRange, type Digest, type OciErrorCode, ociErrorBody, parseDigest, parseRangeHeader } from '@shoal/oci';
import { type Content, memoryContent } from './fault-origin/content.ts';
import { type Fault, InjectedFault, type Matcher, type RequestKind, Strikes } from './fault-origin/fault.ts';
import { Gate, type OriginAuth } from './fault-origin/gate.ts';
import { FixedPortServer } from './fault-origin/port.ts';
import { sendBody } from './fault-origin/send.ts';
import { type LoggedRequest, type OriginStats, RequestTally } from './fault-origin/tally.ts';
import type { ImageFixture } from './image-fixture.ts';

export type { Content } from './fault-origin/content.ts';
export { syntheticContent } from './fault-origin/content.ts';
export type { Fault, InjectedFault, Matcher } from './fault-origin/fault.ts';
export type { OriginAuth } from './fault-origin/gate.ts';
export type { LoggedRequest, OriginStats } from './fault-origin/tally.ts';

const blobMediaType = 'application/octet-stream';

export interface FaultOriginOptions {
  /** The address to listen on. @default 127.0.0.1 */
  readonly host?: string;
  /** @default any free port */
  readonly port?: number;
  /** @default none */
  readonly auth?: OriginAuth;
}

interface Route {
  readonly kind: RequestKind;
  readonly repository?: string;
  /** Tag or digest as the path has it; for `signed` the digest. */
  readonly reference?: string;
}

interface Entry {
  readonly content: Content;
  readonly mediaType: string;
}

interface StoredRepository {
  readonly manifests: Map<string, Entry>;
  readonly blobs: Map<string, Entry>;
}

export class FaultOrigin implements AsyncDisposable {
  readonly #host: string;
  readonly #registry: FixedPortServer;
  readonly #storage: FixedPortServer;
  readonly #repositories = new Map<string, StoredRepository>();
  /** What a signed address stands for, and whether it still works. */
  readonly #signed = new Map<string, { entry: Entry; expired: boolean }>();
  readonly #tally = new RequestTally();
  #faults: InjectedFault[] = [];
  #gate: Gate;

  private constructor(options: FaultOriginOptions) {
    const { host = '127.0.0.1', port = 0, auth = { type: 'none' } } = options;
    this.#host = host;
    this.#gate = new Gate(auth);
    const listener = (request: IncomingMessage, response: ServerResponse): void => {
      // Nobody waits for an answer to go out; should one fail, its connection must not hang.
      this.#serve(request, response).catch(() => response.destroy());
    };
    this.#registry = new FixedPortServer(listener, host, port);
    this.#storage = new FixedPortServer(listener, host, 0);
  }

  static async start(options: FaultOriginOptions = {}): Promise<FaultOrigin> {
    const origin = new FaultOrigin(options);
    await origin.up();
    return origin;
  }

  /** E.g. `http://127.0.0.1:34567`. */
  get url(): string {
    return `http://${this.registry}`;
  }

  /** The host as image names have it, e.g. `127.0.0.1:34567`. */
  get registry(): string {
    return `${this.#host.includes(':') ? `[${this.#host}]` : this.#host}:${this.#registry.port}`;
  }

  /** Serves an image under its repository and tag, or under others. */
  add(image: ImageFixture, as: { readonly repository?: string; readonly tag?: string } = {}): void {
    const repository = as.repository ?? image.repository;
    for (const blob of image.blobs) this.addBlob(repository, blob.content);
    for (const manifest of image.manifests) this.addManifest(repository, manifest.bytes, manifest.mediaType);
    this.tag(repository, as.tag ?? image.tag, image.root.digest);
  }

  addBlob(repository: string, content: Content): Digest {
    this.#repository(repository).blobs.set(content.digest, { content, mediaType: blobMediaType });
    return content.digest;
  }

  addManifest(repository: string, bytes: Buffer, mediaType: string, tag?: string): Digest {
    const content = memoryContent(bytes);
    this.#repository(repository).manifests.set(content.digest, { content, mediaType });
    if (tag !== undefined) this.tag(repository, tag, content.digest);
    return content.digest;
  }

  /** Points a tag at a manifest that is here, also away from another one. */
  tag(repository: string, tag: string, digest: Digest): void {
    const { manifests } = this.#repository(repository);
    const manifest = manifests.get(digest);
    if (manifest === undefined) throw new Error(`${repository} has no manifest ${digest}`);
    manifests.set(tag, manifest);
  }

  inject(matcher: Matcher, fault: Fault): InjectedFault {
    const injected = new InjectedFault(matcher, fault, (removed) => {
      this.#faults = this.#faults.filter((other) => other !== removed);
    });
    this.#faults.push(injected);
    return injected;
  }

  clearFaults(): void {
    this.#faults = [];
  }

  /** From now on; tokens given out before are worth nothing. */
  requireAuth(auth: OriginAuth): void {
    this.#gate = new Gate(auth);
  }

  revokeTokens(): void {
    this.#gate.revoke();
  }

  /** Every signed address given out so far answers 403 from now on. */
  expireSignedAddresses(): void {
    for (const signed of this.#signed.values()) signed.expired = true;
  }

  stats(): OriginStats {
    return this.#tally.stats();
  }

  /** Every request since the start or the last reset, oldest first. */
  get requests(): readonly LoggedRequest[] {
    return this.#tally.log;
  }

  resetStats(): void {
    this.#tally.reset();
  }

  /** Waits for the statistics to fit; throws with what they are when they do not in time. */
  async until(fits: (stats: OriginStats) => boolean, timeoutMs = 10_000): Promise<void> {
    const deadlineMs = performance.now() + timeoutMs;
    while (!fits(this.stats())) {
      if (performance.now() > deadlineMs) throw new Error(`after ${timeoutMs} ms: ${JSON.stringify(this.stats())}`);
      await sleep(10);
    }
  }

  /** Refuses connections, and breaks those that are open. */
  async down(): Promise<void> {
    await Promise.all([this.#registry.down(), this.#storage.down()]);
  }

  /** Listens again on the same port. */
  async up(): Promise<void> {
    await Promise.all([this.#registry.up(), this.#storage.up()]);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.down();
  }

  #repository(name: string): StoredRepository {
    const stored = this.#repositories.get(name) ?? { manifests: new Map(), blobs: new Map() };
    this.#repositories.set(name, stored);
    return stored;
  }

  async #serve(request: IncomingMessage, response: ServerResponse): Promise<void> {
    const url = new URL(request.url ?? '/', this.url);
    const route = routeOf(url.pathname);
    const entry = this.#find(route, url);
    const { method = 'GET', headers } = request;
    const logged: LoggedRequest = {
      kind: route.kind,
      method,
      path: url.pathname,
      digest: entry?.content.digest ?? parseDigest(route.reference ?? ''),
      range: headers.range,
      headers,
      status: 0,
      bytes: 0,
    };
    this.#tally.add(logged);
    const challenge = this.#challenge(request, route);
    const strikes = challenge === undefined ? this.#strike(logged) : new Strikes([]);
    response.on('error', () => {});
    const writeHead = response.writeHead.bind(response) as (...head: unknown[]) => ServerResponse;
    response.writeHead = ((status: number, ...rest: unknown[]) => {
      logged.status = status;
      return writeHead(status, ...rest);
    }) as typeof response.writeHead;

    if (strikes.get('no-answer') !== undefined) return;
    const delay = strikes.get('delay');
    if (delay !== undefined) await sleep(delay.delayMs);
    const status = strikes.get('status');
    if (status !== undefined) {
      const retryAfter = status.retryAfter === undefined ? {} : { 'retry-after': String(status.retryAfter) };
      refuse(response, status.status, 'UNSUPPORTED', retryAfter);
    } else if (challenge !== undefined) refuse(response, 401, 'UNAUTHORIZED', { 'www-authenticate': challenge });
    else if (method !== 'GET' && method !== 'HEAD') refuse(response, 405, 'UNSUPPORTED');
    else if (route.kind === 'token') this.#grant(request, url, response);
    else if (route.kind === 'signed') await this.#sendSigned(request, url, response, strikes, logged);
    else await this.#sendRegistry(request, route, entry, response, strikes, logged);
  }

  #challenge(request: IncomingMessage, route: Route): string | undefined {
    const open = route.kind === 'token' || route.kind === 'signed';
    return open ? undefined : this.#gate.refusal(request, route.repository);
  }

  #strike(logged: LoggedRequest): Strikes {
    const matched = { ...logged, ranged: logged.range !== undefined };
    // Every rule sees the request, so that each counts for itself; the newest of a type goes first.
    const struck = this.#faults.filter((injected) => injected.strikes(matched));
    return new Strikes(struck.map(({ fault }) => fault).reverse());
  }

  #find(route: Route, url: URL): Entry | undefined {
    if (route.kind === 'signed') return this.#signed.get(url.searchParams.get('signature') ?? '')?.entry;
    const repository = this.#repositories.get(route.repository ?? '');
    if (route.kind === 'manifest') return repository?.manifests.get(route.reference ?? '');
    return route.kind === 'blob' ? repository?.blobs.get(route.reference ?? '') : undefined;
  }

  async #sendRegistry(
    request: IncomingMessage,
    route: Route,
    entry: Entry | undefined,
    response: ServerResponse,
    strikes: Strikes,
    logged: LoggedRequest,
  ): Promise<void> {
    const redirect = strikes.get('redirect');
    if (route.kind === 'ping') sendJson(response, {});
    else if (route.kind === 'tags') this.#sendTags(route.repository ?? '', response);
    else if (entry === undefined) refuse(response, 404, route.kind === 'blob' ? 'BLOB_UNKNOWN' : 'MANIFEST_UNKNOWN');
    else if (redirect !== undefined) {
      const location = this.#sign(request, entry, redirect.expired ?? false, redirect.sameHost ?? false);
      response.writeHead(redirect.status ?? 307, { location, 'content-length': 0 }).end();
    } else await sendEntry(request, entry, response, strikes, logged);
  }

  async #sendSigned(
    request: IncomingMessage,
    url: URL,
    response: ServerResponse,
    strikes: Strikes,
    logged: LoggedRequest,
  ): Promise<void> {
    const signed = this.#signed.get(url.searchParams.get('signature') ?? '');
    // Object stores refuse a request that is signed in its address and carries a login too.
    if (request.headers.authorization !== undefined && request.headers.host !== this.registry) {
      refuse(response, 400, 'UNSUPPORTED');
    } else if (signed === undefined || signed.expired) refuse(response, 403, 'DENIED');
    else await sendEntry(request, signed.entry, response, strikes, logged);
  }

  /** The address is made from the host that the client used: it may know this machine by several. */
  #sign(request: IncomingMessage, entry: Entry, expired: boolean, sameHost: boolean): string {
    const signature = randomUUID();
    this.#signed.set(signature, { entry, expired });
    const path = `/signed/${entry.content.digest}?signature=${signature}`;
    if (sameHost) return path;
    const url = new URL(path, `http://${request.headers.host ?? this.registry}`);
    url.port = String(this.#storage.port);
    return url.href;
  }

  #grant(request: IncomingMessage, url: URL, response: ServerResponse): void {
    const token = this.#gate.grant(request, url.searchParams);
    if (token === undefined) refuse(response, 401, 'UNAUTHORIZED');
    else sendJson(response, token);
  }

  #sendTags(repository: string, response: ServerResponse): void {
    const stored = this.#repositories.get(repository);
    if (stored === undefined) refuse(response, 404, 'NAME_UNKNOWN');
    else {
      const tags = [...stored.manifests.keys()].filter((name) => !name.includes(':')).sort();
      sendJson(response, { name: repository, tags });
    }
  }
}

function routeOf(path: string): Route {
  if (path === '/v2/' || path === '/v2') return { kind: 'ping' };
  if (path === '/token') return { kind: 'token' };
  const signed = /^\/signed\/([^/]+)$/.exec(path);
  if (signed?.[1] !== undefined) return { kind: 'signed', reference: signed[1] };
  const [, repository, what, reference] = /^\/v2\/(.+)\/(manifests|blobs|tags)\/([^/]+)$/.exec(path) ?? [];
  if (repository === undefined || reference === undefined) return { kind: 'other' };
  const kinds = { manifests: 'manifest', blobs: 'blob', tags: 'tags' } as const;
  return { kind: kinds[what as keyof typeof kinds], repository, reference: decodeURIComponent(reference) };
}

/** A whole content or, for blobs, the range asked for. */
async function sendEntry(
  request: IncomingMessage,
  entry: Entry,
  response: ServerResponse,
  strikes: Strikes,
  logged: LoggedRequest,
): Promise<void> {
  const { content, mediaType } = entry;
  const { sizeBytes, digest } = content;
  // registry:2 does the same: ranges of manifests are ignored.
  const takesRange = mediaType === blobMediaType && strikes.get('ignore-range') === undefined;
  const range = applyRange(parseRangeHeader(takesRange ? request.headers.range : undefined), sizeBytes);
  if (range.kind === 'unsatisfiable' || range.kind === 'invalid') {
    refuse(response, 416, 'SIZE_INVALID', { 'content-range': `bytes */${sizeBytes}` });
    return;
  }
  const [start, end] = range.kind === 'range' ? [range.start, range.end] : [0, sizeBytes];
  response.writeHead(range.kind === 'range' ? 206 : 200, {
    'content-type': mediaType,
    ...(takesRange ? { 'accept-ranges': 'bytes' } : {}),
    ...(strikes.get('no-content-length') === undefined ? { 'content-length': end - start } : {}),
    ...(strikes.get('no-digest-header') === undefined ? { 'docker-content-digest': digest } : {}),
    ...(range.kind === 'range' ? { 'content-range': `bytes ${start}-${end - 1}/${sizeBytes}` } : {}),
  });
  if (request.method === 'HEAD') {
    response.end();
    return;
  }
  await sendBody(response, { content, start, end }, strikes, (sentBytes) => {
    logged.bytes += sentBytes;
  });
}

function refuse(
  response: ServerResponse,
  status: number,
  code: OciErrorCode,
  headers: Record<string, string> = {},
): void {
  const body = ociErrorBody(code, `answer ${status}`);
  response
    .writeHead(status, { 'content-type': 'application/json', 'content-length': Buffer.byteLength(body), ...headers })
    .end(body);
}

function sendJson(response: ServerResponse, value: unknown): void {
  const body = JSON.stringify(value);
  response.writeHead(200, { 'content-type': 'application/json', 'content-length': Buffer.byteLength(body) }).end(body);
}
