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
import { TlsConnection } from './tls-connection.ts';

const HANDSHAKE_TIMEOUT_MS = 5_000;
/** Beyond these the next ones are turned away, before anything is computed for them; one address has a part of them. */
const MAX_HANDSHAKES = 128;
const MAX_HANDSHAKES_PER_ADDRESS = 32;

export interface TlsListenerOptions extends CreateListenerOptions {
  tls: TLSSocketOptions;
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
  /** Under way, by address. */
  readonly #handshakes = new Map<string, number>();
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
    const { remoteAddress = '' } = socket;
    if (!this.#hasTimeFor(remoteAddress) || !hasRoom()) {
      socket.destroy();
      return;
    }
    this.#sockets.add(socket);
    this.#count(remoteAddress, 1);
    const timer = setTimeout(() => socket.destroy(), HANDSHAKE_TIMEOUT_MS);
    let isShaking = true;
    const shaken = (): void => {
      if (!isShaking) return;
      isShaking = false;
      this.#count(remoteAddress, -1);
      clearTimeout(timer);
    };
    socket.once('close', () => {
      shaken();
      this.#sockets.delete(socket);
    });
    const secured = new TLSSocket(socket, { ...tls, isServer: true });
    secured.on('error', (error) => {
      log('handshake or connection failed - %e', error);
      socket.destroy();
    });
    secured.once('secure', () => {
      shaken();
      void this.#upgrade(secured);
    });
  }

  #hasTimeFor(address: string): boolean {
    const all = this.#handshakes.values().reduce((sum, count) => sum + count, 0);
    return all < MAX_HANDSHAKES && (this.#handshakes.get(address) ?? 0) < MAX_HANDSHAKES_PER_ADDRESS;
  }

  #count(address: string, by: 1 | -1): void {
    const count = (this.#handshakes.get(address) ?? 0) + by;
    if (count === 0) this.#handshakes.delete(address);
    else this.#handshakes.set(address, count);
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
