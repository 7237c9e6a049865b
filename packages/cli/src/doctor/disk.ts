/** Whether the data folder can be written to, and its disk holds what the cache may take. */
import { megabytes } from '../demo/report.ts';
import type { DataFacts } from './facts.ts';
import { type Finding, named } from './finding.ts';

const GIGABYTES_FROM = 10e9;

export function checkDisk({
  path,
  exists,
  freeBytes,
  problem,
  cacheBytes,
  quotaBytes,
  minFreeBytes,
}: DataFacts): Finding {
  const { ok, warn, fail } = named('disk');
  if (problem !== undefined) return fail(...unwritable(path, exists, problem));
  const free = `${size(freeBytes)} free at ${path}`;
  if (freeBytes <= minFreeBytes) {
    return fail(
      `${free}, and min-free-disk wants ${size(minFreeBytes)} left: what is pulled is passed on but not kept`,
      `free some (du -xh ${path} | sort -h | tail), or set a lower min-free-disk, or data on another disk, in /etc/shoal/agent.yaml`,
    );
  }
  if (cacheBytes === undefined) return ok(`${free}; cache-size is ${size(quotaBytes)}`);
  const roomBytes = freeBytes - minFreeBytes + cacheBytes;
  if (roomBytes < quotaBytes) {
    return warn(
      `${free}: the cache may grow to ${size(roomBytes)}, not to the ${size(quotaBytes)} of cache-size`,
      `set cache-size: ${Math.max(16, Math.floor((roomBytes * 0.9) / 2 ** 20))}MiB in /etc/shoal/agent.yaml, or free some space`,
    );
  }
  return ok(`${free}; the cache holds ${size(cacheBytes)} of ${size(quotaBytes)}`);
}

function size(bytes: number): string {
  return bytes < GIGABYTES_FROM ? megabytes(bytes) : `${(bytes / 1e9).toFixed(1)} GB`;
}

function unwritable(path: string, exists: boolean, problem: string): [detail: string, todo: string] {
  const what = exists ? `the data folder ${path}` : `where the data folder ${path} would be made`;
  switch (problem) {
    case 'EROFS':
      return [
        `${what} is on a read-only file system`,
        `mount it read-write (findmnt -T ${path}; dmesg tells why it went read-only)`,
      ];
    case 'ENOSPC':
    case 'EDQUOT':
      return [
        `${what} has no space left`,
        `free some: du -xh ${path} | sort -h | tail; or set data: in /etc/shoal/agent.yaml`,
      ];
    case 'EACCES':
    case 'EPERM':
      return [
        `${what} may not be written by this user`,
        exists
          ? `give it to the agent's user: chown -R USER ${path}; or run this as root`
          : `make it for the agent's user: install -d -o USER ${path}; or run this as root`,
      ];
    case 'ENOTDIR':
      return [`${what} is not a folder`, 'set data: to a folder in /etc/shoal/agent.yaml (or --data DIR)'];
    default:
      return [
        `${what} cannot be written to (${problem})`,
        'see dmesg for what the disk says, or set data: in /etc/shoal/agent.yaml',
      ];
  }
}
