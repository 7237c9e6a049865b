/** Fields whose value never reaches a log line, at the top, one object down and in headers. */
const SECRET_FIELDS = [
  'authorization',
  'Authorization',
  'proxy-authorization',
  'cookie',
  'set-cookie',
  'token',
  'joinToken',
  'password',
  'secret',
  'session',
  'certificate',
];

export const REDACTED = '[redacted]';

export const redactedPaths: readonly string[] = SECRET_FIELDS.flatMap((field) => [
  `["${field}"]`,
  `*["${field}"]`,
  `*.headers["${field}"]`,
]);
