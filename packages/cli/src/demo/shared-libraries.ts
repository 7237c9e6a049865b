/**
 * The libraries a Node binary loads before its first line of script: what a base image for it must hold. Asked of a
 * fresh process, because this one may have loaded addons of its own.
 */
import { execFile } from 'node:child_process';
import { promisify } from 'node:util';

const PROBE_TIMEOUT_MS = 15_000;
const PROBE =
  'process.report.excludeNetwork = true; console.log(JSON.stringify(process.report.getReport().sharedObjects))';

/** Absolute paths as the loader resolved them (often symbolic links); empty where the platform tells none. */
export async function sharedLibrariesOf(nodeBinary: string): Promise<string[]> {
  const { stdout } = await promisify(execFile)(nodeBinary, ['-e', PROBE], { timeout: PROBE_TIMEOUT_MS });
  const listed: unknown = JSON.parse(stdout);
  return Array.isArray(listed) ? listed.filter(isLibraryFile).sort() : [];
}

/** The kernel's own `linux-vdso.so.1` is listed too, but is no file. */
function isLibraryFile(name: unknown): name is string {
  return typeof name === 'string' && /^\/.*\.so(\.\d+)*$/.test(name);
}
