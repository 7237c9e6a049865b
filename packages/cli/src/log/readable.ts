/** One log line for a person: time, level, message, the fields that are left, and an error's stack below it. */

const LEVELS: ReadonlyMap<number, { name: string; color: number }> = new Map([
  [10, { name: 'trace', color: 90 }],
  [20, { name: 'debug', color: 90 }],
  [30, { name: 'info ', color: 32 }],
  [40, { name: 'warn ', color: 33 }],
  [50, { name: 'error', color: 31 }],
  [60, { name: 'fatal', color: 31 }],
]);
/** Fields that every line has and nobody at a terminal needs. */
const HIDDEN: ReadonlySet<string> = new Set(['level', 'time', 'pid', 'hostname', 'msg', 'err', 'name']);
// biome-ignore lint/suspicious/noControlCharactersInRegex: they are what is taken out
const CONTROL = /[\u0000-\u0009\u000b-\u001f\u007f-\u009f]+/g;

/** @param json one line as pino writes it; anything else is passed on as it is */
export function readableLine(json: string, options: { color: boolean }): string {
  const entry = parse(json);
  if (entry === undefined) return json;
  const { level, time, msg, err } = entry;
  const paint = (color: number, text: string): string => (options.color ? `\u001b[${color}m${text}\u001b[0m` : text);
  const { name, color } = LEVELS.get(Number(level)) ?? { name: String(level), color: 0 };
  const at = typeof time === 'number' ? new Date(time) : undefined;
  const clock = at === undefined || Number.isNaN(at.getTime()) ? '' : at.toISOString().slice(11, 23);
  const fields = Object.entries(entry)
    .filter(([key]) => !HIDDEN.has(key))
    .map(([key, value]) => `${key}=${typeof value === 'string' ? value : JSON.stringify(value)}`);
  const parts = [paint(90, clock), paint(color, name), oneLine(msg), paint(90, oneLine(fields.join(' ')))];
  const line = parts.filter((part) => part !== '').join(' ');
  const detail = isRecord(err) ? clean(err.stack ?? err.message) : '';
  return detail === '' ? `${line}\n` : `${line}\n${detail.replaceAll(/^/gm, '    ')}\n`;
}

function parse(json: string): Record<string, unknown> | undefined {
  try {
    const value: unknown = JSON.parse(json);
    return isRecord(value) ? value : undefined;
  } catch {
    return undefined;
  }
}

function isRecord(value: unknown): value is Record<string, unknown> {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}

/** Line breaks of a message or field would look like lines of their own. */
function oneLine(text: unknown): string {
  return clean(text).replaceAll('\n', ' ');
}

function clean(text: unknown): string {
  return text === undefined ? '' : String(text).replaceAll(CONTROL, ' ');
}
