// The panel of LTX-2 Sample: a report of its last run, once there is one.

import { element, table } from "./elements.mjs"
import { locatorOf } from "./nodes.mjs"

const HEIGHT = 142
// What a run may not be exact by, and why that cannot help, as reports name them.
const LOSSY = ["step_cache", "skip_step", "guidance_interval", "token_tiling", "low_bit_attention"]
const NOTES = ["off", "no_steps", "few_steps", "few_tokens", "never"]

// What a node's last run reported; null before one.
export const reportOf = (node, app) => (node.graph && app.nodeOutputs?.[locatorOf(node)]?.ltx2_report?.[0]) || null

export function openReportPanel(node, { app, speak }) {
    const body = element("div", "panel report", { role: "group", "aria-label": speak.say("report") })
    let shown = null

    function refresh() {
        const report = reportOf(node, app)
        const state = JSON.stringify(report)
        if (!report || state === shown) return
        shown = state
        body.replaceChildren(table("table", speak.say("report"), lines(report, speak)))
    }

    return { element: body, height: HEIGHT, refresh }
}

// [heading, text] of each line.
function lines(report, { say, count, seconds, bytes }) {
    const tokens = ["video", "audio"]
        .filter((name) => report.tokens[name] !== null)
        .map((name) => say(`${name}_tokens`, { count: count(report.tokens[name]) }))
    const weights = Object.entries(report.weights).map(([name, number]) => `${name} x ${count(number)}`)
    const known = report.peak_bytes !== null
    const peak = known ? say("peak_known", { peak: bytes(report.peak_bytes) }) : say("peak_unknown")
    return [
        [say("solver"), say("steps", report)],
        [say("time"), say("seconds", { seconds: seconds(report.seconds), each: seconds(report.seconds_per_step) })],
        [say("precision"), report.precision],
        [say("weights"), weights.join(", ")],
        [say("device"), report.device],
        [say("tokens"), tokens.join(", ")],
        [say("peak"), peak],
        [say("estimate"), say("beside", { estimate: bytes(report.estimated_bytes) })],
        ...(report.lossy ?? [])
            .filter(({ kind }) => LOSSY.includes(kind))
            .map((one) => [say("lossy"), lossy(one, say)]),
    ]
}

// What was left out, and a word where it could not help; a modality that had no say is a dash.
function lossy({ kind, counts, note }, say) {
    const shown = Object.fromEntries(Object.entries(counts).map(([name, count]) => [name, count ?? "-"]))
    return NOTES.includes(note) ? `${say(kind, shown)}: ${say(note)}` : say(kind, shown)
}
