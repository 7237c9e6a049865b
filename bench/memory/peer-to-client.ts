// What an agent takes in memory while a blob passes from a peer through it to a client: two agents, real processes.
import { createHash } from 'node:crypto';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { type ClusterAgent, startCluster, sumOf } from '@shoal/cli';
import { request } from 'undici';
import { FaultOrigin, syntheticContent } from '../../test/support/fault-origin.ts';
import { statusBytes } from '../rig/proc.ts';

export interface MemoryReading {
  blobBytes: number;
  /** Resident memory of the passing agent before the blob, and at its highest (VmHWM). */
  idleRssBytes: number;
  peakRssBytes: number;
  seconds: number;
  bytesFromPeers: number;
  bytesFromOrigin: number;
}

/** Pulls a blob on one agent, then on another, and reads the second one's peak. Linux only (/proc). */
export async function measurePeerToClient(blobBytes: number): Promise<MemoryReading> {
  const folder = await mkdtemp(join(tmpdir(), 'shoal-memory-'));
  await using origin = await FaultOrigin.start();
  const content = await syntheticContent('memory', blobBytes);
  origin.addBlob('org/big', content);
  const registries = { 'registry.test': origin.url };
  const cluster = await startCluster({ nodes: 2, folder, registries });
  try {
    const [holder, passer] = cluster.agents as [ClusterAgent, ClusterAgent];
    const path = `/v2/registry.test/org/big/blobs/${content.digest}`;
    await pull(holder, path, content.digest);
    const idleRssBytes = await statusBytes(passer.pid, 'VmRSS');
    const startedAtMs = performance.now();
    await pull(passer, path, content.digest);
    const seconds = (performance.now() - startedAtMs) / 1000;
    const metrics = await passer.metrics();
    return {
      blobBytes,
      idleRssBytes,
      peakRssBytes: await statusBytes(passer.pid, 'VmHWM'),
      seconds,
      bytesFromPeers: sumOf(metrics, 'shoal_bytes_total', { source: 'peer', direction: 'in' }),
      bytesFromOrigin: sumOf(metrics, 'shoal_bytes_total', { source: 'origin', direction: 'in' }),
    };
  } finally {
    await cluster.stop();
    await rm(folder, { recursive: true, force: true });
  }
}

async function pull(agent: ClusterAgent, path: string, digest: string): Promise<void> {
  const answer = await request(agent.mirrorUrl + path);
  if (answer.statusCode !== 200) throw new Error(`${answer.statusCode} ${await answer.body.text()}`);
  const hash = createHash('sha256');
  for await (const chunk of answer.body) hash.update(chunk);
  if (`sha256:${hash.digest('hex')}` !== digest) throw new Error('the bytes do not match the digest');
}
