/**
 * Settings as a page tells them. A table of settings knows their names, defaults and what each does; how far a value may go, only
 * the schema knows that judges it, so ranges are read there, and written as a person would write them.
 */
import { z } from 'zod';
import { duration } from './reader.ts';
import { registryFields } from './registry-fields.ts';
import { flagOf, type Reader, type Setting, variableOf } from './setting.ts';

export interface SettingDescription {
  readonly key: string;
  readonly flag: string;
  readonly variable: string;
  /** What help calls the value. */
  readonly placeholder: string;
  /** How such a value is written; none for plain text. */
  readonly form?: string;
  readonly shape: Setting['shape'];
  /** `at least 16MiB`, `0 to 1h`, or what a text should look like. */
  readonly range?: string;
  readonly defaultText?: string;
  readonly changeable: boolean;
  readonly help: string;
}

export interface SettingGroup {
  readonly title: string;
  readonly settings: readonly SettingDescription[];
}

/** A key below a registry's host in the YAML file. */
export interface RegistryKeyDescription {
  readonly key: string;
  readonly placeholder: string;
  readonly range?: string;
  readonly help: string;
}

type JsonSchema = z.core.JSONSchema.JSONSchema;

/** In their own order. */
export function describeSettings(settings: readonly Setting[], schema: z.ZodType): readonly SettingGroup[] {
  const root = inputOf(schema);
  const groups: { title: string; settings: SettingDescription[] }[] = [];
  for (const setting of settings) {
    if (setting.beginsGroup !== undefined) groups.push({ title: setting.beginsGroup, settings: [] });
    groups.at(-1)?.settings.push(described(setting, root));
  }
  return groups;
}

export function describeRegistryKeys(settings: readonly Setting[], schema: z.ZodType): RegistryKeyDescription[] {
  const path = settings.find(({ shape }) => shape === 'registries')?.path ?? [];
  const registry = object(at(inputOf(schema), path)?.additionalProperties);
  return [...registryFields].map(([key, { field, placeholder, help, kind }]) => {
    const range = rangeOf(at(registry, [field]), kind === 'duration' ? duration : undefined);
    return { key, placeholder, help, ...(range !== undefined && { range }) };
  });
}

function described(setting: Setting, root: JsonSchema): SettingDescription {
  const { key, placeholder, shape, help, reader, defaultText } = setting;
  const schema = at(root, setting.path);
  const range = shape === 'registries' ? undefined : rangeOf(shape === 'list' ? object(schema?.items) : schema, reader);
  return {
    ...{ key, flag: flagOf(key), variable: variableOf(key), placeholder, shape, help },
    ...(reader.form !== undefined && { form: reader.form }),
    ...(range !== undefined && { range }),
    ...(defaultText !== undefined && { defaultText }),
    changeable: setting.changeable === true,
  };
}

/** What goes into the schema; what it becomes there is of no interest to whoever writes it. */
function inputOf(schema: z.ZodType): JsonSchema {
  return z.toJSONSchema(schema, { io: 'input', unrepresentable: 'any' });
}

function at(root: JsonSchema | undefined, path: readonly string[]): JsonSchema | undefined {
  return path.reduce<JsonSchema | undefined>((schema, step) => object(schema?.properties?.[step]), root);
}

/** Not `true` or `false`, which say nothing of a value, and not one schema for each place of a list. */
function object(schema: JsonSchema | JsonSchema['items']): JsonSchema | undefined {
  return typeof schema === 'object' && !Array.isArray(schema) ? schema : undefined;
}

function rangeOf(schema: JsonSchema | undefined, reader: Reader | undefined): string | undefined {
  const write = reader?.write;
  if (write === undefined) return schema?.description;
  const minimum = schema?.minimum ?? 0;
  const maximum = schema?.maximum ?? Number.MAX_SAFE_INTEGER;
  if (maximum < Number.MAX_SAFE_INTEGER) return `${write(minimum)} to ${write(maximum)}`;
  return minimum > 0 ? `at least ${write(minimum)}` : undefined;
}
