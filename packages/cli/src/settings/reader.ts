/** The ways a setting's text is read. What the value may be beyond its form is the schema's matter. */
import { parseHostPort } from './host-port.ts';
import { parseDuration, parseRate, parseSize } from './quantity.ts';
import type { Reader } from './setting.ts';

export const plainText: Reader = { complaint: 'is not text', read: (written) => written };

export const address: Reader = {
  complaint: 'is not an address; write it as HOST:PORT, e.g. 127.0.0.1:7300 or [::1]:7300',
  read: parseHostPort,
};

export const size: Reader = {
  complaint: 'is not a size; write it like 50GiB, 500MB or a plain number of bytes',
  read: parseSize,
};

export const rate: Reader = {
  complaint: 'is not a rate; write it in bytes per second, like 50MiB, 500kB/s or a plain number',
  read: parseRate,
};

export const duration: Reader = {
  complaint: 'is not a duration; write it like 500ms, 3s or 1m',
  read: parseDuration,
};

export const percent: Reader = {
  complaint: 'is not a share; write it in per cent, like 90',
  read: (written) => wholeNumber.read(written.replace(/\s*%\s*$/, '')),
};

export const yesOrNo: Reader = {
  complaint: 'is not true or false; write one of them',
  read: (written) => (written === 'true' ? true : written === 'false' ? false : undefined),
};

export const wholeNumber: Reader = {
  complaint: 'is not a whole number; write it in digits',
  read: (written) => (/^\d{1,15}$/.test(written.trim()) ? Number(written) : undefined),
};
