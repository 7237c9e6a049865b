/** `shoal cache verify`: the agent reads every blob back, and this says how far it is and what was damaged. */
import { adminLines } from '../admin-client.ts';
import type { CliIo } from '../cli-io.ts';
import { CommandFailure } from '../command-failure.ts';
import { bar } from '../demo/progress.ts';
import { type CachedBlob, verifySchema } from './answers.ts';
import { bytesText, count } from './tables.ts';

const PROGRAM = 'shoal cache verify';
const CLEAR_LINE = '\r\u001b[2K';

/** @throws CommandFailure when a blob was damaged, the agent does not answer, or somebody ended it */
export async function verifyCache({ admin, json }: { admin: string; json: boolean }, io: CliIo): Promise<void> {
  const stopped = new AbortController();
  const stopListening = io.onSignal(() => stopped.abort());
  const clear = io.stderr.isTTY === true ? CLEAR_LINE : '';
  const damaged: CachedBlob[] = [];
  let [blobs, bytes, isDone] = [0, 0, false];
  try {
    const about = { program: PROGRAM, admin, path: '/v1/cache/verify', body: {}, ability: 'verify its cache' };
    for await (const line of adminLines({ ...about, answer: verifySchema, signal: stopped.signal })) {
      [blobs, bytes, isDone] = [line.checkedBlobs, line.checkedBytes, line.done];
      damaged.push(...line.damaged);
      if (clear === '') continue;
      const share = line.totalBytes === 0 ? 1 : bytes / line.totalBytes;
      io.stderr.write(`${clear}${bar(share)}  ${bytesText(bytes)} of ${bytesText(line.totalBytes)}`);
    }
  } catch (error) {
    if (!stopped.signal.aborted) throw error;
  } finally {
    io.stderr.write(clear);
    stopListening();
  }
  if (json) io.stdout.write(`${JSON.stringify({ done: isDone, blobs, bytes, damaged })}\n`);
  else tell(damaged, blobs, bytes, io);
  if (stopped.signal.aborted) throw new CommandFailure(`${PROGRAM}: ended before all blobs were read`);
  if (!isDone) throw new CommandFailure(`${PROGRAM}: the agent stopped before all blobs were read; see its log`);
  if (damaged.length === 0) return;
  const what = damaged.length === 1 ? '1 blob was' : `${damaged.length} blobs were`;
  throw new CommandFailure(`${PROGRAM}: ${what} damaged and dropped; what is asked for again is pulled again`);
}

function tell(damaged: readonly CachedBlob[], blobs: number, bytes: number, io: CliIo): void {
  for (const { registry, digest, sizeBytes } of damaged) {
    io.stdout.write(`damaged  ${registry}/${digest}  ${bytesText(sizeBytes)}\n`);
  }
  io.stdout.write(`${count(blobs, 'blob')} read back, ${bytesText(bytes)}: ${damaged.length} damaged.\n`);
}
