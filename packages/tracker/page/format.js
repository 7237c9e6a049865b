/** Quantities as people read them. */

const UNITS = ['B', 'KiB', 'MiB', 'GiB', 'TiB', 'PiB'];

/** @param {number | undefined} bytes */
export function size(bytes) {
  if (bytes === undefined) return '–';
  let value = bytes;
  let unit = 0;
  while (value >= 1024 && unit < UNITS.length - 1) {
    value /= 1024;
    unit++;
  }
  return `${unit === 0 || value >= 100 ? Math.round(value) : value.toFixed(1)} ${UNITS[unit]}`;
}

/** Whole per cent; 100 only for all of it. @param {number} part @param {number} whole */
export function percent(part, whole) {
  return part >= whole ? 100 : Math.floor((100 * part) / whole);
}

/** @param {number} ms */
export function duration(ms) {
  const seconds = Math.round(ms / 1000);
  if (seconds < 60) return `${seconds} s`;
  const minutes = Math.floor(seconds / 60);
  if (minutes < 60) return `${minutes} min`;
  const hours = Math.floor(minutes / 60);
  return hours < 48 ? `${hours} h ${minutes % 60} min` : `${Math.floor(hours / 24)} days`;
}

/** `sha256:1234567890ab…` @param {string} digest */
export function shortDigest(digest) {
  return digest.replace(/^(.*?[a-z0-9]+:[0-9a-f]{12})[0-9a-f]+$/, '$1…');
}

/** @param {number} count @param {string} one @param {string} [more] */
export function counted(count, one, more = `${one}s`) {
  return `${count.toLocaleString('en')} ${count === 1 ? one : more}`;
}
