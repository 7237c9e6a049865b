/** Blobs and pins for people to read. */
import type { CachedBlob, CachePin, CacheUsage } from './answers.ts';

export type SortKey = 'used' | 'size' | 'name';

/** `sha256:` and as much of the hash as tells blobs apart, and can be given back to the command. */
const SHORT_DIGEST = 'sha256:'.length + 12;
const SECONDS: readonly [string, number][] = [
  ['d', 86_400],
  ['h', 3_600],
  ['min', 60],
  ['s', 1],
];

/** The most recently used, the largest, or the alphabet's first one comes first. */
export function sortBlobs(blobs: readonly CachedBlob[], key: SortKey): CachedBlob[] {
  const order: Record<SortKey, (a: CachedBlob, b: CachedBlob) => number> = {
    used: (a, b) => Date.parse(b.usedAt) - Date.parse(a.usedAt),
    size: (a, b) => b.sizeBytes - a.sizeBytes,
    name: (a, b) => compare(`${a.registry}/${a.digest}`, `${b.registry}/${b.digest}`),
  };
  return [...blobs].sort(order[key]);
}

export function blobTable(blobs: readonly CachedBlob[], nowMs: number, isWhole: boolean): string {
  const rows = blobs.map((blob) => [
    isWhole ? blob.digest : shortDigest(blob.digest),
    bytesText(blob.sizeBytes),
    blob.kind ?? '-',
    ago(nowMs - Date.parse(blob.usedAt)),
    [...(blob.pinned ? ['pinned'] : []), ...(blob.inUse ? ['being read'] : [])].join(', '),
    blob.registry,
  ]);
  return table(['digest', 'size', 'kind', 'last used', '', 'registry'], rows, [1]);
}

export function pinTable(pins: readonly CachePin[]): string {
  const rows = pins.map(({ name, blobs, bytes, missing }) => [
    name,
    bytesText(bytes),
    String(blobs),
    missing === 0 ? '' : `${missing} not here`,
  ]);
  return table(['pin', 'size', 'blobs', ''], rows, [1, 2]);
}

export function usageLine({ bytes, blobs, quotaBytes, pinnedBytes, inRuntime }: CacheUsage): string {
  const pinned = pinnedBytes === 0 ? '' : `, ${bytesText(pinnedBytes)} of it pinned`;
  const beside =
    inRuntime === undefined
      ? ''
      : `; beside it ${count(inRuntime.blobs, 'blob')}, ${bytesText(inRuntime.bytes)}, shared from containerd's own store`;
  return `${count(blobs, 'blob')}; ${bytesText(bytes)} of ${bytesText(quotaBytes)} used${pinned}${beside}`;
}

export function shortDigest(digest: string): string {
  return digest.slice(0, SHORT_DIGEST);
}

export function count(number: number, what: string): string {
  return `${number} ${what}${number === 1 ? '' : 's'}`;
}

/** In powers of 1000, with one decimal. */
export function bytesText(bytes: number): string {
  const units = ['B', 'kB', 'MB', 'GB', 'TB'];
  let [value, unit] = [bytes, 0];
  while (value >= 999.95 && unit < units.length - 1) {
    value /= 1_000;
    unit++;
  }
  return `${unit === 0 ? value : value.toFixed(1)} ${units[unit]}`;
}

/** In its largest unit. */
function ago(ms: number): string {
  const seconds = Math.round(ms / 1_000);
  for (const [unit, length] of SECONDS) if (seconds >= length) return `${Math.floor(seconds / length)} ${unit} ago`;
  return 'now';
}

/** @param numeric columns that stand to the right */
function table(head: readonly string[], rows: readonly string[][], numeric: readonly number[]): string {
  const all = [head, ...rows];
  const widths = head.map((_, column) => all.reduce((width, row) => Math.max(width, row[column]?.length ?? 0), 0));
  const line = (row: readonly string[]): string =>
    row
      .map((cell, column) => {
        const width = widths[column] ?? 0;
        return numeric.includes(column) ? cell.padStart(width) : cell.padEnd(width);
      })
      .filter((_, column) => (widths[column] ?? 0) > 0)
      .join('  ')
      .trimEnd();
  return all.map((row) => `${line(row)}\n`).join('');
}

function compare(a: string, b: string): number {
  return a < b ? -1 : a > b ? 1 : 0;
}
