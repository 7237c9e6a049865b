/** Numbers as people write them on a command line. Each throws a RangeError that says what was expected. */

const SIZES: Record<string, number> = {
  '': 1,
  b: 1,
  kb: 1e3,
  mb: 1e6,
  gb: 1e9,
  tb: 1e12,
  kib: 2 ** 10,
  mib: 2 ** 20,
  gib: 2 ** 30,
  tib: 2 ** 40,
};
const RATES: Record<string, number> = { bit: 1, kbit: 1e3, mbit: 1e6, gbit: 1e9 };
const DURATIONS: Record<string, number> = { ms: 1, s: 1_000, m: 60_000 };

/** @example 1GiB, 500MB, 1048576 */
export function parseSize(text: string): number {
  return Math.round(parse(text, SIZES, 'a size such as 1GiB or 500MB'));
}

/** Bits per second. @example 1gbit, 100mbit */
export function parseRate(text: string): number {
  return parse(text, RATES, 'a rate such as 1gbit or 100mbit');
}

/** Milliseconds. @example 5ms, 1.5s */
export function parseDuration(text: string): number {
  return parse(text, DURATIONS, 'a time such as 5ms or 1.5s');
}

/** @example 2s-5s */
export function parseSpan(text: string): { fromMs: number; toMs: number } {
  const [from, to, ...more] = text.split('-');
  if (from === undefined || to === undefined || more.length > 0) {
    throw new RangeError(`"${text}" is not a span such as 2s-5s`);
  }
  const span = { fromMs: parseDuration(from), toMs: parseDuration(to) };
  if (span.toMs <= span.fromMs) throw new RangeError(`"${text}" ends before it begins`);
  return span;
}

/** @param text from `min` to `max` */
export function parseNumber(text: string, min: number, max: number): number {
  const value = text.trim() === '' ? Number.NaN : Number(text);
  if (!(value >= min && value <= max)) throw new RangeError(`"${text}" is not a number from ${min} to ${max}`);
  return value;
}

export function parseCount(text: string, min: number, max: number): number {
  const value = parseNumber(text, min, max);
  if (!Number.isInteger(value)) throw new RangeError(`"${text}" is not a whole number`);
  return value;
}

function parse(text: string, units: Record<string, number>, expected: string): number {
  const match = /^(\d+(?:\.\d+)?)\s*([a-z]*)$/i.exec(text.trim());
  const factor = units[match?.[2]?.toLowerCase() ?? 'none'];
  if (match === null || factor === undefined) throw new RangeError(`"${text}" is not ${expected}`);
  return Number(match[1]) * factor;
}
