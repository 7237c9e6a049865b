import { once } from 'node:events';
import { type IncomingHttpHeaders, request } from 'node:http';
import { connect } from 'node:net';

export interface HttpAnswer {
  status: number;
  headers: IncomingHttpHeaders;
  body: Buffer;
  /** Whether the body was all that the head promised. */
  complete: boolean;
}

/** One request over a connection of its own; `address` is `HOST:PORT`. */
export async function ask(
  address: string,
  path: string,
  options: { method?: string; headers?: Record<string, string> } = {},
): Promise<HttpAnswer> {
  const call = request(`http://${address}${path}`, { ...options, agent: false });
  call.end();
  const [response] = await once(call, 'response');
  const chunks: Buffer[] = [];
  try {
    for await (const chunk of response) chunks.push(chunk);
  } catch {
    // Told by `complete`.
  }
  return {
    status: response.statusCode,
    headers: response.headers,
    body: Buffer.concat(chunks),
    complete: response.complete,
  };
}

/** Sends raw bytes and collects raw bytes until the other side closes; `error` is set when it did so with a RST. */
export async function talkRaw(address: string, sent: string): Promise<{ received: Buffer; error: string | undefined }> {
  const [host, port] = address.split(':');
  const socket = connect({ host: host ?? '', port: Number(port), allowHalfOpen: true });
  const chunks: Buffer[] = [];
  let error: string | undefined;
  socket.on('data', (chunk: Buffer) => chunks.push(chunk));
  socket.on('error', (cause: NodeJS.ErrnoException) => {
    error = cause.code;
  });
  socket.write(sent);
  await new Promise((resolve) => socket.once('end', resolve).once('close', resolve));
  // Long enough for a RST that follows a FIN to arrive.
  await new Promise((resolve) => setTimeout(resolve, 50));
  socket.destroy();
  return { received: Buffer.concat(chunks), error };
}
