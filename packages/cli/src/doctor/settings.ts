/** Whether the settings can be read: those that the next start of the agent would use. */
import type { CommandFailure } from '../command-failure.ts';
import { type Finding, named } from './finding.ts';

/** @param read what is wrong with them, or the warnings of what is not */
export function checkSettings(
  read: CommandFailure | { warnings: readonly string[] },
  file: string | undefined,
): Finding {
  const { ok, warn, fail } = named('settings');
  const place = file === undefined ? 'flags and SHOAL_* variables' : file;
  if (!('warnings' in read)) {
    const [first = '', ...others] = read.lines.map((line) => line.replace(/^shoal doctor: /, ''));
    // What the agent may read, whoever runs this may not.
    if (first.includes('may not be read by this user')) return warn(first, 'run it as root: sudo shoal doctor');
    const more = others.length === 0 ? '' : `, and ${others.length} more`;
    return fail(`${first}${more}`, `correct ${place}; shoal agent --help explains every setting`);
  }
  const [warning] = read.warnings;
  if (warning !== undefined) return warn(warning, 'correct its name, or unset it');
  return ok(
    file === undefined ? 'no file is named: defaults, flags and SHOAL_* variables' : `${file} is as it should be`,
  );
}
