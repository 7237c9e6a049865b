import { inspect } from 'node:util';
import { pino } from 'pino';
import { expect, test } from 'vitest';
import { type Asker, ClientAuthorization } from '../origin/asker.ts';
import { OriginError } from '../origin/origin-client.ts';
import { Admissions, type AdmissionsOptions, type Question } from './admission.ts';
import { memoryNotes } from './memory-notes.fixture.ts';

const repository = { registry: 'ghcr.io', name: 'org/secret' };
const alice = ClientAuthorization.from('Bearer alice')!;
const bob = ClientAuthorization.from('Basic Ym9iOmJvYg==')!;
const challenge = ['Bearer realm="https://ghcr.io/token",service="ghcr.io"'];
const no = new OriginError('unauthorized', 'no', { status: 401, challenge });
const down = new OriginError('unreachable', 'down');
const missing = new OriginError('not-found', 'no such manifest');

function build(options: AdmissionsOptions = {}) {
  const world = {
    nowMs: 1_000_000_000,
    /** Who may read the repository; while `failure` is set the registry cannot be asked. */
    readers: new Set<Asker>([alice]),
    failure: undefined as OriginError | undefined,
    asked: [] as Asker[],
    /** How long ago the registry said what is told, to another member. */
    ageMs: 0,
    notes: memoryNotes(),
  };
  const dependencies = { notes: world.notes, logger: pino({ level: 'silent' }), now: () => world.nowMs };
  const open = () => new Admissions(options, dependencies);
  let admissions = open();
  const ask = async (asker: Asker) => {
    world.asked.push(asker);
    if (world.failure !== undefined) throw world.failure;
    if (!world.readers.has(asker)) throw no;
    return { answer: 'asked', atMs: world.nowMs - world.ageMs };
  };
  const put = (client?: ClientAuthorization, more: { told?: Asker; recall?: () => Promise<string | undefined> } = {}) =>
    admissions.put<string>(repository, client, {
      recall: more.recall ?? (async () => 'recalled'),
      ask,
      fallBack: async ({ asker }, error) => {
        if (asker === more.told) return { answer: 'told', atMs: world.nowMs - world.ageMs };
        throw error;
      },
    });
  const restart = () => {
    admissions = open();
    return admissions;
  };
  const question = (asked: Question<string>, client?: ClientAuthorization) => admissions.put(repository, client, asked);
  return Object.assign(world, {
    put,
    question,
    restart,
    refused: (asker: Asker) => admissions.refused(repository, asker),
  });
}

test('19: a client is told what is known only after the registry accepted its own credential', async () => {
  const world = build();
  expect(await world.put(alice)).toEqual({ answer: 'asked', asker: alice });
  expect(await world.put(alice)).toEqual({ answer: 'recalled', asker: alice });
  await expect(world.put(bob)).rejects.toBe(no);
  await expect(world.put()).rejects.toBe(no);
  expect(world.asked).toEqual([alice, bob, 'anonymous']);
});

test('two headers with one credential each are two clients, whatever they spell', () => {
  expect(ClientAuthorization.from('Bearer alice')?.id).toBe(alice.id);
  expect(new Set([alice.id, bob.id, ClientAuthorization.from('Bearer bob')?.id]).size).toBe(3);
  const senseless = [
    undefined,
    '',
    'Bearer',
    'Negotiate abc',
    'Bearer a b',
    'Bearer ä',
    `Bearer ${'x'.repeat(20_000)}`,
  ];
  for (const header of senseless) expect(ClientAuthorization.from(header)).toBeUndefined();
});

