/**
 * How fast one agent gets pieces from another over loopback, each in a process of its own with the heap of an agent.
 * The size of the blob decides that of its pieces: 256 KiB up to 256 MiB, 4 MiB from 2 GiB on.
 * `node --conditions=source bench/peers.ts [pieces] [in flight] [MiB of blob]`
 */
import '../packages/cli/src/heap.ts';
import { fork } from 'node:child_process';
import { createHash } from 'node:crypto';
import type { BlobId } from '@shoal/oci';
import { pieceCountOf, pieceSizeOf } from '@shoal/swarm';
import { startAgent, TestCluster } from '../packages/agent/src/peers/cluster.fixture.ts';

const numbers = process.argv[2] === 'serve' ? process.argv.slice(4) : process.argv.slice(2);
const [pieces = 256, inFlight = 4, blobMib = 64 * 1024] = numbers.map(Number);
const sizeBytes = blobMib * 1024 ** 2;
const pieceBytes = pieceSizeOf(sizeBytes);
const blob = `docker.io/sha256:${'0'.repeat(64)}` as BlobId;
const bytes = Buffer.alloc(pieceBytes, 7);
const sha256 = createHash('sha256').update(bytes).digest();
const piece = (number: number) => ({ blob, sizeBytes, index: number % pieceCountOf(sizeBytes) });

/** Both processes make the same cluster from one key, handed over by the parent. */
async function serve(clusterKey: string): Promise<void> {
  const holder = await startAgent(TestCluster.fromKey(clusterKey));
  const attestations = new Map<number, Uint8Array>();
  holder.holdings.read = async (_blob, index) => {
    const attestation = attestations.get(index) ?? holder.network.attest(piece(index), sha256);
    attestations.set(index, attestation);
    return { bytes, attestation };
  };
  const cpu = process.cpuUsage();
  process.once('message', () => {
    const { user, system } = process.cpuUsage(cpu);
    process.send?.((user + system) / 1e6, () => process.exit());
  });
  process.send?.(holder.record);
}

async function fetchAll(): Promise<void> {
  const cluster = new TestCluster();
  const child = fork(import.meta.filename, ['serve', cluster.exportKey(), ...numbers], {
    execArgv: ['--conditions=source'],
  });
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
      const options = { patience: 0, deadlineMs: 10_000, signal: new AbortController().signal };
      await asker.network.fetchPiece(record.peerId, piece(next++), options);
    }
  };
  await Promise.all(Array.from({ length: inFlight }, worker));
  const seconds = (performance.now() - started) / 1000;
  const { user, system } = process.cpuUsage(cpu);
  const gib = (pieces * pieceBytes) / 1024 ** 3;
  child.send('done');
  const senderCpuSeconds = await new Promise<number>((resolve) => {
    child.once('message', (message) => resolve(Number(message)));
  });
  const report = {
    mbPerSecond: Math.round((pieces * pieceBytes) / 1e6 / seconds),
    receiverCpuSecondsPerGib: Number(((user + system) / 1e6 / gib).toFixed(2)),
    senderCpuSecondsPerGib: Number((senderCpuSeconds / gib).toFixed(2)),
    rssMib: Math.round(process.memoryUsage.rss() / 1024 ** 2),
  };
  console.log(JSON.stringify(report));
  await asker.network.stop();
}

if (process.argv[2] === 'serve') await serve(process.argv[3] ?? '');
else await fetchAll();
