/**
 * How fast one agent gets pieces from another over loopback, each in a process of its own.
 * `node --conditions=source bench/peers.ts [pieces] [in flight]`
 */
import { fork } from 'node:child_process';
import { createHash } from 'node:crypto';
import type { Digest } from '@shoal/oci';
import { MAX_PIECE_BYTES } from '@shoal/swarm';
import { startAgent, TestCluster } from '../packages/agent/src/peers/cluster.fixture.ts';

const SIZE_BYTES = 64 * 1024 ** 3;
const digest = `sha256:${'0'.repeat(64)}` as Digest;
const bytes = Buffer.alloc(MAX_PIECE_BYTES, 7);
const sha256 = createHash('sha256').update(bytes).digest();
const piece = (index: number) => ({ digest, sizeBytes: SIZE_BYTES, index });
const [pieces = 256, inFlight = 4] = process.argv.slice(2).map(Number);

/** Both processes make the same cluster from one key, handed over by the parent. */
async function serve(clusterKey: string): Promise<void> {
  const holder = await startAgent(TestCluster.fromKey(clusterKey));
  const attestations = new Map<number, Uint8Array>();
  holder.holdings.read = async (_digest, index) => {
    const attestation = attestations.get(index) ?? holder.network.attest(piece(index), sha256);
    attestations.set(index, attestation);
    return { bytes, attestation };
  };
  process.send?.(holder.record);
}

async function fetchAll(): Promise<void> {
  const cluster = new TestCluster();
  const child = fork(import.meta.filename, ['serve', cluster.exportKey()], { execArgv: ['--conditions=source'] });
  const record = await new Promise<Awaited<ReturnType<typeof startAgent>>['record']>((resolve) => {
    child.once('message', (message) => resolve(message as never));
  });
  const asker = await startAgent(cluster);
  asker.network.dial([record]);
  while (asker.network.connected().length === 0) await new Promise((resolve) => setTimeout(resolve, 10));
  let next = 0;
  const started = performance.now();
  const cpu = process.cpuUsage();
  const worker = async () => {
    while (next < pieces) {
      const options = { deadlineMs: 10_000, signal: new AbortController().signal };
      await asker.network.fetchPiece(record.peerId, piece(next++), options);
    }
  };
  await Promise.all(Array.from({ length: inFlight }, worker));
  const seconds = (performance.now() - started) / 1000;
  const { user, system } = process.cpuUsage(cpu);
  const gib = (pieces * MAX_PIECE_BYTES) / 1024 ** 3;
  const report = {
    mbPerSecond: Math.round((pieces * MAX_PIECE_BYTES) / 1e6 / seconds),
    receiverCpuSecondsPerGib: Number(((user + system) / 1e6 / gib).toFixed(2)),
    rssMib: Math.round(process.memoryUsage.rss() / 1024 ** 2),
  };
  console.log(JSON.stringify(report));
  child.kill();
  await asker.network.stop();
}

if (process.argv[2] === 'serve') await serve(process.argv[3] ?? '');
else await fetchAll();
