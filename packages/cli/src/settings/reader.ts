/** The ways a setting's text is read. What the value may be beyond its form is the schema's matter. */
import { parseHostPort } from './host-port.ts';
import { parseDuration, parseRate, parseSize, writtenDuration, writtenSize } from './quantity.ts';
import type { Reader } from './setting.ts';

export const plainText: Reader = { complaint: 'is not text', read: (written) => written };

export const address: Reader = {
  form: 'a name or an address, and a port; IPv6 in brackets: `[::1]:7300`; port 0 takes a free one',
  complaint: 'is not an address; write it as HOST:PORT, e.g. 127.0.0.1:7300 or [::1]:7300',
  read: parseHostPort,
};

export const size: Reader = {
  form: '`kB`, `MB`, `GB`, `TB` are powers of 1000; `KiB`, `MiB`, `GiB`, `TiB`, or `K`, `M`, `G`, `T`, powers of 1024: `50GiB`, `1.5 GB`; a plain number is bytes',
  complaint: 'is not a size; write it like 50GiB, 500MB or a plain number of bytes',
  read: parseSize,
  write: writtenSize,
};

export const rate: Reader = {
  form: 'a size per second, with or without `/s`: `50MiB`, `500kB/s`',
  complaint: 'is not a rate; write it in bytes per second, like 50MiB, 500kB/s or a plain number',
  read: parseRate,
  write: writtenSize,
};

export const duration: Reader = {
  form: '`ms`, `s`, `m`, `h` or `d`: `500ms`, `1.5m`, `7d`; only `0` needs no unit',
  complaint: 'is not a duration; write it like 500ms, 3s or 1m',
  read: parseDuration,
  write: writtenDuration,
};

export const percent: Reader = {
  form: 'per cent, with or without the sign: `90`, `90%`',
  complaint: 'is not a share; write it in per cent, like 90',
  read: (written) => wholeNumber.read(written.replace(/\s*%\s*$/, '')),
  write: (value) => `${value}%`,
};

export const yesOrNo: Reader = {
  complaint: 'is not true or false; write one of them',
  read: (written) => (written === 'true' ? true : written === 'false' ? false : undefined),
};

export const wholeNumber: Reader = {
  form: 'a whole number, in digits',
  complaint: 'is not a whole number; write it in digits',
  read: (written) => (/^\d{1,15}$/.test(written.trim()) ? Number(written) : undefined),
  write: String,
};
