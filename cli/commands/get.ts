import { Argument, type Command } from 'commander';
import { ShoalError } from '../../protocol/errors.js';
import type { AppView, ComponentView, HostView, InstanceView } from '../../protocol/http.js';
import { apiPath } from '../client.js';
import { printJson, printLines, tableWidth } from '../io.js';
import { type Column, renderTable } from '../render/table.js';
import { componentListColumns, hostColumns, instanceColumns } from '../render/top.js';
import { type ComponentName, examples, type OpenSession, parseScope, type Session } from '../session.js';

export const KINDS = ['apps', 'components', 'instances', 'hosts'] as const;
type Kind = (typeof KINDS)[number];

export function addGet(program: Command, open: OpenSession): void {
  program
    .command('get')
    .summary('list apps, components, instances or hosts')
    .description('List apps, components, instances or hosts.')
    .addArgument(new Argument('[kind]', 'what to list').choices(KINDS).default('apps'))
    .argument('[of]', 'only of this APP or APP/COMPONENT')
    .addHelpText(
      'after',
      examples([
        ['shoal get', 'the apps'],
        ['shoal get components search', "the components of app 'search'"],
        ['shoal get instances search/web --json', 'instances of one component, for a program to read'],
      ]),
    )
    .action(async (kind: Kind, of: string | undefined, _options: unknown, command: Command) => {
      await list(await open(command), kind, parseScope(of));
    });
}

export function addPs(program: Command, open: OpenSession): void {
  program
    .command('ps')
    .summary('list instances')
    .description('List instances. The same as `shoal get instances`.')
    .argument('[of]', 'only of this APP or APP/COMPONENT')
    .addHelpText(
      'after',
      examples([
        ['shoal ps', 'every instance'],
        ['shoal ps search/web', 'those of one component'],
      ]),
    )
    .action(async (of: string | undefined, _options: unknown, command: Command) => {
      await list(await open(command), 'instances', parseScope(of));
    });
}

async function list(session: Session, kind: Kind, scope: Partial<ComponentName>): Promise<void> {
  const { client, signal, io } = session;
  if (kind === 'apps') {
    if (scope.component !== undefined)
      throw new ShoalError('SHOAL_E_USAGE', 'apps are listed by APP, not APP/COMPONENT');
    const apps =
      scope.app === undefined
        ? await client.list<AppView>(apiPath('apps'), { signal })
        : [await client.json<AppView>('GET', apiPath('apps', scope.app), { signal })];
    show(session, apps, appColumns());
  } else if (kind === 'hosts') {
    if (scope.app !== undefined) throw new ShoalError('SHOAL_E_USAGE', 'hosts belong to no app; leave the name away');
    show(session, await fetchHosts(session), hostColumns(io.paint));
  } else if (kind === 'components') {
    const components = await fetchComponents(session, scope);
    show(session, components, componentListColumns(components, io.paint));
  } else {
    show(session, await fetchInstances(session, scope), instanceColumns(io.paint));
  }
}

export async function fetchComponents(
  { client, signal }: Pick<Session, 'client' | 'signal'>,
  { app, component }: Partial<ComponentName>,
): Promise<ComponentView[]> {
  if (app !== undefined && component !== undefined) {
    return [await client.json<ComponentView>('GET', apiPath('apps', app, 'components', component), { signal })];
  }
  const apps =
    app === undefined ? (await client.list<AppView>(apiPath('apps'), { signal })).map((each) => each.app) : [app];
  const lists = await Promise.all(
    apps.map((each) => client.list<ComponentView>(apiPath('apps', each, 'components'), { signal })),
  );
  return lists.flat();
}

export function fetchHosts({ client, signal }: Pick<Session, 'client' | 'signal'>): Promise<HostView[]> {
  return client.list<HostView>(apiPath('hosts'), { signal });
}

export function fetchInstances(
  { client, signal }: Pick<Session, 'client' | 'signal'>,
  { app, component }: Partial<ComponentName>,
): Promise<InstanceView[]> {
  const query = new URLSearchParams();
  if (app !== undefined) query.set('app', app);
  if (component !== undefined) query.set('component', component);
  const suffix = query.size > 0 ? `?${query}` : '';
  return client.list<InstanceView>(`${apiPath('instances')}${suffix}`, { signal });
}

function show<Row>({ io, json }: Session, rows: readonly Row[], shape: readonly Column<Row>[]): void {
  if (json) printJson(io, rows);
  else if (rows.length === 0) io.err('none\n');
  else printLines(io, renderTable(rows, shape, { paint: io.paint, width: tableWidth(io) }));
}

function appColumns(): Column<AppView>[] {
  return [
    { title: 'APP', value: (each) => each.app },
    { title: 'REVISION', value: (each) => String(each.revision), align: 'right' },
    { title: 'COMPONENTS', value: (each) => each.components.join(', ') },
  ];
}
