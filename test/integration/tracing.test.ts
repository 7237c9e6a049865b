/** Real agents that tell a collector what a pull waited for. */
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { request } from 'undici';
import { afterEach, beforeEach, expect, test } from 'vitest';
import { run } from '../support/daemon/process.ts';
import { FaultOrigin, syntheticContent } from '../support/fault-origin.ts';
import { type CollectedSpan, OtlpCollector } from '../support/otlp-collector.ts';
import { registryName, ShoalCluster } from '../support/shoal-cluster.ts';

const MiB = 1024 * 1024;
const TRACE_ID = '4bf92f3577b34da6a3ce929d0e0e4736';
const CLIENT_SPAN = '00f067aa0ba902b7';
const PASSWORD = 'correct-horse-battery-staple';
/** More than an agent waits for a collector and for pieces when it stops. */
const STOP_MS = 8_000;

let resources: AsyncDisposableStack;
let origin: FaultOrigin;

beforeEach(async () => {
  resources = new AsyncDisposableStack();
  origin = resources.use(await FaultOrigin.start());
});
afterEach(() => resources.disposeAsync());

async function startCluster(nodes: number, ...settings: string[]): Promise<ShoalCluster> {
  return resources.use(await ShoalCluster.start({ origin, nodes, agentArguments: () => settings }));
}

async function read(cluster: ShoalCluster, node: number, path: string, headers: Record<string, string> = {}) {
  const url = `${cluster.agent(node).mirrorUrl}/v2/${registryName}/org/app/${path}`;
  const { statusCode, body } = await request(url, { headers, signal: AbortSignal.timeout(20_000) });
  return { statusCode, bytes: Buffer.from(await body.arrayBuffer()) };
}

function below(spans: readonly CollectedSpan[], parent: CollectedSpan, name: string): CollectedSpan[] {
  return spans.filter((span) => span.parentSpanId === parent.spanId && span.name === name);
}

function only(spans: readonly CollectedSpan[]): CollectedSpan {
  expect(spans).toHaveLength(1);
  return spans[0]!;
}

/** The span of a node's request, once its pull has been told, too. */
async function requestSpan(collector: OtlpCollector, cluster: ShoalCluster, node: number): Promise<CollectedSpan> {
  const { peerId } = cluster.agent(node);
  const isIts = ({ resource }: CollectedSpan): boolean => resource['service.instance.id'] === peerId;
  const spans = await collector.until((all) =>
    ['GET blob', 'pull'].every((name) => all.some((span) => isIts(span) && span.name === name)),
  );
  return only(spans.filter((span) => isIts(span) && span.name === 'GET blob'));
}

