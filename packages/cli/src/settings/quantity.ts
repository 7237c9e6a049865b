/** Sizes and durations as people write them. */

const SIZE_UNITS: ReadonlyMap<string, number> = new Map([
  ['', 1],
  ['b', 1],
  ['kb', 1e3],
  ['mb', 1e6],
  ['gb', 1e9],
  ['tb', 1e12],
  ['k', 2 ** 10],
  ['m', 2 ** 20],
  ['g', 2 ** 30],
  ['t', 2 ** 40],
  ['ki', 2 ** 10],
  ['mi', 2 ** 20],
  ['gi', 2 ** 30],
  ['ti', 2 ** 40],
  ['kib', 2 ** 10],
  ['mib', 2 ** 20],
  ['gib', 2 ** 30],
  ['tib', 2 ** 40],
]);

const DURATION_UNITS: ReadonlyMap<string, number> = new Map([
  ['ms', 1],
  ['s', 1_000],
  ['m', 60_000],
  ['h', 3_600_000],
  ['d', 86_400_000],
]);

/**
 * Bytes in `50GiB`, `500MB`, `1.5 GiB` or `1048576`: `kB`, `MB`… are powers of 1000; `KiB`, `MiB`… and the bare letters
 * `K`, `M`… powers of 1024, as in container tools. Undefined when it is not a size, or too large to count exactly.
 */
export function parseSize(text: string): number | undefined {
  return scaled(text, SIZE_UNITS);
}

/** Bytes per second: a size, with or without `/s` behind it. */
export function parseRate(text: string): number | undefined {
  return parseSize(text.replace(/\/s\s*$/i, ''));
}

/** Milliseconds in `500ms`, `3s`, `1.5m`, `1h` or `7d`; a unit is required, except for `0`. */
export function parseDuration(text: string): number | undefined {
  return text.trim() === '0' ? 0 : scaled(text, DURATION_UNITS);
}

/** The shortest text without a fraction that `parseSize` reads as so many bytes: `16MiB`, `1000`. */
export function writtenSize(bytes: number): string {
  return inLargest(bytes, SIZE_UNITS, ['TiB', 'GiB', 'MiB', 'KiB']) ?? String(bytes);
}

/** The same for `parseDuration`: `10m`, `365d`, `0`. */
export function writtenDuration(timeMs: number): string {
  return inLargest(timeMs, DURATION_UNITS, ['d', 'h', 'm', 's', 'ms']) ?? String(timeMs);
}

/** In the first of these units, largest first, that goes into the value without a rest. */
function inLargest(value: number, units: ReadonlyMap<string, number>, largestFirst: string[]): string | undefined {
  if (value === 0) return undefined;
  for (const unit of largestFirst) {
    const scale = units.get(unit.toLowerCase()) ?? Number.NaN;
    if (value % scale === 0) return `${value / scale}${unit}`;
  }
  return undefined;
}

function scaled(text: string, units: ReadonlyMap<string, number>): number | undefined {
  const match = /^(\d{1,16}(?:\.\d{1,6})?)\s*([a-z]{0,3})$/i.exec(text.trim());
  const unit = units.get(match?.[2]?.toLowerCase() ?? '');
  if (match === null || unit === undefined) return undefined;
  const value = Math.round(Number(match[1]) * unit);
  return Number.isSafeInteger(value) ? value : undefined;
}
