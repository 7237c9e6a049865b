// What the kernel tells about a process under /proc. Network interfaces are those of the process's own namespace.
import { readFileSync } from 'node:fs';
import { readFile } from 'node:fs/promises';

/** USER_HZ, the same on every Linux system. */
const TICKS_PER_SECOND = 100;

/** Field 22 of `stat`; with the process id it names a process for good. Undefined when there is no such process. */
export function startTicks(pid: number): number | undefined {
  try {
    return Number(statFields(readFileSync(`/proc/${pid}/stat`, 'utf8'))[19]);
  } catch {
    return undefined;
  }
}

/** User and system time of all threads so far. */
export async function cpuSeconds(pid: number): Promise<number> {
  const [user, system] = statFields(await readFile(`/proc/${pid}/stat`, 'utf8'))
    .slice(11, 13)
    .map(Number);
  return (user! + system!) / TICKS_PER_SECOND;
}

/** Resident memory now (VmRSS), or at its highest (VmHWM). @throws when there is no such process, or it has ended */
export async function statusBytes(pid: number | undefined, field: 'VmRSS' | 'VmHWM'): Promise<number> {
  const status = await readFile(`/proc/${pid}/status`, 'utf8');
  const kibibytes = new RegExp(`^${field}:\\s+(\\d+) kB$`, 'm').exec(status)?.[1];
  if (kibibytes === undefined) throw new Error(`no ${field} in /proc/${pid}/status`);
  return Number(kibibytes) * 1024;
}

export function peakRssBytes(pid: number): Promise<number> {
  return statusBytes(pid, 'VmHWM');
}

/** Time that all processors spent on anything at all, interrupts and time taken by the hypervisor included. */
export async function machineBusySeconds(): Promise<number> {
  const [, ...ticks] = (await readFile('/proc/stat', 'utf8')).split('\n', 1)[0]!.trim().split(/\s+/);
  const [user, nice, system, , , interrupts, softInterrupts, stolen] = ticks.map(Number);
  return (user! + nice! + system! + interrupts! + softInterrupts! + stolen!) / TICKS_PER_SECOND;
}

export interface InterfaceBytes {
  received: number;
  sent: number;
}

export async function interfaceBytes(pid: number, device: string): Promise<InterfaceBytes> {
  const table = await readFile(`/proc/${pid}/net/dev`, 'utf8');
  const line = table.split('\n').find((row) => row.trim().startsWith(`${device}:`));
  if (line === undefined) throw new Error(`process ${pid} has no interface ${device}`);
  const numbers = line
    .slice(line.indexOf(':') + 1)
    .trim()
    .split(/\s+/)
    .map(Number);
  return { received: numbers[0]!, sent: numbers[8]! };
}

/** The fields after the name of the process, which may hold spaces. */
function statFields(stat: string): string[] {
  return stat.slice(stat.lastIndexOf(')') + 2).split(' ');
}
