// Whether the program in this container answers, as `docker ps` and Compose show it: exits 0 or 1. The image has no curl, and
// needs none. Addresses that were given to the program as a flag or a variable are found; those in a configuration file are not.
import { readFileSync } from 'node:fs';
import { get as getHttp } from 'node:http';
import { get as getHttps } from 'node:https';
import { env, exit, stdout } from 'node:process';

const ANSWER_WITHIN_MS = 4_000;

/** The program's command line; behind `docker run --init` it stands at the end of the init's own. */
const args = readFileSync('/proc/1/cmdline', 'utf8').split('\0');
const isTracker = args.includes('tracker');
const flag = isTracker ? '--listen' : '--admin';
const fromFlag = args.flatMap((arg, index) =>
  arg === flag ? [args[index + 1]] : arg.startsWith(`${flag}=`) ? [arg.slice(flag.length + 1)] : [],
);
// biome-ignore lint/style/noProcessEnv: a program of its own, without the command line's settings
const written = env[isTracker ? 'SHOAL_LISTEN' : 'SHOAL_ADMIN'];
const address = (fromFlag.at(-1) || written || (isTracker ? '0.0.0.0:7302' : '127.0.0.1:7303'))
  .replace(/^0\.0\.0\.0:/, '127.0.0.1:')
  .replace(/^\[::\]:/, '[::1]:');
const url = isTracker ? `https://${address}/healthz` : `http://${address}/readyz`;

// Whether the tracker is the right one is the agents' question: they know its key from the join token.
const request = isTracker ? getHttps(url, { rejectUnauthorized: false }, judge) : getHttp(url, judge);
request.setTimeout(ANSWER_WITHIN_MS, () => fail(`no answer within ${ANSWER_WITHIN_MS / 1000} s`));
request.on('error', (error) => fail(error.message));

function judge(answer) {
  if (answer.statusCode === 200) exit(0);
  fail(`status ${answer.statusCode}`);
}

function fail(why) {
  stdout.write(`${url}: ${why}\n`);
  exit(1);
}
