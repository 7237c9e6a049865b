import { createServer, type IncomingMessage, type ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';
import { request } from 'undici';
import { expect, onTestFinished, test } from 'vitest';
import { smallImage } from './demo-folder.fixture.ts';
import type { WrittenImage } from './image-layout.ts';
import { type Origin, startOrigin } from './origin.ts';
import { type PullTarget, pullImage } from './pull-client.ts';

/** Answers instead of the origin when it returns true. */
type Fault = (request: IncomingMessage, response: ServerResponse, whole: Buffer) => boolean;

/** A mirror that relays to an origin over `image` and lets a fault act on requests for its big layer. */
async function faultyMirror(fault: Fault): Promise<{ target: PullTarget; image: WrittenImage; urls: string[] }> {
  const image = await smallImage();
  const origin: Origin = await startOrigin({ layoutFolder: image.folder, repository: 'shoal/demo' });
  const big = image.layers[1]!;
  const whole = Buffer.from(await (await request(`${origin.url}/v2/shoal/demo/blobs/${big.digest}`)).body.bytes());
  const urls: string[] = [];
  const relay = async (incoming: IncomingMessage, response: ServerResponse): Promise<void> => {
    urls.push(`${incoming.method} ${incoming.url} ${incoming.headers.range ?? ''}`.trim());
    if (incoming.url?.includes(big.digest) === true && fault(incoming, response, whole)) return;
    const method = incoming.method === 'HEAD' ? 'HEAD' : 'GET';
    const { range } = incoming.headers;
    const answer = await request(origin.url + incoming.url, { method, headers: range === undefined ? {} : { range } });
    response.writeHead(answer.statusCode, answer.headers);
    response.end(method === 'HEAD' ? undefined : await answer.body.bytes());
  };
  const server = createServer((incoming, response) => {
    relay(incoming, response).catch(() => response.destroy());
  });
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  onTestFinished(async () => {
    server.closeAllConnections();
    server.close();
    await origin.close();
  });
  const target = {
    mirrorUrl: `http://127.0.0.1:${(server.address() as AddressInfo).port}`,
    registry: 'demo.example:8443',
    repository: 'shoal/demo',
    reference: 'latest',
    platform: { os: 'linux', architecture: 'amd64' },
  };
  return { target, image, urls };
}

/** Announces all, sends a part, closes with FIN. */
function cutShort(response: ServerResponse, bytes: Buffer, announcedBytes: number, status = 200, extra = {}): void {
  response.writeHead(status, { 'content-length': announcedBytes, ...extra });
  response.write(bytes, () => response.socket?.end());
}

test('asks as containerd does: HEAD the tag, GET by digest, everything once, with ns', async () => {
  const { target, image, urls } = await faultyMirror(() => false);
  const pulled = await pullImage(target);
  expect(pulled.manifestDigest).toBe(image.manifest.digest);
  expect(pulled.totalBytes).toBe(image.totalBytes);
  expect(pulled.objects).toBe(4);
  const suffix = '?ns=demo.example%3A8443';
  expect(urls.slice(0, 2)).toEqual([
    `HEAD /v2/shoal/demo/manifests/latest${suffix}`,
    `GET /v2/shoal/demo/manifests/${image.manifest.digest}${suffix}`,
  ]);
  expect(urls.slice(2).sort()).toEqual(
    [image.config, ...image.layers].map(({ digest }) => `GET /v2/shoal/demo/blobs/${digest}${suffix}`).sort(),
  );
});

test('progress ends at the total', async () => {
  const { target, image } = await faultyMirror(() => false);
  const seen: [number, number | undefined][] = [];
  await pullImage(target, { onProgress: (received, total) => seen.push([received, total]) });
  expect(seen.at(-1)).toEqual([image.totalBytes, image.totalBytes]);
  expect(seen[0]?.[1]).toBeUndefined();
});

test('one wrong byte fails the pull', async () => {
  const { target } = await faultyMirror((_request, response, whole) => {
    const wrong = Buffer.from(whole);
    wrong[wrong.length >> 1]! ^= 1;
    response.writeHead(200, { 'content-length': wrong.length }).end(wrong);
    return true;
  });
  await expect(pullImage(target)).rejects.toMatchObject({ code: 'wrong-bytes' });
});

test('a body longer than the manifest says fails the pull', async () => {
  const { target } = await faultyMirror((_request, response, whole) => {
    response.writeHead(200, { 'content-length': whole.length + 1 }).end(Buffer.concat([whole, Buffer.from('x')]));
    return true;
  });
  await expect(pullImage(target)).rejects.toMatchObject({ code: 'wrong-bytes' });
});

test('a short body is resumed by Range where it ended', async () => {
  let cuts = 0;
  const { target, image, urls } = await faultyMirror((_request, response, whole) => {
    if (cuts++ > 0) return false;
    cutShort(response, whole.subarray(0, 1_000_000), whole.length);
    return true;
  });
  await expect(pullImage(target)).resolves.toMatchObject({ totalBytes: image.totalBytes });
  expect(urls.filter((url) => url.endsWith('bytes=1000000-'))).toHaveLength(1);
});

test('a resume that is answered with the whole body drops what it has', async () => {
  let cuts = 0;
  const { target, image } = await faultyMirror((_request, response, whole) => {
    if (cuts++ === 0) cutShort(response, whole.subarray(0, 1_000_000), whole.length);
    else response.writeHead(200, { 'content-length': whole.length }).end(whole);
    return true;
  });
  await expect(pullImage(target)).resolves.toMatchObject({ totalBytes: image.totalBytes });
});

test('resuming without progress gives up after three tries', async () => {
  let tries = 0;
  const { target } = await faultyMirror((incoming, response, whole) => {
    tries += 1;
    if (incoming.headers.range === undefined) cutShort(response, whole.subarray(0, 1_000_000), whole.length);
    else response.socket?.end();
    return true;
  });
  await expect(pullImage(target)).rejects.toMatchObject({ code: 'cut-short' });
  expect(tries).toBe(4);
});

test('a reset inside a body fails the pull, as it does in containerd', async () => {
  const { target } = await faultyMirror((_request, response, whole) => {
    response.writeHead(200, { 'content-length': whole.length });
    response.write(whole.subarray(0, 1000), () => setTimeout(() => response.socket?.resetAndDestroy(), 50));
    return true;
  });
  await expect(pullImage(target)).rejects.toMatchObject({ code: 'reset' });
});

test('a refused blob fails the pull at once', async () => {
  const { target } = await faultyMirror((_request, response) => {
    response.writeHead(404).end();
    return true;
  });
  await expect(pullImage(target)).rejects.toMatchObject({ code: 'refused' });
});

test('a mirror that is not there is unreachable', async () => {
  const { target } = await faultyMirror(() => false);
  await expect(pullImage({ ...target, mirrorUrl: 'http://127.0.0.1:1' })).rejects.toMatchObject({
    code: 'unreachable',
  });
});

test('an abort rejects with its reason', async () => {
  const stopping = new AbortController();
  const { target } = await faultyMirror((_request, response, whole) => {
    response.writeHead(200, { 'content-length': whole.length }).write('x');
    setTimeout(() => stopping.abort(new Error('enough')), 20);
    return true;
  });
  await expect(pullImage(target, { signal: stopping.signal })).rejects.toThrow('enough');
});
