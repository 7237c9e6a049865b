/**
 * `bench stream`: how fast one agent's pieces come to another over the project's own peer protocol, and at what cost, beside a
 * plain TCP socket and TLS between the same two processes. Every receiver hashes what comes, as an agent must.
 */
import { fork } from 'node:child_process';
import { once } from 'node:events';
import { join } from 'node:path';
import { parsedFlags, size, wholeNumber } from '../rig/flags.ts';
import type { EndReading, StreamOrder, Transport } from './end-process.ts';

const END = join(import.meta.dirname, 'end-process.ts');
const GIB = 1024 ** 3;
const MIB = 1024 ** 2;
const TRANSPORTS: readonly Transport[] = ['net', 'tls', 'shoal'];
const USAGE = `usage: bench stream [FLAGS]
Sends bytes from one process to another over loopback: over a TCP socket, over TLS, and piece by piece over Shoal's peer protocol
(libp2p: TCP, Noise, yamux). Every receiver hashes what comes (SHA-256).

  --size SIZE     bytes over each              [1GiB]
  --pieces SIZE   of Shoal: 256KiB to 4MiB     [256KiB]
  --flight N      pieces asked for at once     [4]
  --json          a line of JSON for each`;

interface Reading {
  readonly transport: Transport;
  readonly mbPerSecond: number;
  readonly receiverCpuSecondsPerGiB: number;
  readonly senderCpuSecondsPerGiB: number;
  readonly receiverPeakRssBytes: number;
  readonly senderPeakRssBytes: number;
}

export async function benchStream(flags: readonly string[]): Promise<void> {
  const options = {
    size: { type: 'string', default: '1GiB' },
    pieces: { type: 'string', default: '256KiB' },
    flight: { type: 'string', default: '4' },
    json: { type: 'boolean', default: false },
    help: { type: 'boolean', default: false },
  } as const;
  const values = parsedFlags(flags, options);
  if (values.help) {
    console.log(USAGE);
    return;
  }
  const order = {
    bytes: size('size', values.size),
    pieceBytes: size('pieces', values.pieces),
    inFlight: wholeNumber('flight', values.flight, 64),
  };
  if (!values.json)
    console.log('           MB/s   of net   CPU s/GiB: receiver  sender   peak RSS MiB: receiver  sender');
  let net: number | undefined;
  for (const transport of TRANSPORTS) {
    const reading = await measure({ ...order, transport });
    net ??= reading.mbPerSecond;
    console.log(values.json ? JSON.stringify(reading) : row(reading, net));
  }
}

async function measure(order: StreamOrder): Promise<Reading> {
  await using ends = new AsyncDisposableStack();
  const start = (role: string, argument: unknown) => {
    const child = fork(END, [role, JSON.stringify(order), JSON.stringify(argument)], {
      execArgv: [],
      serialization: 'json',
    });
    ends.defer(() => void child.kill('SIGKILL'));
    return child;
  };
  const said = async (child: ReturnType<typeof start>): Promise<never> => {
    const ended = once(child, 'exit').then(() => Promise.reject(new Error(`a process of ${order.transport} ended`)));
    const [message] = await Promise.race([once(child, 'message'), ended]);
    return message as never;
  };
  const sender = start('send', undefined);
  const address: unknown = await said(sender);
  const received: EndReading & { seconds: number } = await said(start('receive', address));
  sender.send('done');
  const sent: EndReading = await said(sender);
  const gib = order.bytes / GIB;
  return {
    transport: order.transport,
    mbPerSecond: order.bytes / 1e6 / received.seconds,
    receiverCpuSecondsPerGiB: received.cpuSeconds / gib,
    senderCpuSecondsPerGiB: sent.cpuSeconds / gib,
    receiverPeakRssBytes: received.peakRssBytes,
    senderPeakRssBytes: sent.peakRssBytes,
  };
}

function row(reading: Reading, net: number): string {
  const { transport, mbPerSecond, receiverCpuSecondsPerGiB, senderCpuSecondsPerGiB } = reading;
  const mib = (bytes: number): string => (bytes / MIB).toFixed(0);
  return [
    transport.padEnd(8),
    mbPerSecond.toFixed(0).padStart(7),
    `${(mbPerSecond / net).toFixed(2)} ×`.padStart(8),
    receiverCpuSecondsPerGiB.toFixed(2).padStart(22),
    senderCpuSecondsPerGiB.toFixed(2).padStart(7),
    mib(reading.receiverPeakRssBytes).padStart(24),
    mib(reading.senderPeakRssBytes).padStart(7),
  ].join(' ');
}
