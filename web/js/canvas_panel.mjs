// The panel of LTX-2 Canvas: what the clip takes, and the nearest legal values.

import { button, element, table } from "./elements.mjs"
import { summary } from "./estimates.mjs"
import { numberOf, setWidget, widgetOf } from "./nodes.mjs"
import { isRefused, problems } from "./rules.mjs"

const FIELDS = ["width", "height", "frames", "frame_rate"]
const HEIGHT = 140

export function openCanvasPanel(node, { app, numbers, speak }) {
    const body = element("div", "panel canvas", { role: "group", "aria-label": speak.say("canvas") })
    let shown = null

    function refresh() {
        const canvas = Object.fromEntries(FIELDS.map((name) => [name, numberOf(node, name, app.rootGraph)]))
        const state = JSON.stringify(canvas)
        if (state === shown) return
        const focused = shown !== null && body.contains(document.activeElement)
        shown = state
        body.replaceChildren(...contents(canvas))
        if (focused) (body.querySelector("button") ?? body).focus()
    }

    function contents(canvas) {
        const unknown = FIELDS.filter((name) => canvas[name] === null)
        if (unknown.length) {
            const names = unknown.map((name) => nameOf(name, speak)).join(", ")
            return [element("p", "note", {}, speak.say("linked", { names }))]
        }
        const ranges = Object.fromEntries(FIELDS.map((name) => [name, widgetOf(node, name).options]))
        const found = problems(canvas, ranges, numbers)
        const cures = found.length ? found.map(cure) : [element("p", "fine", {}, speak.say("fits"))]
        const advice = element("div", "advice", { "aria-live": "polite" }, ...cures)
        return isRefused(found) ? [advice] : [...described(canvas), advice]
    }

    function described(canvas) {
        const { seconds, audio, decode, scales } = summary(canvas, numbers)
        const { say, count, bytes } = speak
        const length = say("length", { frames: canvas.frames, seconds: speak.seconds(seconds) })
        const sound = say("sound", { tokens: count(audio) })
        const rows = [
            ["", ...scales.map(({ scale }) => (scale === 1 ? say("full") : say("stage", { scale })))],
            [say("size"), ...scales.map(({ size, tokens }) => (tokens === null ? "-" : size.join(" x ")))],
            [say("tokens"), ...scales.map(({ tokens }) => (tokens === null ? "-" : count(tokens)))],
            [say("sampling"), ...scales.map((scale) => (scale.tokens === null ? "-" : bytes(scale.bytes)))],
            [say("decoding"), ...scales.map(({ scale }) => (scale === 1 ? bytes(decode) : ""))],
        ]
        const shown = table("table", say("memory"), rows)
        shown.title = say("memory")
        return [element("p", "title", {}, `${length} · ${sound}`), shown]
    }

    function cure(problem) {
        const name = nameOf(problem.name, speak)
        const choices = problem.values.map((value) =>
            button("choice", String(value), () => change(problem.name, value),
                { "aria-label": speak.say("apply", { name, value }) }),
        )
        const rule = speak.say(problem.rule, { ...problem, name })
        return element("p", problem.rule === "stages" ? "hint" : "problem", {}, `${rule} `, ...choices)
    }

    function change(name, value) {
        app.canvas.emitBeforeChange?.() // one step to undo
        setWidget(node, name, value, app.canvas)
        app.canvas.emitAfterChange?.()
        refresh()
    }

    return { element: body, height: HEIGHT, refresh }
}

const nameOf = (name, { say }) => say(name === "frames" ? "frames_name" : name)
