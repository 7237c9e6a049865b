/** Flags out of a table of settings: `--help` names the default and the variable of each. */
import { type Command, Option } from 'commander';
import { flagOf, type Setting, variableOf } from './settings/setting.ts';
import type { FlagValues } from './settings/written.ts';

export function addSettings(command: Command, settings: readonly Setting[]): void {
  command.addOption(new Option('--config <FILE>', 'YAML file with any of these settings  [SHOAL_CONFIG]'));
  for (const setting of settings) {
    if (setting.beginsGroup !== undefined) command.optionsGroup(`${setting.beginsGroup}:`);
    const option = new Option(`${flagOf(setting.key)} <${setting.placeholder}>`, describe(setting));
    if (setting.shape !== 'one') option.argParser(append);
    command.addOption(option);
  }
}

/** What the flags said, by the settings' own keys. */
export function flagValues(command: Command): FlagValues {
  const values: Record<string, string | readonly string[]> = {};
  for (const option of command.options) {
    const value: unknown = command.getOptionValue(option.attributeName());
    if (typeof value === 'string' || Array.isArray(value)) values[option.long?.slice(2) ?? ''] = value;
  }
  return values;
}

function append(value: string, earlier: readonly string[] | undefined): readonly string[] {
  return [...(earlier ?? []), value];
}

function describe({ help, defaultText, key }: Setting): string {
  const standard = defaultText === undefined ? '' : ` (default ${defaultText})`;
  return `${help}${standard}  [${variableOf(key)}]`;
}
