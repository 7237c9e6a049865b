import { type ClientHttp2Session, connect, constants } from 'node:http2';
import { createConnection } from 'node:net';

// Just enough of the kubelet: the CRI's ImageService over containerd's unix socket. gRPC is HTTP/2 with each message
// behind a five-byte prefix; the few messages needed here are written and read by hand.
// Shapes: https://github.com/kubernetes/cri-api/blob/master/pkg/apis/runtime/v1/api.proto

const defaultTimeoutMs = 90_000;
const prefixBytes = 5;
const statusUnimplemented = 12;
const lengthDelimited = 2;

/** What gRPC answered instead of a message; codes as in https://grpc.io/docs/guides/status-codes/. */
class CriError extends Error {
  readonly status: number;

  constructor(method: string, status: number, message: string) {
    super(`${method}: gRPC status ${status}: ${message}`);
    this.name = 'CriError';
    this.status = status;
  }
}

/**
 * `PullImage`: gives the image's reference in the runtime, `sha256:…` of its config.
 * @param options.login `USER:PASSWORD`, as the kubelet finds it in the pod's pull secret
 */
export async function criPullImage(
  socket: string,
  image: string,
  { login, timeoutMs }: { login?: string | undefined; timeoutMs?: number } = {},
): Promise<string> {
  // PullImageRequest { ImageSpec image = 1 { string image = 1 }, AuthConfig auth = 2 { string username = 1, string
  // password = 2 } } → PullImageResponse { string image_ref = 1 }
  const spec = field(1, field(1, Buffer.from(image)));
  const [user, password] = (login ?? '').split(':').map((text) => Buffer.from(text));
  const auth =
    user === undefined || password === undefined ? [] : [field(2, Buffer.concat([field(1, user), field(2, password)]))];
  const answer = await call(socket, 'PullImage', Buffer.concat([spec, ...auth]), timeoutMs);
  return firstField(answer, 1)?.toString() ?? '';
}

/** `RemoveImage`: the image and, in time, its content. */
export async function criRemoveImage(socket: string, image: string): Promise<void> {
  await call(socket, 'RemoveImage', field(1, field(1, Buffer.from(image))));
}

/** Asks version v1, and v1alpha2 of runtimes that do not know it. */
async function call(
  socket: string,
  method: string,
  message: Buffer,
  timeoutMs: number = defaultTimeoutMs,
): Promise<Buffer> {
  const session = connect('http://localhost', { createConnection: () => createConnection(socket) });
  try {
    try {
      return await unary(session, `/runtime.v1.ImageService/${method}`, message, timeoutMs);
    } catch (error) {
      if (!(error instanceof CriError) || error.status !== statusUnimplemented) throw error;
      return await unary(session, `/runtime.v1alpha2.ImageService/${method}`, message, timeoutMs);
    }
  } finally {
    session.destroy();
  }
}

function unary(session: ClientHttp2Session, path: string, message: Buffer, timeoutMs: number): Promise<Buffer> {
  return new Promise((resolve, reject) => {
    session.once('error', reject);
    const stream = session.request({
      [constants.HTTP2_HEADER_METHOD]: 'POST',
      [constants.HTTP2_HEADER_PATH]: path,
      'content-type': 'application/grpc',
      te: 'trailers',
    });
    stream.setTimeout(timeoutMs, () => stream.destroy(new Error(`${path}: no answer within ${timeoutMs} ms`)));
    const chunks: Buffer[] = [];
    let status: string | undefined;
    let detail = '';
    // Without a message, the status is in the headers; after one, in the trailers.
    const readStatus = (headers: Readonly<Record<string, unknown>>): void => {
      if (headers['grpc-status'] === undefined) return;
      status = String(headers['grpc-status']);
      detail = decodeURIComponent(String(headers['grpc-message'] ?? ''));
    };
    stream.on('response', readStatus);
    stream.on('trailers', readStatus);
    stream.on('data', (chunk: Buffer) => chunks.push(chunk));
    stream.on('error', reject);
    stream.on('end', () => {
      if (status === '0') resolve(Buffer.concat(chunks).subarray(prefixBytes));
      else reject(new CriError(path, Number(status ?? -1), detail));
    });
    const prefix = Buffer.alloc(prefixBytes);
    prefix.writeUInt32BE(message.length, 1);
    stream.end(Buffer.concat([prefix, message]));
  });
}

/** One length-delimited protobuf field. */
function field(number: number, content: Buffer): Buffer {
  return Buffer.concat([Buffer.from([(number << 3) | lengthDelimited]), varint(content.length), content]);
}

function varint(value: number): Buffer {
  const bytes: number[] = [];
  let rest = value;
  while (rest > 0x7f) {
    bytes.push((rest & 0x7f) | 0x80);
    rest >>>= 7;
  }
  return Buffer.from([...bytes, rest]);
}

/** The content of the first field of that number, in a message of length-delimited fields alone. */
function firstField(message: Buffer, number: number): Buffer | undefined {
  let offset = 0;
  while (offset < message.length) {
    const key = message.readUInt8(offset++);
    let length = 0;
    for (let shift = 0; ; shift += 7) {
      const byte = message.readUInt8(offset++);
      length |= (byte & 0x7f) << shift;
      if (byte < 0x80) break;
    }
    if (key >> 3 === number) return message.subarray(offset, offset + length);
    offset += length;
  }
  return undefined;
}
