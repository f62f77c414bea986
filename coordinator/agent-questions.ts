import { ShoalError } from '../protocol/errors.js';
import type { LogPiece, LogQuestion } from '../protocol/log.js';
import type { Profile, ProfileRequest } from '../protocol/profile.js';

/** Where profiles come from: the agents that are connected. */
export interface ProfileSource {
  /** Names of the hosts that can be asked. */
  hosts(): string[];
  /** Rejects with SHOAL_E_UNREACHABLE, SHOAL_E_DEADLINE, SHOAL_E_OVERLOADED, or SHOAL_E_HOST with the agent's reason. */
  ask(host: string, of: ProfileRequest): Promise<Profile>;
}

/** Where logs come from: the agents that are connected. */
export interface LogSource {
  /** Rejects as ProfileSource does. */
  readLog(host: string, question: LogQuestion): Promise<LogPiece>;
}

interface Question<T> {
  resolve(answer: T): void;
  reject(error: ShoalError): void;
  timer: NodeJS.Timeout;
}

export interface QuestionsOptions {
  /** What is asked for, in the plural. */
  what: string;
  /** An agent reads its disk for one answer after the other: more than so many at once would only wait. */
  openMax: number;
  answerMsMax: number;
}

/** What of one kind one agent was asked and has not answered yet. */
export class AgentQuestions<T> {
  readonly #options: QuestionsOptions;
  readonly #open = new Map<number, Question<T>>();
  #last = 0;

  constructor(options: QuestionsOptions) {
    this.#options = options;
  }

  ask(send: (request: number) => void): Promise<T> {
    const { what, openMax, answerMsMax } = this.#options;
    if (this.#open.size >= openMax) {
      return Promise.reject(new ShoalError('SHOAL_E_OVERLOADED', `the agent has ${openMax} ${what} to look for`));
    }
    this.#last += 1;
    const request = this.#last;
    return new Promise((resolve, reject) => {
      const late = `no ${what} from the agent within ${answerMsMax} ms`;
      const timer = setTimeout(
        () => this.#take(request)?.reject(new ShoalError('SHOAL_E_DEADLINE', late)),
        answerMsMax,
      );
      this.#open.set(request, { resolve, reject, timer });
      send(request);
    });
  }

  /** Whether somebody waited for it: an answer that comes too late is nobody's. */
  answered(request: number, answer: T): boolean {
    const question = this.#take(request);
    question?.resolve(answer);
    return question !== undefined;
  }

  refused(request: number, why: string): boolean {
    const question = this.#take(request);
    question?.reject(new ShoalError('SHOAL_E_HOST', why));
    return question !== undefined;
  }

  end(why: string): void {
    for (const request of [...this.#open.keys()])
      this.#take(request)?.reject(new ShoalError('SHOAL_E_UNREACHABLE', why));
  }

  #take(request: number): Question<T> | undefined {
    const question = this.#open.get(request);
    clearTimeout(question?.timer);
    this.#open.delete(request);
    return question;
  }
}
