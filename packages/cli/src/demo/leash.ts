/**
 * Loaded into every child with `--import`: when standard input ends, the process that started this one is gone (even by
 * SIGKILL), so this one stops too, politely first.
 */
const LAST_WORD_MS = 5_000;

process.stdin.once('end', () => {
  setTimeout(() => process.kill(process.pid, 'SIGKILL'), LAST_WORD_MS).unref();
  process.kill(process.pid, 'SIGTERM');
});
process.stdin.once('error', () => process.kill(process.pid, 'SIGTERM'));
process.stdin.resume();
if ('unref' in process.stdin) process.stdin.unref();
