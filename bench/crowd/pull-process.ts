/**
 * One node's container runtime: `pull-process MIRROR_URL REGISTRY REPOSITORY TAG`. It pulls when it is told to, three
 * blobs at a time, checks every digest, and never goes to the registry itself. It also reads pages that can only be had
 * from inside its namespace: metrics.
 */
import http from 'node:http';
import https from 'node:https';
import { text } from 'node:stream/consumers';
import { pullImage } from '../../packages/cli/src/demo/pull-client.ts';
import { endWithRig, tell, tellFailure } from '../rig/messages.ts';

const PROGRESS_INTERVAL_MS = 250;
const PAGE_TIMEOUT_MS = 10_000;

export interface PullOrder {
  readonly type: 'pull';
  readonly timeoutMs: number;
}

export interface PageOrder {
  readonly type: 'read';
  readonly url: string;
}

export interface PullProgress {
  readonly type: 'progress';
  readonly receivedBytes: number;
  readonly totalBytes: number | undefined;
}

export interface PullEnded {
  readonly type: 'ended';
  /** From the order to the last verified byte. */
  readonly seconds: number;
  readonly receivedBytes: number;
  /** Undefined when all of it came. */
  readonly failure: string | undefined;
}

export interface Page {
  readonly type: 'page';
  readonly text: string;
}

const [mirrorUrl, registry, repository, reference] = process.argv.slice(2) as [string, string, string, string];

async function pull({ timeoutMs }: PullOrder): Promise<void> {
  const startedMs = performance.now();
  let progress: PullProgress = { type: 'progress', receivedBytes: 0, totalBytes: undefined };
  const timer = setInterval(() => tell(progress), PROGRESS_INTERVAL_MS);
  const target = { mirrorUrl, registry, repository, reference, platform: { os: 'linux', architecture: 'amd64' } };
  const options = {
    signal: AbortSignal.timeout(timeoutMs),
    onProgress: (receivedBytes: number, totalBytes: number | undefined) => {
      progress = { type: 'progress', receivedBytes, totalBytes };
    },
  };
  const failure = await pullImage(target, options).then(
    () => undefined,
    (error: unknown) => String(error),
  );
  clearInterval(timer);
  tell(progress);
  const seconds = (performance.now() - startedMs) / 1_000;
  tell<PullEnded>({ type: 'ended', seconds, receivedBytes: progress.receivedBytes, failure });
}

/** The tracker's certificate is its own; nothing secret is asked or told. */
function read({ url }: PageOrder): void {
  const options = { rejectUnauthorized: false, timeout: PAGE_TIMEOUT_MS };
  const request = (url.startsWith('https:') ? https : http).get(url, options, (answer) => {
    text(answer).then((page) => tell<Page>({ type: 'page', text: page }), tellFailure);
  });
  request.on('timeout', () => request.destroy(new Error(`no answer from ${url}`)));
  request.on('error', tellFailure);
}

endWithRig();
process.on('message', (order: PullOrder | PageOrder) => {
  if (order.type === 'read') read(order);
  else pull(order).catch(tellFailure);
});
tell({ type: 'ready' });
