// Errors of the pack's nodes as messages: the frontend keeps the words of a refused prompt behind two clicks.

import { nodeAt } from "./nodes.mjs"

const PERIOD = 150 // ms between looks for the server's answer
const LIMIT = 60_000 // ms after which no answer is waited for
const LIFE = 20_000 // ms that a message stays

// "rule; value: cure" as [rule, value and cure].
export function parts(message) {
    const [rule, ...rest] = message.trim().split("; ")
    return [rule, rest.join("; ")]
}

// The words of a validation error. Those of our own checks stand behind the input's name.
export function wordsOf({ type, message, details, extra_info: extra }) {
    if (type !== "custom_validation_failed") return details ? `${message}: ${details}` : message
    return details.replace(`${extra?.input_name} - `, "")
}

// Show errors of our nodes for as long as the page lives; `isWanted()` may turn them off.
export function showErrors({ app, api, speak, isWanted }) {
    api.addEventListener("execution_error", ({ detail }) => {
        const isOurs = detail.exception_type?.startsWith("ltx2.") && detail.node_type?.startsWith("LTX2_")
        if (isOurs && isWanted()) tell(app, speak(), "failed", detail.node_id, detail.exception_message)
    })
    watchRefusals(app, api, (errors) => {
        if (!isWanted()) return
        for (const [id, { class_type, errors: own }] of Object.entries(errors)) {
            if (!class_type.startsWith("LTX2_")) continue
            for (const words of new Set(own.map(wordsOf))) tell(app, speak(), "refused", id, words)
        }
    })
}

// No event tells that a server refused a prompt. The newer frontends say when they send one, the older when they are
// done with it, refused or not; what was wrong is kept with the application.
function watchRefusals(app, api, show) {
    let timer = null
    const errorsOf = () => app.extensionManager.lastNodeErrors ?? app.lastNodeErrors
    const stop = () => clearInterval(timer)
    const look = () => {
        const errors = errorsOf()
        if (!errors || !Object.keys(errors).length) return
        stop()
        show(errors)
    }
    api.addEventListener("promptQueueing", () => {
        stop()
        const end = Date.now() + LIMIT
        timer = setInterval(() => (Date.now() < end ? look() : stop()), PERIOD)
    })
    api.addEventListener("promptQueued", () => {
        stop()
        look()
    })
}

function tell(app, { say }, what, id, message) {
    const node = nodeAt(id, app.rootGraph)
    const [rule, rest] = parts(message)
    const title = say(what, { title: node?.title ?? id })
    const { toast } = app.extensionManager
    const description = rest ? `${rule}\n${rest}` : rule
    if (!toast.error) {
        toast.add({ severity: "error", summary: title, detail: description, life: LIFE })
        return
    }
    const action = node && { label: say("select"), onClick: () => select(app.canvas, node) }
    toast.error(title, { description, duration: LIFE, action })
}

function select(canvas, node) {
    if (canvas.graph !== node.graph) canvas.setGraph(node.graph)
    canvas.selectNode(node)
    canvas.centerOnNode(node)
}