test('a pull is one tree in the client’s own trace: access, lease, registry, peers, and no secret', async () => {
  const collector = resources.use(await OtlpCollector.start());
  origin.requireAuth({ type: 'basic', username: 'node', password: PASSWORD });
  // Blobs come from signed addresses, whose query is a secret as well.
  origin.inject({ kind: 'blob' }, { type: 'redirect' });
  const content = await syntheticContent('traced', 8 * MiB);
  origin.addBlob('org/app', content);
  const cluster = await startCluster(2, '--otlp-endpoint', collector.url);
  const authorization = `Basic ${Buffer.from(`node:${PASSWORD}`).toString('base64')}`;
  const traceparent = `00-${TRACE_ID}-${CLIENT_SPAN}-01`;
  const path = `blobs/${content.digest}`;
  for (const node of [0, 1]) {
    const { statusCode, bytes } = await read(cluster, node, path, { authorization, traceparent });
    expect([statusCode, bytes.length]).toEqual([200, 8 * MiB]);
  }

  const first = await requestSpan(collector, cluster, 0);
  const second = await requestSpan(collector, cluster, 1);
  const { spans } = collector;
  for (const root of [first, second]) {
    expect(root).toMatchObject({ traceId: TRACE_ID, parentSpanId: CLIENT_SPAN, kind: 2, error: undefined });
    expect(root.attributes).toMatchObject({
      'http.request.method': 'GET',
      'http.response.status_code': 200,
      'http.response.body.size': 8 * MiB,
      'shoal.registry': registryName,
      'shoal.repository': 'org/app',
      'shoal.digest': content.digest,
      'shoal.result': 'ok',
    });
    const access = only(below(spans, root, 'access check'));
    expect(access.attributes['shoal.allowed']).toBe(true);
    expect(below(spans, access, 'registry HEAD blob').length).toBeGreaterThan(0);
  }
  expect(first.attributes['shoal.source']).toBe('origin');
  expect(second.attributes['shoal.source']).toBe('peers');

  const fromOrigin = only(below(spans, first, 'pull'));
  expect(fromOrigin.attributes).toMatchObject({
    'shoal.result': 'done',
    'shoal.origin.bytes': 8 * MiB,
    'shoal.peers.bytes': 0,
  });
  expect(fromOrigin.attributes['shoal.first_piece_ms']).toBeGreaterThanOrEqual(0);
  const leases = below(spans, fromOrigin, 'tracker lease').filter(
    ({ attributes }) => attributes['shoal.lease.granted'],
  );
  const runs = below(spans, fromOrigin, 'registry GET blob');
  expect(runs.length).toBeGreaterThan(0);
  expect(runs.reduce((sum, run) => sum + Number(run.attributes['shoal.bytes']), 0)).toBe(8 * MiB);
  for (const run of runs) {
    expect(run.attributes).toMatchObject({ 'shoal.registry': registryName, 'shoal.lease.kind': 'origin' });
    expect([200, 206]).toContain(run.attributes['http.response.status_code']);
    expect(leases.map(({ attributes }) => attributes['shoal.lease.id'])).toContain(run.attributes['shoal.lease.id']);
  }

  const fromPeers = only(below(spans, second, 'pull'));
  expect(fromPeers.attributes).toMatchObject({
    'shoal.origin.bytes': 0,
    'shoal.peers.bytes': 8 * MiB,
    'shoal.peers': 1,
  });
  const peer = fromPeers.events.find(({ name }) => name === 'peer');
  expect(peer).toMatchObject({ attributes: { 'shoal.peer': cluster.agent(0).peerId, 'shoal.bytes': 8 * MiB } });
  expect(below(spans, fromPeers, 'tracker announce').length).toBeGreaterThan(0);

  for (const secret of [PASSWORD, authorization.slice('Basic '.length), 'authorization', 'signature', '?', 'Bearer']) {
    expect(collector.sent.toLowerCase()).not.toContain(secret.toLowerCase());
  }
  expect(origin.requests.some(({ headers }) => 'traceparent' in headers)).toBe(false);
  expect(await cluster.metric(0, 'shoal_trace_spans_dropped_total')).toBe(0);
  expect(await cluster.metric(0, 'shoal_trace_spans_sent_total')).toBeGreaterThan(3);
});

test('a request that joins a pull is linked to it; one that its client does not sample is not traced', async () => {
  const collector = resources.use(await OtlpCollector.start());
  const content = await syntheticContent('joined', 3 * MiB);
  origin.addBlob('org/app', content);
  origin.inject({ kind: 'blob', method: 'GET' }, { type: 'slow', bytesPerSecond: 3 * MiB });
  const cluster = await startCluster(1, '--otlp-endpoint', collector.url);
  const unsampled = { traceparent: `00-${TRACE_ID}-${CLIENT_SPAN}-00` };
  const path = `blobs/${content.digest}`;
  await Promise.all([read(cluster, 0, path), read(cluster, 0, path), read(cluster, 0, 'manifests/none', unsampled)]);
  const spans = await collector.until(
    (all) => all.filter(({ name }) => name === 'GET blob').length === 2 && all.some(({ name }) => name === 'pull'),
  );
  const pull = only(spans.filter(({ name }) => name === 'pull'));
  const requests = spans.filter(({ name }) => name === 'GET blob');
  for (const { links } of requests) expect(links.map(({ spanId }) => spanId)).toEqual([pull.spanId]);
  expect(new Set(requests.map(({ traceId }) => traceId)).size).toBe(2);
  expect(spans.some(({ traceId }) => traceId === TRACE_ID)).toBe(false);
});

