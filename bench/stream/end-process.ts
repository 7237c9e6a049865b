/** One end of a stream, a process of its own: `end-process send|receive ORDER ADDRESS`. */
import '../../packages/cli/src/heap.ts';
import { createHash } from 'node:crypto';
import { once } from 'node:events';
import { type AddressInfo, connect, createServer, type Socket } from 'node:net';
import { connect as connectTls, createServer as createTlsServer } from 'node:tls';
import type { BlobId } from '@shoal/oci';
import { pieceCountOf, pieceSizeOf } from '@shoal/swarm';
import { generate } from 'selfsigned';
import { startAgent, TestCluster } from '../../packages/agent/src/peers/cluster.fixture.ts';
import { peakRssBytes } from '../rig/proc.ts';

export type Transport = 'net' | 'tls' | 'shoal';

export interface StreamOrder {
  readonly transport: Transport;
  readonly bytes: number;
  readonly pieceBytes: number;
  readonly inFlight: number;
}

export interface EndReading {
  readonly cpuSeconds: number;
  readonly peakRssBytes: number;
}

const CHUNK = Buffer.alloc(256 * 1024, 7);
const PIECE_DEADLINE_MS = 10_000;
const [role, orderText, argumentText] = process.argv.slice(2) as [string, string, string];
const order = JSON.parse(orderText) as StreamOrder;
const blob = `docker.io/sha256:${'0'.repeat(64)}` as BlobId;

async function reading(before: NodeJS.CpuUsage): Promise<EndReading> {
  const { user, system } = process.cpuUsage(before);
  return { cpuSeconds: (user + system) / 1e6, peakRssBytes: await peakRssBytes(process.pid) };
}

/** Says where it can be reached, and when it is told that all has come, what it took. */
async function send(): Promise<void> {
  const address = order.transport === 'shoal' ? await servePieces() : await serveSocket();
  const before = process.cpuUsage();
  process.send?.(address);
  await once(process, 'message');
  process.send?.(await reading(before), () => process.exit());
}

async function receive(address: never): Promise<void> {
  const fetch = order.transport === 'shoal' ? await piecesFrom(address) : await socketFrom(address);
  const before = process.cpuUsage();
  const startedMs = performance.now();
  await fetch();
  const seconds = (performance.now() - startedMs) / 1_000;
  process.send?.({ ...(await reading(before)), seconds }, () => process.exit());
}

async function serveSocket(): Promise<{ port: number; cert?: string }> {
  const onSocket = async (socket: Socket): Promise<void> => {
    socket.on('error', () => process.exit(1));
    for (let left = order.bytes; left > 0; left -= CHUNK.length) {
      if (!socket.write(CHUNK.subarray(0, Math.min(left, CHUNK.length)))) await once(socket, 'drain');
    }
    socket.end();
  };
  const listen = async (server: ReturnType<typeof createServer>): Promise<number> => {
    server.listen(0, '127.0.0.1');
    await once(server, 'listening');
    return (server.address() as AddressInfo).port;
  };
  if (order.transport === 'net') return { port: await listen(createServer(onSocket)) };
  const { cert, private: key } = await generate([{ name: 'commonName', value: 'localhost' }], {
    keyType: 'ec',
    curve: 'P-256',
  });
  return { port: await listen(createTlsServer({ cert, key }, onSocket)), cert };
}

async function socketFrom({ port, cert }: { port: number; cert?: string }): Promise<() => Promise<void>> {
  return async () => {
    const socket =
      cert === undefined
        ? connect(port, '127.0.0.1')
        : connectTls({
            port,
            host: '127.0.0.1',
            ca: cert,
            servername: 'localhost',
            checkServerIdentity: () => undefined,
          });
    const hash = createHash('sha256');
    let bytes = 0;
    for await (const chunk of socket) {
      hash.update(chunk);
      bytes += chunk.length;
    }
    hash.digest();
    if (bytes !== order.bytes) throw new Error(`${bytes} bytes came`);
  };
}

/** A blob whose pieces have the wanted size. */
function sizeBytes(): number {
  let bytes = 1024 ** 2;
  while (pieceSizeOf(bytes) < order.pieceBytes) bytes *= 2;
  return Math.max(bytes, pieceSizeOf(bytes) * 1024);
}

function piece(number: number): { blob: BlobId; sizeBytes: number; index: number } {
  return { blob, sizeBytes: sizeBytes(), index: number % pieceCountOf(sizeBytes()) };
}

async function servePieces(): Promise<unknown> {
  const cluster = new TestCluster();
  const holder = await startAgent(cluster);
  const bytes = Buffer.alloc(pieceSizeOf(sizeBytes()), 7);
  const sha256 = createHash('sha256').update(bytes).digest();
  const attestations = new Map<number, Uint8Array>();
  holder.holdings.read = async (_blob, index) => {
    const attestation = attestations.get(index) ?? holder.network.attest(piece(index), sha256);
    attestations.set(index, attestation);
    return { bytes, attestation };
  };
  return { record: holder.record, clusterKey: cluster.exportKey() };
}

async function piecesFrom(address: {
  record: Awaited<ReturnType<typeof startAgent>>['record'];
  clusterKey: string;
}): Promise<() => Promise<void>> {
  const asker = await startAgent(TestCluster.fromKey(address.clusterKey));
  asker.network.dial([address.record]);
  while (asker.network.connected().length === 0) await new Promise((resolve) => setTimeout(resolve, 10));
  const pieces = Math.ceil(order.bytes / pieceSizeOf(sizeBytes()));
  return async () => {
    let next = 0;
    const worker = async (): Promise<void> => {
      const into = Buffer.alloc(pieceSizeOf(sizeBytes()));
      while (next < pieces) {
        const options = { patience: 0, deadlineMs: PIECE_DEADLINE_MS, signal: new AbortController().signal, into };
        await asker.network.fetchPiece(address.record.peerId, piece(next++), options);
      }
    };
    await Promise.all(Array.from({ length: order.inFlight }, worker));
  };
}

if (role === 'send') await send();
else await receive(JSON.parse(argumentText) as never);
