// Questions to the server about what it would do with the form.

import assert from "node:assert/strict"
import { test } from "node:test"

globalThis.document = { body: { dataset: {} }, querySelectorAll: () => [], querySelector: () => null }

const { Plan } = await import("editor/form/plan")

/** A plan, and the questions that its server got: it answers {engine} of each. */
function planned(context) {
  const questions = []
  context.mock.method(globalThis, "fetch", async (_url, { body }) => {
    questions.push(JSON.parse(body).engine)
    return Response.json(JSON.parse(body))
  })
  return { plan: new Plan("/api/plan/", { engine: "none" }, () => {}), questions }
}

test("who waits for a question that a newer one replaces gets the answer of the newer one", { timeout: 5000 }, async (context) => {
  const { plan, questions } = planned(context)
  plan.askSoon(() => ({ engine: "first" }))
  const waiting = plan.whenAnswered()
  plan.askSoon(() => ({ engine: "second" }))
  await waiting
  assert.deepEqual(questions, ["second"])
  assert.equal(plan.latest.engine, "second")
})

test("a question at once replaces one that waits", { timeout: 5000 }, async (context) => {
  const { plan, questions } = planned(context)
  plan.askSoon(() => ({ engine: "soon" }))
  const waiting = plan.whenAnswered()
  await plan.ask({ engine: "at once" })
  await waiting
  assert.deepEqual(questions, ["at once"])
})
