import type { Command } from 'commander';
import { ShoalError } from '../../protocol/errors.js';
import type { EventView, HotFunctionsView, InstanceView } from '../../protocol/http.js';
import { pause } from '../../protocol/pause.js';
import { apiPath } from '../client.js';
import { printJson, printJsonLine, printLines } from '../io.js';
import { activityBetween, type ComponentActivity } from '../render/activity.js';
import { clean } from '../render/text.js';
import { renderTop, type TopView } from '../render/top.js';
import { Screen } from '../screen.js';
import { type ComponentName, examples, type OpenSession, parseScope, type Session } from '../session.js';
import { fetchComponents, fetchHosts, fetchInstances } from './get.js';
import { fetchHotFunctions } from './profile.js';

const FRAME_MS = 1_000;
const EVENTS_KEPT = 20;
const FUNCTIONS_SECONDS = 10;
const PROFILE_MISSING = new Set<string>([
  'SHOAL_E_HOST',
  'SHOAL_E_UNREACHABLE',
  'SHOAL_E_DEADLINE',
  'SHOAL_E_NOT_FOUND',
]);

export function addTop(program: Command, open: OpenSession): void {
  program
    .command('top')
    .summary('live view in the terminal')
    .description(
      'Show hosts, components with demand (█), forecast (▒) and what is allotted (│), instances and the last events; of one app what its components do besides running, and of a single component its hottest functions; once a second anew.',
    )
    .argument('[of]', 'only of this APP or APP/COMPONENT')
    .option('--once', 'print one frame and end')
    .addHelpText(
      'after',
      examples([
        ['shoal top', 'until interrupted with Ctrl-C'],
        ['shoal top search --once', 'one frame of one app'],
        ['shoal top search/web', 'one component, with the functions in which its CPU time goes'],
        ['shoal top --json', 'one JSON document a second'],
      ]),
    )
    .action(async (of: string | undefined, { once = false }: { once?: boolean }, command: Command) => {
      const session = await open(command);
      const source = new TopSource(session, parseScope(of));
      if (once) {
        let view = await source.next();
        // What a component does each second is seen between two looks.
        if (source.isOfOneComponent) {
          await pause(FRAME_MS, session.signal);
          view = await source.next();
        }
        if (session.json) printJson(session.io, view);
        else printLines(session.io, renderTop(view, session.io.size().width, { paint: session.io.paint }));
        return;
      }
      await live(session, source);
    });
}

async function live(session: Session, source: TopSource): Promise<void> {
  const { io, json, signal } = session;
  // The first frame is asked for before the screen is taken, so that an error is seen as one.
  let view = await source.next();
  const screen = io.terminal && !json ? new Screen(io) : null;
  try {
    while (!signal.aborted) {
      if (json) printJsonLine(io, view);
      else if (screen === null) printLines(io, [...renderTop(view, io.size().width), '']);
      else screen.draw(({ width, height }) => renderTop(view, width, { height, paint: io.paint }));
      await pause(FRAME_MS, signal);
      if (signal.aborted) return;
      try {
        view = await source.next();
      } catch (error) {
        if (signal.aborted) return;
        // The last frame stays, with the trouble in its title, until the coordinator is back.
        if (!(error instanceof ShoalError) || error.code !== 'SHOAL_E_UNREACHABLE' || screen === null) throw error;
        view = { ...view, title: `${clean(source.address)} cannot be reached, trying again`, atMs: Date.now() };
      }
    }
  } finally {
    screen?.close();
  }
}

/** Frames' data from the API. Events are asked for from the last one seen. */
class TopSource {
  #events: EventView[] = [];
  #before: { atMs: number; instances: InstanceView[] } | null = null;

  constructor(
    private readonly session: Session,
    private readonly scope: Partial<ComponentName>,
  ) {}

  get address(): string {
    return this.session.client.address;
  }

  get isOfOneComponent(): boolean {
    return this.scope.component !== undefined;
  }

  async next(): Promise<TopView> {
    const { client, signal } = this.session;
    const after = this.#events.at(-1)?.id ?? 0;
    const [hosts, components, instances, fresh, functions] = await Promise.all([
      fetchHosts(this.session),
      fetchComponents(this.session, this.scope),
      fetchInstances(this.session, this.scope),
      client.list<EventView>(`${apiPath('events')}?after=${after}`, { signal }),
      this.#functions(),
    ]);
    const { app, component } = this.scope;
    const wanted = (event: EventView): boolean =>
      (app === undefined || event.app === app) && (component === undefined || event.component === component);
    this.#events = [...this.#events, ...fresh].slice(-EVENTS_KEPT);
    return {
      title: this.address,
      atMs: Date.now(),
      hosts,
      components,
      instances,
      events: this.#events.filter(wanted),
      functions,
      activity: this.#activity(instances),
    };
  }

  #activity(instances: InstanceView[]): ComponentActivity[] {
    // Of all apps there is no room for it.
    if (this.scope.app === undefined) return [];
    const before = this.#before;
    const atMs = performance.now();
    this.#before = { atMs, instances };
    return before === null ? [] : activityBetween(before.instances, instances, (atMs - before.atMs) / 1_000);
  }

  /** The hottest functions of the last seconds, when one component is looked at and its hosts can tell. */
  async #functions(): Promise<HotFunctionsView | null> {
    const { app, component } = this.scope;
    if (app === undefined || component === undefined) return null;
    const query = new URLSearchParams({ seconds: String(FUNCTIONS_SECONDS) });
    return fetchHotFunctions(this.session, { app, component }, query).catch((error: unknown) => {
      // The other parts of the frame say what else is wrong.
      if (error instanceof ShoalError && PROFILE_MISSING.has(error.code)) return null;
      throw error;
    });
  }
}
