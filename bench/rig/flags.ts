// The quantities that the benches take on their command lines.
import { type ParseArgsConfig, parseArgs } from 'node:util';
import { parseSize } from '../../packages/cli/src/settings/quantity.ts';

const RATE_UNITS: Readonly<Record<string, number>> = { kbit: 1e3, mbit: 1e6, gbit: 1e9 };

/** `bench` tells it in one line, and ends with 2. */
export class WrongUsage extends RangeError {}

/** @throws WrongUsage with one line that says what to write instead */
export function parsedFlags<const T extends NonNullable<ParseArgsConfig['options']>>(
  flags: readonly string[],
  options: T,
) {
  try {
    return parseArgs({ args: [...flags], options }).values;
  } catch (error) {
    throw new WrongUsage(error instanceof Error ? error.message : String(error));
  }
}

/** Bits per second in `40mbit`, `1.5gbit` or `500kbit`. */
export function parseBitRate(text: string): number | undefined {
  const [, number, unit = ''] = /^(\d{1,9}(?:\.\d{1,3})?)\s*(kbit|mbit|gbit)$/i.exec(text.trim()) ?? [];
  const bits = Math.round(Number(number) * (RATE_UNITS[unit.toLowerCase()] ?? Number.NaN));
  return bits > 0 ? bits : undefined;
}

export function wholeNumber(flag: string, text: string, max: number): number {
  const value = Number(text);
  if (!Number.isInteger(value) || value < 1 || value > max)
    throw new WrongUsage(`--${flag} takes a number from 1 to ${max}`);
  return value;
}

export function size(flag: string, text: string): number {
  const bytes = parseSize(text);
  if (bytes === undefined || bytes < 1) throw new WrongUsage(`--${flag} takes a size like 512MiB`);
  return bytes;
}

export function rate(flag: string, text: string): number {
  const bitsPerSecond = parseBitRate(text);
  if (bitsPerSecond === undefined) throw new WrongUsage(`--${flag} takes a rate like 40mbit`);
  return bitsPerSecond;
}
