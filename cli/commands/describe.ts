import { Argument, type Command } from 'commander';
import { ShoalError } from '../../protocol/errors.js';
import type { AppView, ComponentView, InstanceView } from '../../protocol/http.js';
import { apiPath } from '../client.js';
import { printJson, printLines } from '../io.js';
import { describeApp, describeComponent, describeHost, describeInstance } from '../render/describe.js';
import { examples, type OpenSession, parseComponentName, type Session } from '../session.js';
import { fetchComponents, fetchHosts, fetchInstances } from './get.js';

export const DESCRIBED = ['app', 'component', 'instance', 'host'] as const;
type Described = (typeof DESCRIBED)[number];

export function addDescribe(program: Command, open: OpenSession): void {
  program
    .command('describe')
    .summary('show all about one thing')
    .description('Show all that is known about one app, component, instance or host.')
    .addArgument(new Argument('<kind>', 'what it is').choices(DESCRIBED))
    .argument('<name>', 'APP, APP/COMPONENT, instance id or host name')
    .addHelpText(
      'after',
      examples([
        ['shoal describe component search/web', 'count, size, demand, forecast, and why'],
        ['shoal describe instance search-web-3', 'phase, process, shards, last exit'],
        ['shoal describe host rack1', 'what the host has, and what it lacks'],
      ]),
    )
    .action(async (kind: Described, name: string, _options: unknown, command: Command) => {
      const session = await open(command);
      const { value, lines } = await DESCRIBE[kind](session, name);
      if (session.json) printJson(session.io, value);
      else printLines(session.io, lines);
    });
}

type Description = { value: unknown; lines: string[] };

const DESCRIBE: Record<Described, (session: Session, name: string) => Promise<Description>> = {
  async app(session, name) {
    const { client, signal, io } = session;
    const [value, components] = await Promise.all([
      client.json<AppView>('GET', apiPath('apps', name), { signal }),
      fetchComponents(session, { app: name }),
    ]);
    return { value, lines: describeApp(value, components, io.paint) };
  },
  async component(session, name) {
    const { client, signal, io } = session;
    const scope = parseComponentName(name);
    const path = apiPath('apps', scope.app, 'components', scope.component);
    const [value, instances] = await Promise.all([
      client.json<ComponentView>('GET', path, { signal }),
      fetchInstances(session, scope),
    ]);
    return { value, lines: describeComponent(value, instances, io.paint) };
  },
  async instance({ client, signal, io }, name) {
    const value = await client.json<InstanceView>('GET', apiPath('instances', name), { signal });
    return { value, lines: describeInstance(value, io.paint) };
  },
  async host({ client, signal, io }, name) {
    const hosts = await fetchHosts({ client, signal });
    const value = hosts.find((host) => host.name === name);
    if (value === undefined) {
      const known = hosts.map((host) => host.name).join(', ') || 'none';
      throw new ShoalError('SHOAL_E_NOT_FOUND', `no host named ${name}; known: ${known}`);
    }
    return { value, lines: describeHost(value, io.paint) };
  },
};
