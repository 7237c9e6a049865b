/** Takes connections from other agents: a handshake within its time, then libp2p's upgrader decides. */
import { once } from 'node:events';
import { createServer, type Server, type Socket } from 'node:net';
import { TLSSocket, type TLSSocketOptions } from 'node:tls';
import {
  type CreateListenerOptions,
  type Listener,
  type ListenerEvents,
  type Logger,
  type PeerId,
  type StreamMuxerFactory,
  TypedEventEmitter,
} from '@libp2p/interface';
import { getNetConfig, getThinWaistAddresses, ipPortToMultiaddr } from '@libp2p/utils';
import type { Multiaddr } from '@multiformats/multiaddr';
import { HandshakeLimits } from './handshake-limits.ts';
import { TlsConnection } from './tls-connection.ts';
import type { StrangeAgent } from './tls-transport.ts';
import { commonVersion, VERSIONS_QUESTION, versionsAnswer, versionsIn } from './versions.ts';

const HANDSHAKE_TIMEOUT_MS = 5_000;

export interface TlsListenerOptions extends CreateListenerOptions {
  tls: TLSSocketOptions;
  /** What this agent speaks, newest first. */
  versions: readonly string[];
  onStranger: (stranger: StrangeAgent) => void;
  socketOptions: { noDelay: boolean; keepAlive: boolean; keepAliveInitialDelay: number };
  /** Who is at the other end. @throws when it has not proved it */
  peerOf: (socket: TLSSocket) => PeerId;
  muxerFactory: () => StreamMuxerFactory;
  /** Asked before the handshake. */
  hasRoom: () => boolean;
  log: Logger;
}

export class TlsListener extends TypedEventEmitter<ListenerEvents> implements Listener {
  readonly #options: TlsListenerOptions;
  readonly #server: Server;
  readonly #sockets = new Set<Socket>();
  readonly #stopped = new AbortController();
  readonly #limits = new HandshakeLimits(() => performance.now());
  #listening: Multiaddr | undefined;

  constructor(options: TlsListenerOptions) {
    super();
    this.#options = options;
    this.#server = createServer(options.socketOptions, (socket) => this.#connected(socket))
      .on('listening', () => this.safeDispatchEvent('listening'))
      .on('error', (detail) => this.safeDispatchEvent('error', { detail }))
      .on('close', () => this.safeDispatchEvent('close'));
  }

  async listen(address: Multiaddr): Promise<void> {
    this.#listening = address;
    const { host, port, type } = getNetConfig(address);
    this.#server.listen({ host, port: port ?? 0, ipv6Only: type === 'ip6' });
    await once(this.#server, 'listening');
  }

  getAddrs(): Multiaddr[] {
    const bound = this.#server.address();
    return bound === null || typeof bound === 'string' ? [] : getThinWaistAddresses(this.#listening, bound.port);
  }

  updateAnnounceAddrs(): void {}

  async close(): Promise<void> {
    this.#stopped.abort();
    const closed = this.#server.listening ? once(this.#server, 'close') : undefined;
    this.#server.close();
    for (const socket of this.#sockets) socket.destroy();
    await closed;
  }

  #connected(socket: Socket): void {
    const { tls, hasRoom, log } = this.#options;
    socket.on('error', (error) => log('connection failed - %e', error));
    let end = hasRoom() ? this.#limits.begin(socket.remoteAddress ?? '') : undefined;
    if (end === undefined) {
      socket.destroy();
      return;
    }
    this.#sockets.add(socket);
    const timer = setTimeout(() => socket.destroy(), HANDSHAKE_TIMEOUT_MS);
    const shaken = (): void => {
      clearTimeout(timer);
      end?.();
      end = undefined;
    };
    socket.once('close', () => {
      shaken();
      this.#sockets.delete(socket);
    });
    const ALPNCallback = ({ protocols }: { protocols: string[] }): string | undefined =>
      this.#choose(protocols, socket);
    const secured = new TLSSocket(socket, { ...tls, isServer: true, ALPNCallback });
    const failed = (error: Error): void => {
      log('handshake or connection failed - %e', error);
      socket.destroy();
    };
    // What breaks the protocol after the handshake is told by the second name alone.
    secured.on('error', failed).on('_tlsError', failed);
    secured.once('secure', () => {
      // It counts as a handshake under way, and has no more time than one, until the other side is gone, too.
      if (secured.alpnProtocol === VERSIONS_QUESTION) {
        secured.end(versionsAnswer(this.#options.versions));
        return;
      }
      shaken();
      void this.#upgrade(secured);
    });
  }

  /** Undefined ends the handshake with the alert that nothing offered is spoken here. */
  #choose(offered: readonly string[], socket: Socket): string | undefined {
    const { versions, onStranger } = this.#options;
    const chosen = commonVersion([...versions, VERSIONS_QUESTION], offered);
    const others = versionsIn(offered);
    if (chosen === undefined && others.length > 0) {
      onStranger({ peerId: undefined, host: socket.remoteAddress ?? '', versions: others });
    }
    return chosen;
  }

  async #upgrade(socket: TLSSocket): Promise<void> {
    const { upgrader, peerOf, muxerFactory, log } = this.#options;
    try {
      const remotePeer = peerOf(socket);
      const { remoteAddress, remotePort } = socket;
      if (remoteAddress === undefined || remotePort === undefined) throw new Error('gone already');
      const remoteAddr = ipPortToMultiaddr(remoteAddress, remotePort);
      const connection = new TlsConnection(socket, { remoteAddr, direction: 'inbound', log });
      const { signal } = this.#stopped;
      const upgrade = { signal, skipEncryption: true, remotePeer, muxerFactory: muxerFactory() } as const;
      await upgrader.upgradeInbound(connection, upgrade);
    } catch (error) {
      log('inbound connection refused - %e', error);
      socket.destroy();
    }
  }
}
