/** A TLS socket as libp2p's upgrader takes it: bytes in, bytes out, back pressure both ways. */
import { once } from 'node:events';
import type { TLSSocket } from 'node:tls';
import type { AbortOptions, Logger, MessageStreamDirection } from '@libp2p/interface';
import { AbstractMultiaddrConnection, type SendResult } from '@libp2p/utils';
import type { Multiaddr } from '@multiformats/multiaddr';
import type { Uint8ArrayList } from 'uint8arraylist';

/** What may wait here for the kernel: a few of yamux's frames, so that they leave together. */
const MAX_QUEUED_BYTES = 256 * 1024;
/** A peer that lets this much wait, pongs of the multiplexer included, loses the connection; each stream waits for its reader before. */
const MAX_WRITE_BUFFER_BYTES = 16 * 1024 * 1024;

export class TlsConnection extends AbstractMultiaddrConnection {
  readonly #socket: TLSSocket;
  /** Read in this turn of the event loop, not passed on yet. */
  readonly #arrived: Uint8Array[] = [];

  constructor(socket: TLSSocket, init: { remoteAddr: Multiaddr; direction: MessageStreamDirection; log: Logger }) {
    super({ ...init, maxWriteBufferLength: MAX_WRITE_BUFFER_BYTES });
    this.#socket = socket;
    socket
      .on('data', (chunk: Uint8Array) => this.#arrive(chunk))
      .on('error', (error) => this.abort(error))
      .on('drain', () => this.safeDispatchEvent('drain'))
      // Half open connections are of no use here: the end of what comes is the end.
      .once('end', () => this.#end())
      .once('close', () => this.#end());
  }

  /** TLS gives its records, of 16 KiB at most, one by one; above here it pays to get those of one turn together. */
  #arrive(chunk: Uint8Array): void {
    this.#arrived.push(chunk);
    if (this.#arrived.length === 1) setImmediate(() => this.#passOn());
  }

  #passOn(): void {
    for (const chunk of this.#arrived) this.readBuffer.append(chunk);
    this.#arrived.length = 0;
    this.dispatchReadBuffer();
  }

  #end(): void {
    if (this.#arrived.length > 0) this.#passOn();
    this.onTransportClosed();
    // What was still to be sent may never be read.
    this.#socket.destroy();
  }

  /** One record and one packet for what was sent at once. */
  override sendData(data: Uint8ArrayList): SendResult {
    this.#socket.cork();
    for (const part of data) this.#socket.write(part);
    this.#socket.uncork();
    // The socket says that it drained whenever more than its own, smaller, mark had been waiting.
    return { sentBytes: data.byteLength, canSendMore: this.#socket.writableLength < MAX_QUEUED_BYTES };
  }

  override async sendClose(options?: AbortOptions): Promise<void> {
    if (this.#socket.destroyed) return;
    this.#socket.destroySoon();
    try {
      await once(this.#socket, 'close', options);
    } catch (error) {
      // The peer reads no more.
      this.#socket.destroy();
      throw error;
    }
  }

  override sendReset(): void {
    this.#socket.destroy();
  }

  override sendPause(): void {
    this.#socket.pause();
  }

  override sendResume(): void {
    this.#socket.resume();
  }
}
