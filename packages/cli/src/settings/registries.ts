/**
 * The one setting that is a map: how to reach each registry. `HOST=URL` on the command line and, separated by commas, in
 * the environment; in YAML a URL, or a map of the keys below. A host is taken whole from the strongest place that names
 * it, so that the credentials of one place never go to the address of another.
 */
import { normaliseRegistryHost } from '@shoal/oci';
import { duration } from './reader.ts';
import { registryFields } from './registry-fields.ts';
import { readNamedFile } from './secret-file.ts';
import { type Setting, type Source, variableOf } from './setting.ts';
import { type Complain, type Layers, plain, splitList, unknownKey, type Written } from './written.ts';
import type { YamlEntry } from './yaml-file.ts';

interface Registry {
  readonly host: string;
  readonly fields: Record<string, unknown>;
  readonly written: readonly Written[];
}

export interface RegistriesFound {
  /** The schema's input: fields by host. */
  readonly input: Record<string, unknown>;
  readonly written: readonly Written[];
}

/** Undefined when no place names a registry. */
export function findRegistries(setting: Setting, layers: Layers, complain: Complain): RegistriesFound | undefined {
  const { flags, env, entries, file } = layers;
  const given = flags[setting.key] ?? [];
  const strongestFirst = [
    fromTexts(setting, typeof given === 'string' ? [given] : given, { kind: 'flag', key: setting.key }, complain),
    fromTexts(
      setting,
      splitList(env[variableOf(setting.key)] ?? ''),
      { kind: 'environment', key: setting.key },
      complain,
    ),
    fromYaml(setting, entries, file, complain),
  ];
  const chosen: Registry[] = [];
  for (const layer of strongestFirst) {
    const named = new Set(chosen.map(({ host }) => canonical(host)));
    chosen.push(...layer.filter(({ host }) => !named.has(canonical(host))));
  }
  if (chosen.length === 0) return undefined;
  return {
    input: Object.fromEntries(chosen.map(({ host, fields }) => [host, fields])),
    written: chosen.flatMap(({ written }) => written),
  };
}

function canonical(host: string): string {
  return normaliseRegistryHost(host) ?? host;
}

/** Not `USER:PASSWORD`, which somebody may write where an address belongs. */
function isHarmless(text: string): boolean {
  return text.includes('//') || /^[^:]*(:\d{1,5})?$/.test(text);
}

/** `HOST=URL`; of one host named twice the last counts. */
function fromTexts(setting: Setting, texts: readonly string[], source: Source, complain: Complain): Registry[] {
  const byHost = new Map<string, Registry>();
  for (const text of texts) {
    const equals = text.indexOf('=');
    const host = text.slice(0, Math.max(equals, 0)).trim();
    const url = text.slice(equals + 1).trim();
    if (host === '' || url === '') {
      complain(
        { source, value: isHarmless(text) ? text : '…', secret: false },
        'is not HOST=URL; write it like docker.io=http://127.0.0.1:5000',
      );
      continue;
    }
    const path = [...setting.path, host];
    byHost.set(canonical(host), {
      host,
      fields: { url },
      written: [
        { path, source, value: host, secret: false },
        { path: [...path, 'url'], source, value: isHarmless(url) ? url : `${host}=…`, secret: false },
      ],
    });
  }
  return [...byHost.values()];
}

function fromYaml(setting: Setting, entries: readonly YamlEntry[], file: string, complain: Complain): Registry[] {
  const { key } = setting;
  const entry = entries.find((candidate) => candidate.key === key);
  if (entry === undefined || entry.value.kind === 'empty') return [];
  const sourceAt = ({ line, column }: { line: number; column: number }, name = key): Source => {
    return { kind: 'file', key: name, file, line, column };
  };
  if (entry.value.kind !== 'map') {
    const source = sourceAt(entry.value);
    complain({ source, value: plain(entry.value), secret: false }, 'is not a map; write lines of "HOST: URL" below it');
    return [];
  }
  return entry.value.entries.map((one): Registry => {
    const path = [...setting.path, one.key];
    const fields: Record<string, unknown> = {};
    const written: Written[] = [{ path, source: sourceAt(one), value: one.key, secret: false }];
    if (one.value.kind === 'scalar') {
      const url = String(one.value.value);
      fields.url = url;
      const value = isHarmless(url) ? url : `${one.key}: …`;
      written.push({ path: [...path, 'url'], source: sourceAt(one.value), value, secret: false });
    } else if (one.value.kind === 'map') {
      for (const part of one.value.entries) readField(part, path, fields, written, sourceAt, complain);
    } else if (one.value.kind === 'list') {
      complain({ source: sourceAt(one), value: one.key, secret: false }, 'has a list; give it a URL or a map');
    }
    return { host: one.key, fields, written };
  });
}

function readField(
  part: YamlEntry,
  path: readonly string[],
  fields: Record<string, unknown>,
  written: Written[],
  sourceAt: (position: { line: number; column: number }, name?: string) => Source,
  complain: Complain,
): void {
  const known = registryFields.get(part.key);
  const source = sourceAt(part.value, part.key);
  if (known === undefined) {
    const complaint = `has an ${unknownKey(part.key, [...registryFields.keys()])}`;
    complain({ source: sourceAt(part), value: path.at(-1), secret: false }, complaint);
    return;
  }
  if (part.value.kind === 'empty') return;
  const { field, kind, secret = false } = known;
  if (part.value.kind !== 'scalar') {
    complain({ source, value: plain(part.value), secret }, 'is not a single value; give one');
    return;
  }
  if (fields[field] !== undefined) {
    complain(
      { source, value: plain(part.value), secret },
      'gives the same thing a second time; keep one of the two keys',
    );
    return;
  }
  const { value } = part.value;
  // The name of a file is no secret.
  written.push({ path: [...path, field], source, value, secret: secret && kind !== 'file' });
  if (kind === 'text') fields[field] = String(value);
  else if (kind === 'boolean') fields[field] = value;
  else if (kind === 'duration') {
    fields[field] = duration.read(String(value));
    if (fields[field] === undefined) complain({ source, value, secret }, duration.complaint);
  } else {
    const read = readNamedFile(String(value));
    if ('problem' in read) complain({ source, value, secret: false }, read.problem);
    else fields[field] = read.text.trim();
  }
}
