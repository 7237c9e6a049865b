/** Speaks containerd's API on a socket of its own, and says what a test has put there. The real one is in the end-to-end tests. */

import { rm } from 'node:fs/promises';
import { createServer, type Http2Server, type ServerHttp2Session } from 'node:http2';
import { join } from 'node:path';
import { connectNodeAdapter } from '@connectrpc/connect-node';
import type { Digest } from '@shoal/oci';
import { onTestFinished } from 'vitest';
import { Content } from './api/content_pb.ts';
import { Events } from './api/events_pb.ts';
import { Introspection } from './api/introspection_pb.ts';
import { Namespaces } from './api/namespaces_pb.ts';
import type { ContentFolder } from './content-folder.fixture.ts';

export interface ScriptedContent {
  digest: Digest | string;
  sizeBytes: number;
  registries: readonly string[];
}

export class ScriptedContainerd {
  /** By namespace. */
  readonly content = new Map<string, ScriptedContent[]>();
  readonly socket: string;
  lists = 0;
  readonly #folder: ContentFolder;
  readonly #sessions = new Set<ServerHttp2Session>();
  #server: Http2Server | undefined;
  #listeners = new Set<(topic: string) => void>();

  constructor(folder: ContentFolder) {
    this.#folder = folder;
    this.socket = join(folder.root, 'containerd.sock');
    onTestFinished(() => this.stop());
  }

  async start(): Promise<void> {
    const handler = connectNodeAdapter({
      routes: (router) => {
        router.service(Introspection, {
          plugins: () => ({
            plugins: [{ type: 'io.containerd.content.v1', id: 'content', exports: { root: this.#folder.path } }],
          }),
        });
        router.service(Namespaces, {
          list: () => ({ namespaces: [...this.content.keys()].map((name) => ({ name })) }),
        });
        router.service(Content, { list: (_, { requestHeader }) => this.#list(requestHeader) });
        router.service(Events, { subscribe: (_, { signal }) => this.#subscribe(signal) });
      },
    });
    const server = createServer(handler);
    server.on('session', (session) => {
      this.#sessions.add(session);
      session.once('close', () => this.#sessions.delete(session));
    });
    await new Promise<void>((resolve) => server.listen(this.socket, resolve));
    this.#server = server;
  }

  tell(topic: string): void {
    for (const listener of this.#listeners) listener(topic);
  }

  /** As when it dies: connections break. */
  async stop(): Promise<void> {
    const server = this.#server;
    this.#server = undefined;
    if (server === undefined) return;
    const closed = new Promise((resolve) => server.close(resolve));
    for (const session of this.#sessions) session.destroy();
    await closed;
    await rm(this.socket, { force: true });
  }

  async *#list(header: Headers) {
    this.lists++;
    for (const { digest, sizeBytes, registries } of this.content.get(header.get('containerd-namespace') ?? '') ?? []) {
      const sources = registries.map((registry) => [`containerd.io/distribution.source.${registry}`, 'org/app']);
      const labels = Object.fromEntries(sources) as Record<string, string>;
      const createdAt = { seconds: BigInt(Math.floor(Date.now() / 1_000)), nanos: 0 };
      yield { info: [{ digest, size: BigInt(sizeBytes), createdAt, labels }] };
    }
  }

  async *#subscribe(signal: AbortSignal) {
    const topics: string[] = [];
    let wake: () => void = () => undefined;
    const listener = (topic: string): void => {
      topics.push(topic);
      wake();
    };
    this.#listeners.add(listener);
    try {
      while (!signal.aborted) {
        for (const topic of topics.splice(0)) yield { topic };
        await new Promise<void>((resolve) => {
          wake = resolve;
          signal.addEventListener('abort', () => resolve(), { once: true });
        });
      }
    } finally {
      this.#listeners.delete(listener);
    }
  }
}
