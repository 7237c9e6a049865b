/** The libp2p node under the peer network: TLS over TCP, yamux and identify, with limits that fit bulk transfers. */
import { yamux } from '@chainsafe/libp2p-yamux';
import { privateKeyFromRaw } from '@libp2p/crypto/keys';
import { type Identify, identify } from '@libp2p/identify';
import type { PrivateKey } from '@libp2p/interface';
import { createLibp2p, type Libp2p } from 'libp2p';
import { privateKeyOfSeed, rawPublicKey } from './ed25519-key.ts';
import { type TlsTransportOptions, tlsTransport } from './tls/tls-transport.ts';

const MAX_STREAM_WINDOW_BYTES = 4 * 1024 * 1024;
/** Anything below twice the window lets a paused reader lose its stream. */
const MAX_READ_BUFFER_BYTES: number = 2 * MAX_STREAM_WINDOW_BYTES;
/** Many agents may sit behind one address, and all start at once. */
const INBOUND_CONNECTIONS_PER_SECOND_AND_ADDRESS = 200;
const MAX_INCOMING_PENDING_CONNECTIONS = 128;
/** Room beside the members for connections that have not said HELLO yet, so that strangers cannot keep members out. */
const UNVERIFIED_CONNECTIONS = 64;
/** Each frame costs events and an update of the window; but it is passed on whole, so on a slow link a long one looks like a stall. */
const MAX_FRAME_BYTES = 128 * 1024;
const DIAL_TIMEOUT_MS = 3_000;
const ADDRESS_DIAL_TIMEOUT_MS = 1_500;
/** A ping waits behind bulk data and a busy event loop; only a peer that is truly gone may fail it. */
const PING_INTERVAL_MS = 15_000;
const PING_TIMEOUT_MS = 20_000;

export type Node = Libp2p<{ identify: Identify }>;

/** Made but not started: handlers are registered first. */
export async function createNode(options: {
  privateKeySeed: Uint8Array;
  listen: readonly string[];
  announce: readonly string[];
  maxConnections: number;
  /** Asked before anything is said on a connection from elsewhere. @default everybody is let in */
  hasRoom?: () => boolean;
  versions?: TlsTransportOptions['versions'];
  onStranger?: TlsTransportOptions['onStranger'];
}): Promise<Node> {
  const { hasRoom = () => true, privateKeySeed, versions, onStranger } = options;
  return createLibp2p({
    start: false,
    privateKey: privateKeyFromSeed(options.privateKeySeed),
    addresses: { listen: [...options.listen], announce: [...options.announce] },
    transports: [tlsTransport({ privateKeySeed, hasRoom, versions, onStranger })],
    streamMuxers: [
      yamux({
        maxMessageSize: MAX_FRAME_BYTES,
        streamOptions: { maxStreamWindowSize: MAX_STREAM_WINDOW_BYTES, maxReadBufferLength: MAX_READ_BUFFER_BYTES },
      }),
    ],
    services: { identify: identify() },
    connectionGater: { denyInboundConnection: () => !hasRoom() },
    connectionManager: {
      maxConnections: options.maxConnections + UNVERIFIED_CONNECTIONS,
      inboundConnectionThreshold: INBOUND_CONNECTIONS_PER_SECOND_AND_ADDRESS,
      maxIncomingPendingConnections: MAX_INCOMING_PENDING_CONNECTIONS,
      dialTimeout: DIAL_TIMEOUT_MS,
      addressDialTimeout: ADDRESS_DIAL_TIMEOUT_MS,
    },
    connectionMonitor: {
      pingInterval: PING_INTERVAL_MS,
      pingTimeout: { minTimeout: PING_TIMEOUT_MS, maxTimeout: 3 * PING_TIMEOUT_MS },
    },
  });
}

/** As libp2p wants it. Node finds the public half at once; libp2p's own way to it takes a tenth of an agent's start. */
function privateKeyFromSeed(seed: Uint8Array): PrivateKey {
  return privateKeyFromRaw(Buffer.concat([seed, rawPublicKey(privateKeyOfSeed(seed))]));
}