test('a credential shows up nowhere but in its header', () => {
  expect(JSON.stringify({ alice }) + String(alice) + inspect(alice)).not.toMatch(/Bearer|alice['"]?$/);
  expect(alice.header).toBe('Bearer alice');
});

test('a yes counts for a while; then the registry is asked again, and revoked rights are gone', async () => {
  const world = build({ grantMs: 1_000 });
  await world.put(alice);
  world.readers.delete(alice);
  world.nowMs += 999;
  expect((await world.put(alice)).answer).toBe('recalled');
  world.nowMs += 1;
  await expect(world.put(alice)).rejects.toBe(no);
});

test('rights that turn out to be gone are gone at once', async () => {
  const world = build();
  await world.put(alice);
  world.refused(alice);
  world.readers.delete(alice);
  await expect(world.put(alice)).rejects.toBe(no);
  const asking = build();
  await asking.put(alice);
  asking.readers.delete(alice);
  await expect(asking.put(alice, { recall: async () => undefined })).rejects.toBe(no);
  await expect(asking.put(alice)).rejects.toBe(no);
});

test('a no is repeated at once for ten seconds, with the registry’s challenge, for the same credential only', async () => {
  const world = build();
  for (let times = 0; times < 5; times++) await expect(world.put(bob)).rejects.toMatchObject({ challenge });
  expect(world.asked).toEqual([bob]);
  expect((await world.put(alice)).answer).toBe('asked');
  world.readers.add(bob);
  world.nowMs += 10_000;
  expect((await world.put(bob)).answer).toBe('asked');
});

test('what nobody in particular may read is everybody’s', async () => {
  const world = build();
  world.readers.add('anonymous');
  expect(await world.put()).toEqual({ answer: 'asked', asker: 'node' });
  expect(await world.put(bob)).toEqual({ answer: 'recalled', asker: 'node' });
  expect(world.asked).toEqual(['anonymous']);
});

test('a repository that is public no more asks for credentials again', async () => {
  const world = build();
  world.readers.add('anonymous');
  await world.put();
  world.readers.delete('anonymous');
  await expect(world.put(bob, { recall: async () => undefined })).rejects.toBe(no);
  await expect(world.put()).rejects.toBe(no);
  expect(await world.put(alice)).toEqual({ answer: 'asked', asker: alice });
});

test('that there is no such thing is no leave to read', async () => {
  const world = build();
  world.failure = missing;
  await expect(world.put(bob)).rejects.toBe(missing);
  world.failure = undefined;
  await expect(world.put(bob)).rejects.toBe(no);
});

test('credentials of the node that are open to its clients admit everybody, in the node’s name', async () => {
  const world = build({ openRegistries: new Set([repository.registry]) });
  world.readers.add('node');
  expect(await world.put(bob, { recall: async () => undefined })).toEqual({ answer: 'asked', asker: 'node' });
  expect(await world.put()).toEqual({ answer: 'recalled', asker: 'node' });
  world.readers.clear();
  await expect(world.put(bob, { recall: async () => undefined })).rejects.toBe(no);
  expect(world.asked).not.toContain(bob);
});

test('while the registry is down, those accepted before are admitted for the time configured, and no others', async () => {
  const world = build({ grantMs: 1_000, outageMs: 60_000 });
  await world.put(alice);
  world.failure = down;
  world.nowMs += 59_000;
  expect(await world.put(alice)).toEqual({ answer: 'recalled', asker: alice });
  await expect(world.put(bob)).rejects.toBe(down);
  await expect(world.put()).rejects.toBe(down);
  world.nowMs += 1_000;
  await expect(world.put(alice)).rejects.toBe(down);
});

test('while the registry is down, its challenge is repeated to those whom it refused before', async () => {
  const world = build({ grantMs: 1_000 });
  await expect(world.put()).rejects.toBe(no);
  await world.put(alice);
  world.failure = down;
  world.nowMs += 60_000;
  await expect(world.put(undefined, { told: 'anonymous' })).rejects.toBe(no);
  expect((await world.put(alice)).answer).toBe('recalled');
});

test('an outage of 0 ends private images with the registry', async () => {
  const world = build({ grantMs: 1_000, outageMs: 0 });
  await world.put(alice);
  world.failure = down;
  world.nowMs += 1_000;
  await expect(world.put(alice)).rejects.toBe(down);
});

test('a registry that was just down is not waited for by those who can do without', async () => {
  const world = build({ grantMs: 1_000 });
  await world.put(alice);
  world.failure = down;
  world.nowMs += 1_000;
  for (let times = 0; times < 10; times++) expect((await world.put(alice)).answer).toBe('recalled');
  expect(world.asked).toHaveLength(2);
  world.nowMs += 5_000;
  await world.put(alice);
  expect(world.asked).toHaveLength(3);
});

test('while the registry is down, what it told another member anonymously is public, and no other repository', async () => {
  const world = build();
  world.failure = down;
  await expect(world.put()).rejects.toBe(down);
  expect(await world.put(undefined, { told: 'anonymous' })).toEqual({ answer: 'told', asker: 'node' });
  expect(await world.put()).toEqual({ answer: 'recalled', asker: 'node' });
  world.failure = undefined;
  world.nowMs += 5_000;
  await expect(world.put()).rejects.toBe(no);
});

test('a restart forgets clients, and remembers for a week that a repository is public', async () => {
  const world = build();
  world.readers.add('anonymous');
  await world.put(alice);
  expect(world.notes.held.size).toBe(0);
  await world.put();
  world.failure = down;
  await world.restart().prune();
  world.nowMs += 6 * 24 * 60 * 60_000;
  expect(await world.put(bob)).toEqual({ answer: 'recalled', asker: 'node' });
  world.nowMs += 24 * 60 * 60_000;
  await expect(world.put(bob)).rejects.toBe(down);
  await world.restart().prune();
  expect(world.notes.held.size).toBe(0);
});

test('a repository that turned private is private, also while the registry is down or limits the rate', async () => {
  const world = build({ grantMs: 1_000 });
  world.readers.add('anonymous');
  await world.put();
  world.readers.delete('anonymous');
  world.nowMs += 1_000;
  await expect(world.put()).rejects.toBe(no);
  for (const failure of [down, new OriginError('rate-limited', 'slow down')]) {
    world.failure = failure;
    world.nowMs += 10_000;
    await expect(world.put()).rejects.toBe(no);
    await expect(world.put(bob)).rejects.toBe(failure);
    world.restart();
    await expect(world.put()).rejects.toBe(failure);
    world.failure = undefined;
    await expect(world.put()).rejects.toBe(no);
  }
});

test('a client does not keep what it had by having its rate limited, nor when it is told that there is nothing', async () => {
  const world = build({ grantMs: 1_000 });
  await world.put(alice);
  world.nowMs += 1_000;
  world.failure = new OriginError('rate-limited', 'slow down');
  await expect(world.put(alice)).rejects.toBe(world.failure);
  world.failure = missing;
  await expect(world.put(alice)).rejects.toBe(missing);
  world.failure = down;
  await expect(world.put(alice)).rejects.toBe(down);
});

test('only a registry that cannot be reached is down for all its repositories', async () => {
  const world = build({ grantMs: 1_000 });
  await world.put(alice);
  world.nowMs += 1_000;
  world.failure = new OriginError('unavailable', 'a tag that it stumbles over');
  await world.put(alice, { recall: async () => undefined, told: alice });
  world.failure = undefined;
  world.readers.delete(alice);
  await expect(world.put(alice)).rejects.toBe(no);
});

test('a yes counts from when the registry said it, not from when it was heard of', async () => {
  const world = build({ grantMs: 1_000 });
  world.readers.add('anonymous');
  world.ageMs = 900;
  await world.put();
  world.readers.delete('anonymous');
  world.nowMs += 99;
  expect((await world.put()).answer).toBe('recalled');
  world.nowMs += 1;
  await expect(world.put()).rejects.toBe(no);
});

test('what another member was told more than a week ago makes nothing public', async () => {
  const world = build();
  world.failure = down;
  world.ageMs = 7 * 24 * 60 * 60_000;
  await expect(world.put(undefined, { told: 'anonymous' })).rejects.toBe(down);
  world.ageMs -= 1;
  expect((await world.put(undefined, { told: 'anonymous' })).answer).toBe('told');
  world.nowMs += 1;
  await expect(world.put(undefined)).rejects.toBe(down);
});

test('where strangers have used up their rate, a client is asked for in its own name', async () => {
  const world = build();
  world.readers.add('anonymous');
  await world.put();
  const limited = new OriginError('rate-limited', 'slow down');
  const ask = async (asker: Asker) => {
    if (asker === 'anonymous') throw limited;
    return { answer: 'own', atMs: world.nowMs };
  };
  const recall = async () => undefined;
  const fallBack = async () => ({ answer: 'stale', atMs: 0 });
  expect(await world.question({ recall, ask, fallBack }, alice)).toEqual({ answer: 'own', asker: alice });
  expect(await world.question({ recall, ask, fallBack })).toEqual({ answer: 'stale', asker: 'node' });
});
