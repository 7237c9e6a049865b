/**
 * HTTP Range for blobs (RFC 9110 §14), in two steps, because a mirror reads the header before it knows the size.
 * Only a single range is ever answered with a 206; several ranges get the whole body, which the standard allows and
 * every client accepts.
 */
export type RangeHeader =
  | { kind: 'none' }
  /** Another unit or bad syntax: to be ignored. */
  | { kind: 'invalid' }
  | { kind: 'multiple' }
  /** `A-B` or `A-`; `last` is inclusive, as on the wire. */
  | { kind: 'from'; first: number; last: number | undefined }
  /** `-N`: the last N bytes. */
  | { kind: 'suffix'; lengthBytes: number };

/** What to send: the whole body (200), the bytes `[start, end)` (206), or nothing (416). */
export type ByteRange =
  | { kind: 'whole' }
  | { kind: 'range'; start: number; end: number }
  | { kind: 'unsatisfiable' }
  | { kind: 'multiple' }
  | { kind: 'invalid' };

export function parseRangeHeader(header: string | undefined): RangeHeader {
  if (header === undefined) return { kind: 'none' };
  if (header.slice(0, 6).toLowerCase() !== 'bytes=') return { kind: 'invalid' };
  const [range, ...more] = header
    .slice(6)
    .split(',')
    .map((part) => part.trim())
    .filter((part) => part !== '');
  if (range === undefined) return { kind: 'invalid' };
  if (more.length > 0) return { kind: 'multiple' };
  const dash = range.indexOf('-');
  const first = range.slice(0, dash);
  const last = range.slice(dash + 1);
  if (dash === -1 || !isDigits(first + last)) return { kind: 'invalid' };
  if (first === '') return { kind: 'suffix', lengthBytes: Number(last) };
  return { kind: 'from', first: Number(first), last: last === '' ? undefined : Number(last) };
}

/**
 * A range that ends beyond the blob is clamped; one that starts beyond it, or ends before it starts, cannot be
 * satisfied. An empty blob is always sent whole: some clients put `bytes=0-` on every request.
 */
export function applyRange(header: RangeHeader, sizeBytes: number): ByteRange {
  if (header.kind === 'none' || sizeBytes === 0) return { kind: 'whole' };
  if (header.kind === 'invalid' || header.kind === 'multiple') return header;
  if (header.kind === 'suffix') {
    if (header.lengthBytes === 0) return { kind: 'unsatisfiable' };
    return { kind: 'range', start: Math.max(0, sizeBytes - header.lengthBytes), end: sizeBytes };
  }
  const last = Math.min(header.last ?? Infinity, sizeBytes - 1);
  if (header.first > last) return { kind: 'unsatisfiable' };
  return { kind: 'range', start: header.first, end: last + 1 };
}

function isDigits(text: string): boolean {
  return /^[0-9]+$/.test(text);
}
