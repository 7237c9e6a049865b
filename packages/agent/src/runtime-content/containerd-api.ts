/**
 * One connection to containerd's socket: the four questions that its content store takes to be known and followed. gRPC, by the
 * interface that containerd promises to keep (`api/*.proto` holds the part that is used here).
 */
import { connect, type Socket } from 'node:net';
import { type Client, ConnectError, createClient } from '@connectrpc/connect';
import { createGrpcTransport, Http2SessionManager } from '@connectrpc/connect-node';
import { Content } from './api/content_pb.ts';
import { Events } from './api/events_pb.ts';
import { Introspection } from './api/introspection_pb.ts';
import { Namespaces } from './api/namespaces_pb.ts';

/** Its host is not looked at on a Unix socket. */
const BASE_URL = 'http://localhost';
const CONNECT_WITHIN_MS = 5_000;
const ANSWER_WITHIN_MS = 30_000;
/** Content comes in portions of 100. */
const MAX_MESSAGE_BYTES: number = 16 * 2 ** 20;
const NAMESPACE_HEADER = 'containerd-namespace';
const CONTENT_PLUGIN = 'io.containerd.content.v1';

/** Content as one namespace has it. */
export interface ContentInfo {
  /** As containerd writes it, unchecked. */
  digest: string;
  sizeBytes: number;
  /** Milliseconds since 1970; 0 when it does not say. */
  createdAtMs: number;
  labels: Readonly<Record<string, string>>;
}

/** containerd did not answer, or not as it should. The message says why, for a person. */
export class ContainerdError extends Error {
  constructor(message: string, options?: ErrorOptions) {
    super(message, options);
    this.name = 'ContainerdError';
  }
}

export class ContainerdApi {
  readonly #session: Http2SessionManager;
  readonly #content: Client<typeof Content>;
  readonly #events: Client<typeof Events>;
  readonly #introspection: Client<typeof Introspection>;
  readonly #namespaces: Client<typeof Namespaces>;
  #socket: Socket | undefined;

  /** Connects with the first question. @param socket the path of a Unix socket */
  constructor(socket: string) {
    this.#session = new Http2SessionManager(
      BASE_URL,
      { connectTimeoutMs: CONNECT_WITHIN_MS },
      {
        createConnection: () => {
          this.#socket = connect(socket);
          return this.#socket;
        },
      },
    );
    const transport = createGrpcTransport({
      baseUrl: BASE_URL,
      sessionManager: this.#session,
      readMaxBytes: MAX_MESSAGE_BYTES,
    });
    this.#content = createClient(Content, transport);
    this.#events = createClient(Events, transport);
    this.#introspection = createClient(Introspection, transport);
    this.#namespaces = createClient(Namespaces, transport);
  }

  /** The folder of its content store, as containerd itself sees it. @throws ContainerdError */
  async contentFolder(signal: AbortSignal): Promise<string> {
    const filters = [`type==${CONTENT_PLUGIN}`];
    const { plugins } = await explained(
      this.#introspection.plugins({ filters }, { signal, timeoutMs: ANSWER_WITHIN_MS }),
    );
    const folder = plugins.find(({ type }) => type === CONTENT_PLUGIN)?.exports.root;
    if (folder === undefined) throw new ContainerdError('it does not say where its content store is');
    return folder;
  }

  /** @throws ContainerdError */
  async namespaces(signal: AbortSignal): Promise<string[]> {
    const { namespaces } = await explained(this.#namespaces.list({}, { signal, timeoutMs: ANSWER_WITHIN_MS }));
    return namespaces.map(({ name }) => name);
  }

  /** All content that a namespace has. @throws ContainerdError */
  async *content(namespace: string, signal: AbortSignal): AsyncGenerator<ContentInfo> {
    const headers = { [NAMESPACE_HEADER]: namespace };
    try {
      for await (const { info } of this.#content.list({}, { signal, timeoutMs: ANSWER_WITHIN_MS, headers })) {
        for (const { digest, size, createdAt, labels } of info) {
          yield { digest, sizeBytes: Number(size), createdAtMs: Number(createdAt?.seconds ?? 0n) * 1_000, labels };
        }
      }
    } catch (error) {
      throw explain(error);
    }
  }

  /** Tells of every change of images and content, of any namespace, until the connection ends. @throws ContainerdError */
  async *changes(signal: AbortSignal): AsyncGenerator<string> {
    const filters = ['topic~="^/images/"', 'topic~="^/content/"'];
    try {
      for await (const { topic } of this.#events.subscribe({ filters }, { signal })) yield topic;
    } catch (error) {
      throw explain(error);
    }
  }

  close(): void {
    this.#session.abort();
    this.#socket?.destroy();
  }
}

async function explained<T>(answer: Promise<T>): Promise<T> {
  try {
    return await answer;
  } catch (error) {
    throw explain(error);
  }
}

function explain(error: unknown): ContainerdError {
  if (!(error instanceof ConnectError)) return new ContainerdError(String(error), { cause: error });
  const { cause } = error;
  return new ContainerdError(cause instanceof Error ? cause.message : error.rawMessage, { cause: error });
}
