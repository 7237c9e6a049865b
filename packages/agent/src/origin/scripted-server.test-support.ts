/** A real HTTP server on loopback whose answers a test writes, and a client configured to reach it by name. */
import { createServer, type IncomingMessage, type RequestListener, type ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';
import { pino } from 'pino';
import { onTestFinished } from 'vitest';
import type { OriginCall, OriginClient } from './origin-client.ts';
import type { OriginDependencies, OriginOptions, RegistryOptions } from './origin-options.ts';
import { createOriginClient } from './undici-origin.ts';

export const REGISTRY = 'registry.example.com';
export const REPOSITORY = { registry: REGISTRY, name: 'team/app' } as const;

export interface ScriptedServer {
  url: string;
  host: string;
  /** `METHOD path`, in the order they came. */
  log: string[];
  requests: IncomingMessage[];
}

export type Script = (request: IncomingMessage, response: ServerResponse) => void;

export async function serve(script: Script): Promise<ScriptedServer> {
  const log: string[] = [];
  const requests: IncomingMessage[] = [];
  const listener: RequestListener = (request, response) => {
    log.push(`${request.method} ${request.url}`);
    requests.push(request);
    script(request, response);
  };
  const server = createServer(listener);
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  onTestFinished(async () => {
    server.closeAllConnections();
    await new Promise((resolve) => server.close(resolve));
  });
  const { port } = server.address() as AddressInfo;
  return { url: `http://127.0.0.1:${port}`, host: `127.0.0.1:${port}`, log, requests };
}

/** A client that knows `server` as `registry.example.com`. */
export function clientFor(
  server: { url: string },
  options: Omit<OriginOptions, 'registries'> & { registry?: RegistryOptions } = {},
  dependencies: Partial<OriginDependencies> = {},
): OriginClient {
  const { registry, ...rest } = options;
  return openClient({ ...rest, registries: { [REGISTRY]: { url: server.url, ...registry } } }, dependencies);
}

export function openClient(options: OriginOptions, dependencies: Partial<OriginDependencies> = {}): OriginClient {
  const client = createOriginClient(options, { logger: pino({ level: 'silent' }), ...dependencies });
  onTestFinished(() => client.close());
  return client;
}

export function call(signal: AbortSignal = new AbortController().signal): OriginCall {
  return { signal, pullId: 'pull-1' };
}

export async function collect(chunks: AsyncIterable<Uint8Array>): Promise<Buffer> {
  const collected: Uint8Array[] = [];
  for await (const chunk of chunks) collected.push(chunk);
  return Buffer.concat(collected);
}
