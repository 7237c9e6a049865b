/** Takes connections from other agents: a handshake within its time, then libp2p's upgrader decides. */
import { once } from 'node:events';
import { createServer, type Server, type Socket } from 'node:net';
import { createServer as createTlsServer, type TLSSocket, type TlsOptions, type Server as TlsServer } from 'node:tls';
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
import { TlsConnection } from './tls-connection.ts';

const HANDSHAKE_TIMEOUT_MS = 5_000;
/** Beyond these the next ones are turned away, before anything is computed for them. */
const MAX_HANDSHAKES = 128;

export interface TlsListenerOptions extends CreateListenerOptions {
  tls: TlsOptions;
  socketOptions: { noDelay: boolean; keepAlive: boolean };
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
  readonly #tls: TlsServer;
  readonly #sockets = new Set<Socket>();
  readonly #stopped = new AbortController();
  /** How many of the sockets have finished their handshake. */
  #secured = 0;
  #listening: Multiaddr | undefined;

  constructor(options: TlsListenerOptions) {
    super();
    this.#options = options;
    this.#tls = createTlsServer({ ...options.tls, handshakeTimeout: HANDSHAKE_TIMEOUT_MS }, (socket) =>
      this.#upgrade(socket),
    );
    this.#tls.on('tlsClientError', (error) => options.log('handshake failed - %e', error));
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
    socket.on('error', () => {});
    const handshakes = this.#sockets.size - this.#secured;
    if (handshakes >= MAX_HANDSHAKES || !this.#options.hasRoom()) {
      socket.destroy();
      return;
    }
    this.#sockets.add(socket);
    socket.once('close', () => this.#sockets.delete(socket));
    this.#tls.emit('connection', socket);
  }

  async #upgrade(socket: TLSSocket): Promise<void> {
    this.#secured += 1;
    socket.once('close', () => {
      this.#secured -= 1;
    });
    socket.on('error', () => {});
    const { upgrader, peerOf, muxerFactory, log } = this.#options;
    try {
      const remotePeer = peerOf(socket);
      const { remoteAddress, remotePort } = socket;
      // Gone already.
      if (remoteAddress === undefined || remotePort === undefined) return;
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
