import { ShoalError } from '../protocol/errors.js';
import { LIMITS } from '../protocol/limits.js';
import type { ProfileAnswer } from '../protocol/link.js';
import type { Profile, ProfileRequest } from '../protocol/profile.js';

/** Where profiles come from: the agents that are connected. */
export interface ProfileSource {
  /** Names of the hosts that can be asked. */
  hosts(): string[];
  /** Rejects with SHOAL_E_UNREACHABLE, SHOAL_E_DEADLINE, SHOAL_E_OVERLOADED, or SHOAL_E_HOST with the agent's reason. */
  ask(host: string, of: ProfileRequest): Promise<Profile>;
}

interface Question {
  resolve(profile: Profile): void;
  reject(error: ShoalError): void;
  timer: NodeJS.Timeout;
}

/** An agent reads profiles from its disk one after the other: more than so many at once would only wait. */
const OPEN_MAX = 16;

/** What one agent was asked and has not answered yet. */
export class ProfileQuestions {
  readonly #open = new Map<number, Question>();
  #last = 0;

  ask(send: (request: number) => void): Promise<Profile> {
    if (this.#open.size >= OPEN_MAX) {
      return Promise.reject(new ShoalError('SHOAL_E_OVERLOADED', `the agent has ${OPEN_MAX} profiles to look for`));
    }
    this.#last += 1;
    const request = this.#last;
    return new Promise((resolve, reject) => {
      const late = `no profile from the agent within ${LIMITS.profileAnswerMsMax} ms`;
      const timer = setTimeout(
        () => this.#take(request)?.reject(new ShoalError('SHOAL_E_DEADLINE', late)),
        LIMITS.profileAnswerMsMax,
      );
      this.#open.set(request, { resolve, reject, timer });
      send(request);
    });
  }

  /** An answer that comes too late is nobody's. */
  answered(answer: ProfileAnswer): void {
    const question = this.#take(answer.request);
    if (answer.type === 'profile') question?.resolve(answer.profile);
    else question?.reject(new ShoalError('SHOAL_E_HOST', answer.why));
  }

  end(why: string): void {
    for (const request of [...this.#open.keys()])
      this.#take(request)?.reject(new ShoalError('SHOAL_E_UNREACHABLE', why));
  }

  #take(request: number): Question | undefined {
    const question = this.#open.get(request);
    clearTimeout(question?.timer);
    this.#open.delete(request);
    return question;
  }
}
