// A server on a port that it keeps: it can go away, with all of its connections, and come back at the same address.
import { createServer, type RequestListener, type Server } from 'node:http';
import type { AddressInfo } from 'node:net';

export class FixedPortServer {
  readonly #listener: RequestListener;
  readonly #host: string;
  #port: number;
  #server: Server | undefined;

  constructor(listener: RequestListener, host: string, port: number) {
    this.#listener = listener;
    this.#host = host;
    this.#port = port;
  }

  get port(): number {
    return this.#port;
  }

  async up(): Promise<void> {
    if (this.#server !== undefined) return;
    const server = createServer({ keepAliveTimeout: 30_000, requestTimeout: 0 }, this.#listener);
    await new Promise<void>((resolve, reject) => {
      server.once('error', reject);
      server.listen(this.#port, this.#host, resolve);
    });
    this.#server = server;
    this.#port = (server.address() as AddressInfo).port;
  }

  async down(): Promise<void> {
    const server = this.#server;
    if (server === undefined) return;
    this.#server = undefined;
    const closed = new Promise((resolve) => server.close(resolve));
    server.closeAllConnections();
    await closed;
  }
}