test('--trace-sample 0: only what a client asks for is traced, and is sent before the agent stops', async () => {
  const collector = resources.use(await OtlpCollector.start());
  const cluster = await startCluster(1, '--otlp-endpoint', collector.url, '--trace-sample', '0');
  expect((await read(cluster, 0, 'manifests/none')).statusCode).toBe(404);
  const traceparent = `00-${TRACE_ID}-${CLIENT_SPAN}-01`;
  expect((await read(cluster, 0, 'manifests/none', { traceparent })).statusCode).toBe(404);
  // Sooner than the next batch would be sent: what waits is sent when an agent stops.
  await cluster.agent(0).kill('SIGTERM');
  const { spans } = collector;
  expect(new Set(spans.map(({ traceId }) => traceId))).toEqual(new Set([TRACE_ID]));
  const resolution = only(spans.filter(({ name }) => name === 'reference resolution'));
  expect(resolution).toMatchObject({ error: 'not-found' });
});

test.each([
  ['is away', undefined],
  ['never answers', { answers: false }],
] as const)('a collector that %s delays neither pulls nor the stop, and what it missed is counted', async (_, kind) => {
  const collector = await OtlpCollector.start(kind ?? {});
  if (kind === undefined) await collector[Symbol.asyncDispose]();
  else resources.use(collector);
  const content = await syntheticContent('away', 2 * MiB);
  origin.addBlob('org/app', content);
  const cluster = await startCluster(1, '--otlp-endpoint', collector.url);
  expect((await read(cluster, 0, `blobs/${content.digest}`)).bytes.length).toBe(2 * MiB);
  await expect
    .poll(() => cluster.metric(0, 'shoal_trace_spans_dropped_total', { cause: 'export' }), { timeout: 20_000 })
    .toBeGreaterThan(3);
  // The queue holds 2,048; nobody takes them.
  const stoppedAtMs = Date.now();
  await read(cluster, 0, `blobs/${content.digest}`);
  await cluster.agent(0).kill('SIGTERM');
  expect(Date.now() - stoppedAtMs).toBeLessThan(STOP_MS);
  expect(cluster.agent(0).logs()).toContain('spans are dropped');
});

// Its interface alone (@opentelemetry/api) is loaded by prom-client, whatever is configured.
test('an agent without an endpoint loads nothing of OpenTelemetry; one with it does', async () => {
  const folder = await mkdtemp(join(tmpdir(), 'shoal-tracing-'));
  resources.defer(() => rm(folder, { recursive: true, force: true }));
  const loadedWith = async (tracing: object): Promise<string[]> => {
    const dataDir = join(folder, Object.keys(tracing).join() || 'none');
    const settings = { mirror: at(0), admin: at(0), peerListen: ['/ip4/127.0.0.1/tcp/0'], dataDir, tracing };
    const program = `
      import { mkdirSync } from 'node:fs';
      import { registerHooks } from 'node:module';
      const loaded = [];
      registerHooks({ load: (url, context, next) => (loaded.push(url), next(url, context)) });
      const { agentConfigSchema, startAgent } = await import('@shoal/agent');
      const { createLogger } = await import('@shoal/cli');
      const settings = ${JSON.stringify(settings)};
      mkdirSync(settings.dataDir);
      const logger = createLogger({ level: 'silent', format: 'json' }, process.stderr);
      const agent = await startAgent(agentConfigSchema.parse(settings), { logger, version: 'test' });
      await agent.stop();
      process.stdout.write(JSON.stringify(loaded.filter((url) => /@opentelemetry.(sdk|core|exporter|otlp|resources)/.test(url))));`;
    const args = ['--conditions=source', '--input-type=module', '--eval', program];
    const printed = await run(process.execPath, args, { cwd: import.meta.dirname, timeoutMs: 30_000 });
    return JSON.parse(printed) as string[];
  };
  expect(await loadedWith({})).toEqual([]);
  expect((await loadedWith({ endpoint: 'http://127.0.0.1:9' })).length).toBeGreaterThan(3);
});

function at(port: number): { host: string; port: number } {
  return { host: '127.0.0.1', port };
}
