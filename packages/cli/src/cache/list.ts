/** `shoal cache ls`: what the agent on this machine has on its disk. */
import { adminLines, askAdmin } from '../admin-client.ts';
import type { CliIo } from '../cli-io.ts';
import { blobSchema, type CachedBlob, pinsSchema } from './answers.ts';
import { blobTable, pinTable, type SortKey, sortBlobs, usageLine } from './tables.ts';

const PROGRAM = 'shoal cache ls';

export interface ListFlags {
  readonly admin: string;
  readonly json: boolean;
  readonly sort: SortKey;
  /** False: digests are whole. */
  readonly trunc: boolean;
  readonly pins: boolean;
}

export async function listCache({ admin, json, sort, trunc, pins: onlyPins }: ListFlags, io: CliIo): Promise<void> {
  const about = { program: PROGRAM, admin, ability: 'list its cache' };
  const { pins, usage } = await askAdmin({ ...about, path: '/v1/cache/pins', answer: pinsSchema });
  if (onlyPins) {
    const text = pins.length === 0 ? 'Nothing is pinned.\n' : pinTable(pins);
    io.stdout.write(json ? `${JSON.stringify({ pins, usage })}\n` : text);
    return;
  }
  const listed: CachedBlob[] = [];
  for await (const blob of adminLines({ ...about, path: '/v1/cache/blobs', answer: blobSchema })) listed.push(blob);
  const blobs = sortBlobs(listed, sort);
  if (json) {
    io.stdout.write(`${JSON.stringify({ blobs, pins, usage })}\n`);
    return;
  }
  const table = blobs.length === 0 ? '' : `${blobTable(blobs, Date.now(), !trunc)}\n`;
  io.stdout.write(`${table}${usageLine(usage)}.\n`);
}
