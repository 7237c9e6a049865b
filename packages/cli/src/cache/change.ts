/** `shoal cache rm`, `prune`, `pin` and `unpin`: one question each, and a sentence about what came of it. */
import { askAdmin } from '../admin-client.ts';
import type { CliIo } from '../cli-io.ts';
import { pinnedSchema, prunedSchema, removedSchema, unpinnedSchema } from './answers.ts';
import { blobTable, bytesText, count, usageLine } from './tables.ts';

/** Many files take their time. */
const CHANGE_WITHIN_MS = 120_000;

interface Target {
  readonly admin: string;
  readonly json: boolean;
}

export async function removeBlobs(
  names: readonly string[],
  { admin, json, force }: Target & { force: boolean },
  io: CliIo,
): Promise<void> {
  const about = { program: 'shoal cache rm', admin, path: '/v1/cache/remove', ability: 'remove blobs' };
  const body = { names, force };
  const answer = await askAdmin({ ...about, body, answer: removedSchema, withinMs: CHANGE_WITHIN_MS });
  if (json) {
    io.stdout.write(`${JSON.stringify(answer)}\n`);
    return;
  }
  const { blobs, bytes, named, keptPinned } = answer;
  const read = named.filter(({ inUse }) => inUse).length;
  io.stdout.write(`Removed ${count(blobs, 'blob')}, ${bytesText(bytes)}.\n`);
  if (read > 0) io.stdout.write(`Being read, and off the disk when that is over: ${read}.\n`);
  if (keptPinned > 0) io.stdout.write(`Kept, because they are pinned for another image: ${keptPinned}.\n`);
}

export interface PruneFlags extends Target {
  /** Bytes. */
  readonly keep?: number;
  /** Milliseconds. */
  readonly olderThan?: number;
  readonly dryRun: boolean;
}

export async function pruneCache({ admin, json, keep, olderThan, dryRun }: PruneFlags, io: CliIo): Promise<void> {
  const about = { program: 'shoal cache prune', admin, path: '/v1/cache/prune', ability: 'prune its cache' };
  const body = { keepBytes: keep, olderThanMs: olderThan, dryRun };
  const answer = await askAdmin({ ...about, body, answer: prunedSchema, withinMs: CHANGE_WITHIN_MS });
  if (json) {
    io.stdout.write(`${JSON.stringify({ dryRun, ...answer })}\n`);
    return;
  }
  const { blobs, bytes, partials, named, usage } = answer;
  if (dryRun && named.length > 0) io.stdout.write(`${blobTable(named, Date.now(), false)}`);
  if (dryRun && blobs > named.length) io.stdout.write(`and ${blobs - named.length} more\n`);
  const halves = partials === 0 ? '' : ` and ${count(partials, 'half-pulled one')}`;
  io.stdout.write(`${dryRun ? 'Would remove' : 'Removed'} ${count(blobs, 'blob')}${halves}, ${bytesText(bytes)}.\n`);
  io.stdout.write(`Now: ${usageLine(usage)}.\n`);
}

export async function pinBlobs(names: readonly string[], { admin, json }: Target, io: CliIo): Promise<void> {
  const about = { program: 'shoal cache pin', admin, path: '/v1/cache/pin', ability: 'pin blobs' };
  const answer = await askAdmin({ ...about, body: { names }, answer: pinnedSchema });
  if (json) {
    io.stdout.write(`${JSON.stringify(answer)}\n`);
    return;
  }
  for (const { name, blobs, bytes, missing } of answer.pins) {
    const later = missing === 0 ? '' : ` Not here yet, and kept as soon as they are pulled: ${missing}.`;
    io.stdout.write(`Pinned: ${name}, ${count(blobs, 'blob')}, ${bytesText(bytes)}.${later}\n`);
  }
}

export async function unpinBlobs(names: readonly string[], { admin, json }: Target, io: CliIo): Promise<void> {
  const about = { program: 'shoal cache unpin', admin, path: '/v1/cache/unpin', ability: 'unpin blobs' };
  const answer = await askAdmin({ ...about, body: { names }, answer: unpinnedSchema });
  const lines = json ? [JSON.stringify(answer)] : answer.unpinned.map((name) => `Unpinned: ${name}.`);
  for (const line of lines) io.stdout.write(`${line}\n`);
}
