// One keep-alive HTTPS connection that costs little: requests are bytes made before, answers are only cut off at their end.
// A general client would need more of the machine than the tracker it measures.
import { createHash } from 'node:crypto';
import { connect, type TLSSocket } from 'node:tls';

const HEADER_END = Buffer.from('\r\n\r\n');
const LENGTH = /\r\ncontent-length: (\d+)/i;

export interface Answer {
  status: number;
  body: Buffer;
}

export class PinnedConnection {
  readonly #socket: TLSSocket;
  #chunks: Buffer[] = [];
  #received = 0;
  /** Bytes of the whole answer, once its header is here. */
  #expected: number | undefined;
  #bodyAt = 0;
  #status = 0;
  #waiting: { resolve: (answer: Answer) => void; reject: (error: Error) => void } | undefined;

  private constructor(socket: TLSSocket) {
    this.#socket = socket;
    socket.setNoDelay(true);
    socket.on('data', (chunk: Buffer) => this.#take(chunk));
    socket.on('error', (error) => this.#fail(error));
    socket.on('close', () => this.#fail(new Error('the tracker closed the connection')));
  }

  /** @param pin base64url of the SHA-256 of the server's public key */
  static open(host: string, port: number, pin: string): Promise<PinnedConnection> {
    return new Promise((resolve, reject) => {
      const socket = connect({ host, port, rejectUnauthorized: false, minVersion: 'TLSv1.3' });
      socket.once('error', reject);
      socket.once('secureConnect', () => {
        const spki = socket.getPeerX509Certificate()?.publicKey.export({ type: 'spki', format: 'der' });
        const found = spki && createHash('sha256').update(spki).digest('base64url');
        socket.off('error', reject);
        if (found === pin) return resolve(new PinnedConnection(socket));
        socket.destroy();
        reject(new Error('the key of the tracker is not the pinned one'));
      });
    });
  }

  /** One request at a time. */
  send(request: Uint8Array): Promise<Answer> {
    return new Promise((resolve, reject) => {
      this.#waiting = { resolve, reject };
      this.#socket.write(request);
    });
  }

  close(): void {
    this.#waiting = undefined;
    this.#socket.destroy();
  }

  #take(chunk: Buffer): void {
    this.#chunks.push(chunk);
    this.#received += chunk.length;
    if (this.#expected === undefined) this.#readHeader();
    if (this.#expected === undefined || this.#received < this.#expected) return;
    const whole = this.#chunks.length === 1 ? chunk : Buffer.concat(this.#chunks);
    const answer = { status: this.#status, body: whole.subarray(this.#bodyAt) };
    this.#chunks = [];
    this.#received = 0;
    this.#expected = undefined;
    const waiting = this.#waiting;
    this.#waiting = undefined;
    waiting?.resolve(answer);
  }

  #readHeader(): void {
    const start = this.#chunks.length === 1 ? this.#chunks[0]! : Buffer.concat(this.#chunks);
    const end = start.indexOf(HEADER_END);
    if (end < 0) return;
    const header = start.toString('latin1', 0, end);
    this.#status = Number(header.slice(9, 12));
    this.#bodyAt = end + HEADER_END.length;
    this.#expected = this.#bodyAt + Number(LENGTH.exec(header)?.[1] ?? 0);
  }

  #fail(error: Error): void {
    this.#waiting?.reject(error);
    this.#waiting = undefined;
  }
}
