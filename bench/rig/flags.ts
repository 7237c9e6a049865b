// The quantities that the benches take on their command lines.
import { parseSize } from '../../packages/cli/src/settings/quantity.ts';

const RATE_UNITS: Readonly<Record<string, number>> = { kbit: 1e3, mbit: 1e6, gbit: 1e9 };

export class WrongUsage extends Error {}

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
