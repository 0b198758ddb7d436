// What the form asks and whether it is complete: pure, the same rules as the server's.
import type { Answer, Answers, Question } from "./types";

export function shown(question: Question, answers: Answers): boolean {
  return Object.entries(question.show_if ?? {}).every(([key, value]) => answers[key] === value);
}

function empty(value: Answer | undefined): boolean {
  return value === undefined || value === "" || (Array.isArray(value) && value.length === 0);
}

/** Labels of the questions that still need an answer. */
export function missing(form: Question[], answers: Answers): Question[] {
  return form.filter((q) => q.required && shown(q, answers) && empty(answers[q.key]));
}

/** The answers of questions that are asked. */
export function kept(form: Question[], answers: Answers): Answers {
  const out: Answers = {};
  for (const q of form) {
    const value = answers[q.key];
    if (value !== undefined && !empty(value) && shown(q, answers)) out[q.key] = value;
  }
  return out;
}
