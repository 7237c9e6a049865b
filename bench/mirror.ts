/**
 * `bench mirror`: a layer that the agent holds, through its mirror, against the same layer from a real docker-registry; and what
 * the mirror adds to asking for a manifest by tag.
 */
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { startCluster } from '@shoal/cli';
import { OCI_MANIFEST } from '@shoal/oci';
import { request } from 'undici';
import { REGISTRY } from './rig/daemons.ts';
import { parsedFlags, size } from './rig/flags.ts';
import { cpuSeconds } from './rig/proc.ts';
import { buildLayer, pushImage } from './rollout/image.ts';
import { spreadOf } from './rollout/reading.ts';
import { RegistryDaemon } from './rollout/registry.ts';

const GIB = 1024 ** 3;
const GETS = 5;
const HEADS = 200;
const USAGE = `usage: bench mirror [FLAGS]
Reads a layer that an agent holds through its mirror, and from a docker-registry on the same machine, in turns; then asks both
for a manifest by its tag.

  --size SIZE     of the layer      [256MiB]
  --json          a line of JSON`;

export async function benchMirror(flags: readonly string[]): Promise<void> {
  const options = {
    size: { type: 'string', default: '256MiB' },
    json: { type: 'boolean', default: false },
    help: { type: 'boolean', default: false },
  } as const;
  const values = parsedFlags(flags, options);
  if (values.help) {
    console.log(USAGE);
    return;
  }
  await using resources = new AsyncDisposableStack();
  const folder = await mkdtemp(join(tmpdir(), 'shoal-bench-mirror-'));
  resources.defer(() => rm(folder, { recursive: true, force: true }));
  const registry = resources.use(await RegistryDaemon.start({ folder }));
  const layer = await buildLayer(folder, 'mirror', size('size', values.size));
  const image = await pushImage(registry.url, 'bench/app', 'new', [layer]);
  const cluster = await startCluster({
    nodes: 1,
    folder: join(folder, 'nodes'),
    registries: { [REGISTRY]: registry.url },
  });
  resources.defer(() => cluster.stop());
  const agent = cluster.agents[0]!;
  const mirror = { url: agent.mirrorUrl, query: `?ns=${REGISTRY}` };
  const direct = { url: registry.url, query: '' };
  const blob = `/v2/bench/app/blobs/${layer.digest}`;
  const manifest = `/v2/bench/app/manifests/${image.tag}`;

  for (const { url, query } of [mirror, direct]) await get(`${url}${manifest}${query}`, `${url}${blob}${query}`);
  const seconds = { mirror: [] as number[], direct: [] as number[] };
  const cpu = { mirror: 0, direct: 0 };
  for (let turn = 0; turn < GETS; turn++) {
    for (const [who, { url, query }, pid] of [
      ['mirror', mirror, agent.pid ?? 0],
      ['direct', direct, registry.pid],
    ] as const) {
      const [before, startedMs] = [await cpuSeconds(pid), performance.now()];
      await get(`${url}${blob}${query}`);
      seconds[who].push((performance.now() - startedMs) / 1_000);
      cpu[who] += (await cpuSeconds(pid)) - before;
    }
  }
  const heads = { mirror: [] as number[], direct: [] as number[] };
  for (let turn = 0; turn < HEADS; turn++) {
    for (const [who, { url, query }] of [
      ['mirror', mirror],
      ['direct', direct],
    ] as const) {
      const startedMs = performance.now();
      const { statusCode, body } = await request(`${url}${manifest}${query}`, {
        method: 'HEAD',
        headers: { accept: OCI_MANIFEST },
      });
      await body.dump();
      if (statusCode !== 200) throw new Error(`HEAD ${url}${manifest}: ${statusCode}`);
      heads[who].push(performance.now() - startedMs);
    }
  }
  const gib = (GETS * layer.sizeBytes) / GIB;
  const of = (who: 'mirror' | 'direct') => ({
    mbPerSecond: layer.sizeBytes / 1e6 / spreadOf(seconds[who]).p50,
    serverCpuSecondsPerGiB: cpu[who] / gib,
    headMillisecondsP50: spreadOf(heads[who]).p50,
    headMillisecondsP95: spreadOf(heads[who]).p95,
  });
  const reading = { layerBytes: layer.sizeBytes, mirror: of('mirror'), registry: of('direct') };
  console.log(values.json ? JSON.stringify(reading) : report(reading).join('\n'));
}

interface Side {
  readonly mbPerSecond: number;
  readonly serverCpuSecondsPerGiB: number;
  readonly headMillisecondsP50: number;
  readonly headMillisecondsP95: number;
}

function report({ layerBytes, mirror, registry }: { layerBytes: number; mirror: Side; registry: Side }): string[] {
  const row = (name: string, side: Side): string =>
    [
      name.padEnd(16),
      side.mbPerSecond.toFixed(0).padStart(8),
      side.serverCpuSecondsPerGiB.toFixed(2).padStart(12),
      side.headMillisecondsP50.toFixed(2).padStart(14),
      side.headMillisecondsP95.toFixed(2).padStart(8),
    ].join(' ');
  const added = mirror.headMillisecondsP50 - registry.headMillisecondsP50;
  return [
    `a layer of ${(layerBytes / 1024 ** 2).toFixed(0)} MiB, ${GETS} times from each; ${HEADS} times HEAD of a manifest by tag`,
    '                     MB/s   CPU s/GiB    HEAD ms p50      p95',
    row('the mirror', mirror),
    row('docker-registry', registry),
    `the mirror sends ${(mirror.mbPerSecond / registry.mbPerSecond).toFixed(2)} × as fast, and adds ${added.toFixed(2)} ms to a HEAD`,
  ];
}

async function get(...urls: readonly string[]): Promise<void> {
  for (const url of urls) {
    const { statusCode, body } = await request(url, { headers: { accept: `${OCI_MANIFEST}, */*` } });
    if (statusCode !== 200) throw new Error(`GET ${url}: ${statusCode} ${await body.text()}`);
    for await (const _chunk of body) {
      // Only how long it takes matters; the agent has checked it.
    }
  }
}
