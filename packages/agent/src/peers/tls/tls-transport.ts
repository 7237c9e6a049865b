/**
 * How agents connect: TCP with TLS 1.3, where both sides show the certificate of their identity. Node does the
 * cryptography outside JavaScript; Noise, libp2p's usual channel, does it in, and took more of a processor than all the
 * rest. ALPN names what runs inside, so that agents that have nothing in common part in the handshake.
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
import { peerIdOfCertificate, tlsIdentity } from './tls-certificate.ts';
import { TlsConnection } from './tls-connection.ts';
import { TlsListener } from './tls-listener.ts';

/** Yamux and our protocols in it, and how blobs are cut into pieces. Another number is another language. */
const ALPN_PROTOCOL = 'shoal/3';
const YAMUX = '/yamux/1.0.0';
/** A peer whose machine is gone says nothing; the kernel finds out. */
const SOCKET_OPTIONS = { noDelay: true, keepAlive: true, keepAliveInitialDelay: 30_000 } as const;
const CONTEXT = {
  minVersion: 'TLSv1.3',
  ciphers: 'TLS_AES_128_GCM_SHA256:TLS_CHACHA20_POLY1305_SHA256',
} as const satisfies SecureContextOptions;

export interface TlsTransportOptions {
  /** Of the agent's identity, 32 bytes. */
  privateKeySeed: Uint8Array;
  /** Whether one more connection from elsewhere may begin. */
  hasRoom: () => boolean;
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

  constructor(components: Components, { privateKeySeed, hasRoom }: TlsTransportOptions) {
    this.#components = components;
    this.#log = components.logger.forComponent('shoal:tls');
    this.#hasRoom = hasRoom;
    this.#context = createSecureContext({ ...CONTEXT, ...tlsIdentity(privateKeySeed) });
  }

  async dial(address: Multiaddr, options: DialTransportOptions): Promise<Connection> {
    const { signal, upgrader } = options;
    const { host, port = 0 } = getNetConfig(address);
    const socket = connect({
      host,
      port,
      secureContext: this.#context,
      ALPNProtocols: [ALPN_PROTOCOL],
      // Whose certificate it is, is what we ask; authorities have no say.
      rejectUnauthorized: false,
    });
    socket.setNoDelay(true).setKeepAlive(true, SOCKET_OPTIONS.keepAliveInitialDelay);
    try {
      await once(socket, 'secureConnect', { signal });
      const remotePeer = peerOf(socket);
      const expected = address.getComponents().findLast(({ name }) => name === 'p2p')?.value;
      if (expected !== undefined && expected !== remotePeer.toString()) {
        throw new InvalidPeerIdError(`${address} is ${remotePeer}`);
      }
      const connection = new TlsConnection(socket, { remoteAddr: address, direction: 'outbound', log: this.#log });
      const upgrade = { ...options, skipEncryption: true, remotePeer, muxerFactory: this.#muxerFactory() } as const;
      return await upgrader.upgradeOutbound(connection, upgrade);
    } catch (error) {
      socket.on('error', () => {}).destroy();
      throw error;
    }
  }

  createListener({ upgrader }: { upgrader: Upgrader }): Listener {
    return new TlsListener({
      upgrader,
      tls: {
        secureContext: this.#context,
        ALPNProtocols: [ALPN_PROTOCOL],
        requestCert: true,
        rejectUnauthorized: false,
      },
      socketOptions: SOCKET_OPTIONS,
      peerOf,
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
}

/**
 * A session that is taken up again by its ticket shows no certificate anew, so it counts for none.
 * @throws Error when the other side has shown nothing that proves who it is
 */
function peerOf(socket: TLSSocket): PeerId {
  const certificate = socket.getPeerX509Certificate();
  const peerId = certificate === undefined || socket.isSessionReused() ? undefined : peerIdOfCertificate(certificate);
  if (peerId === undefined) throw new InvalidPeerIdError('no certificate of an agent');
  if (socket.alpnProtocol !== ALPN_PROTOCOL) throw new InvalidPeerIdError('not an agent of this version');
  return peerIdFromString(peerId);
}
