/** Content-Range (RFC 9110 §14.4) of a 206 or a 416. */
export interface ContentRange {
  /** Undefined in a 416. */
  served: { start: number; end: number } | undefined;
  /** Undefined when the sender does not know it (`*`). */
  sizeBytes: number | undefined;
}

/** Returns undefined for anything that is not a possible range of bytes. `end` is exclusive. */
export function parseContentRange(header: string | undefined): ContentRange | undefined {
  const match = /^bytes +(?:(\d{1,15})-(\d{1,15})|\*)\/(?:(\d{1,15})|\*)$/i.exec(header?.trim() ?? '');
  if (match === null) return undefined;
  const [, first, last, total] = match;
  const sizeBytes = total === undefined ? undefined : Number(total);
  if (first === undefined || last === undefined) return { served: undefined, sizeBytes };
  const served = { start: Number(first), end: Number(last) + 1 };
  if (served.start >= served.end || served.end > (sizeBytes ?? Infinity)) return undefined;
  return { served, sizeBytes };
}
