/**
 * How agents connect: TCP with TLS 1.3, where both sides show the certificate of their identity. Node does the
 * cryptography outside JavaScript; Noise, libp2p's usual channel, does it in, and took more of a processor than all the
 * rest. ALPN settles what runs inside (`versions.ts`), so that agents that have nothing in common part in the handshake.
 */
import { once } from 'node:events';
import { connect, createSecureContext, type SecureContext, type SecureContextOptions, type TLSSocket } from 'node:tls';
import {
  type ComponentLogger,
  type Connection,
  type DialTransportOptions,
  InvalidPeerIdError,
  type Listener,
  type Logger,
  type PeerId,
  serviceCapabilities,
  type Transport,
  transportSymbol,
  type Upgrader,
} from '@libp2p/interface';
import { peerIdFromString } from '@libp2p/peer-id';
import { getNetConfig } from '@libp2p/utils';
import type { Multiaddr } from '@multiformats/multiaddr';
import { tlsIdentity } from './tls-certificate.ts';
import { TlsConnection } from './tls-connection.ts';
import { TlsListener } from './tls-listener.ts';
import { askVersions, isNoCommonVersion, PROTOCOL_VERSIONS, provenPeerId } from './versions.ts';

const YAMUX = '/yamux/1.0.0';
/** A peer whose machine is gone says nothing; the kernel finds out. */
const SOCKET_OPTIONS = { noDelay: true, keepAlive: true, keepAliveInitialDelay: 30_000 } as const;
const CONTEXT = {
  minVersion: 'TLSv1.3',
  ciphers: 'TLS_AES_128_GCM_SHA256:TLS_CHACHA20_POLY1305_SHA256',
} as const satisfies SecureContextOptions;

const ASK_VERSIONS_WITHIN_MS = 2_000;
/** Members of other versions that are asked at the same time; the next ones are met again soon. */
const MAX_QUESTIONS = 4;

/** An agent that speaks nothing that this one does. */
export interface StrangeAgent {
  /** Undefined where it dialled: it parts before it has proved who it is. */
  peerId: string | undefined;
  /** IP address or name. */
  host: string;
  /** Undefined: a build that does not tell. */
  versions: readonly string[] | undefined;
}

export interface TlsTransportOptions {
  /** Of the agent's identity, 32 bytes. */
  privateKeySeed: Uint8Array;
  /** Whether one more connection from elsewhere may begin. */
  hasRoom: () => boolean;
  /** What this agent speaks, newest first. @default PROTOCOL_VERSIONS */
  versions?: readonly string[] | undefined;
  onStranger?: ((stranger: StrangeAgent) => void) | undefined;
}

/** What the agent shows to whom it dials and who dials it. */
export function agentContext(privateKeySeed: Uint8Array): SecureContext {
  return createSecureContext({ ...CONTEXT, ...tlsIdentity(privateKeySeed) });
}

interface Components {
  logger: ComponentLogger;
  upgrader: Upgrader;
}

export function tlsTransport(options: TlsTransportOptions): (components: Components) => Transport {
  return (components) => new TlsTransport(components, options);
}

class TlsTransport implements Transport {
  readonly [transportSymbol] = true as const;
  readonly [Symbol.toStringTag] = '@shoal/tls';
  readonly [serviceCapabilities]: string[] = ['@libp2p/transport'];
  readonly #components: Components;
  readonly #log: Logger;
  readonly #hasRoom: () => boolean;
  readonly #context: SecureContext;
  readonly #versions: readonly string[];
  readonly #onStranger: (stranger: StrangeAgent) => void;
  #questions = 0;

  constructor(components: Components, options: TlsTransportOptions) {
    this.#components = components;
    this.#log = components.logger.forComponent('shoal:tls');
    this.#hasRoom = options.hasRoom;
    this.#context = agentContext(options.privateKeySeed);
    this.#versions = options.versions ?? PROTOCOL_VERSIONS;
    this.#onStranger = options.onStranger ?? (() => {});
  }

  async dial(address: Multiaddr, options: DialTransportOptions): Promise<Connection> {
    const { signal, upgrader } = options;
    const { host, port = 0 } = getNetConfig(address);
    const expected = address.getComponents().findLast(({ name }) => name === 'p2p')?.value;
    const socket = connect({
      host,
      port,
      secureContext: this.#context,
      ALPNProtocols: [...this.#versions],
      // Whose certificate it is, is what we ask; authorities have no say.
      rejectUnauthorized: false,
    });
    socket.setNoDelay(true).setKeepAlive(true, SOCKET_OPTIONS.keepAliveInitialDelay);
    try {
      await once(socket, 'secureConnect', { signal });
      const remotePeer = this.#peerOf(socket);
      if (expected !== undefined && expected !== remotePeer.toString()) {
        throw new InvalidPeerIdError(`${address} is ${remotePeer}`);
      }
      const connection = new TlsConnection(socket, { remoteAddr: address, direction: 'outbound', log: this.#log });
      const upgrade = { ...options, skipEncryption: true, remotePeer, muxerFactory: this.#muxerFactory() } as const;
      return await upgrader.upgradeOutbound(connection, upgrade);
    } catch (error) {
      socket.on('error', () => {}).destroy();
      if (isNoCommonVersion(error) && expected !== undefined) void this.#meetStranger({ host, port, peerId: expected });
      throw error;
    }
  }

  createListener({ upgrader }: { upgrader: Upgrader }): Listener {
    return new TlsListener({
      upgrader,
      tls: {
        secureContext: this.#context,
        requestCert: true,
        rejectUnauthorized: false,
      },
      versions: this.#versions,
      onStranger: this.#onStranger,
      socketOptions: SOCKET_OPTIONS,
      peerOf: (socket) => this.#peerOf(socket),
      muxerFactory: () => this.#muxerFactory(),
      hasRoom: this.#hasRoom,
      log: this.#log,
    });
  }

  listenFilter(addresses: Multiaddr[]): Multiaddr[] {
    return addresses.filter((address) => {
      const names = address.getComponents().map(({ name }) => name);
      return /^(ip4|ip6|dns|dns4|dns6) tcp( p2p)?$/.test(names.join(' '));
    });
  }

  dialFilter(addresses: Multiaddr[]): Multiaddr[] {
    return this.listenFilter(addresses);
  }

  #muxerFactory() {
    const factory = this.#components.upgrader.getStreamMuxers().get(YAMUX);
    if (factory === undefined) throw new TypeError(`no ${YAMUX}`);
    return factory;
  }

  /** @throws Error when the other side has shown nothing that proves who it is */
  #peerOf(socket: TLSSocket): PeerId {
    const peerId = provenPeerId(socket);
    if (peerId === undefined) throw new InvalidPeerIdError('no certificate of an agent');
    const { alpnProtocol } = socket;
    if (typeof alpnProtocol !== 'string' || !this.#versions.includes(alpnProtocol)) {
      throw new InvalidPeerIdError('not an agent of this version');
    }
    return peerIdFromString(peerId);
  }

  /** Nobody waits for it: the dial has failed. */
  async #meetStranger(member: { host: string; port: number; peerId: string }): Promise<void> {
    if (this.#questions >= MAX_QUESTIONS) return;
    this.#questions++;
    try {
      const versions = await askVersions(member, this.#context, AbortSignal.timeout(ASK_VERSIONS_WITHIN_MS));
      this.#onStranger({ peerId: member.peerId, host: member.host, versions });
    } catch (error) {
      this.#log('cannot tell what %s speaks - %e', member.peerId, error);
    } finally {
      this.#questions--;
    }
  }
}
