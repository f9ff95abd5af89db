// The panel of LTX-2 Apply Guides: its guides along the clip, to be dragged.

import { button, element } from "./elements.mjs"
import { chainOf, clipOf } from "./guides.mjs"
import { setWidget } from "./nodes.mjs"
import { counted, frameAt, placeOf, rows, snapped, written } from "./timeline.mjs"

const HEIGHT = 124
const LABEL_ROWS = 2
const LABEL_GAP = 0.16 // of the clip's length: about as wide as a label
// Which way keys move a mark.
const STEPS = { ArrowLeft: -1, ArrowDown: -1, ArrowRight: 1, ArrowUp: 1, Home: -Infinity, End: Infinity }

export function openGuidesPanel(node, { app, numbers, speak }) {
    const body = element("div", "panel guides", { role: "group", "aria-label": speak.say("timeline") })
    let shown = null
    let dragged = null

    function refresh() {
        const clip = clipOf(node, "video", app.rootGraph)
        const { guides, rest } = chainOf(node, app.rootGraph, numbers)
        const plain = guides.map(({ node, ...guide }) => [node.id, node.title, guide])
        const state = JSON.stringify([clip, rest?.title, plain])
        if (state === shown || dragged) return
        shown = state
        const focused = marks().indexOf(document.activeElement)
        body.replaceChildren(...contents(clip, guides, rest))
        if (focused >= 0) marks()[focused]?.focus()
    }

    const marks = () => [...body.querySelectorAll(".ltx2-mark")]

    function contents(clip, guides, rest) {
        const { say, seconds } = speak
        const known = clip.frames !== undefined
        const title = known
            ? say("length", { frames: clip.frames, seconds: seconds(clip.frames / clip.rate) })
            : say("unknown", { why: say(clip.why, clip) })
        const classOf = (guide) => (isOutside(guide, clip) ? "problem" : "guide")
        const lines = guides.map((guide) => element("li", classOf(guide), {}, told(guide, clip)))
        if (rest) lines.push(element("li", "guide", {}, say("more", { title: rest.title })))
        if (!lines.length) lines.push(element("li", "guide", {}, say("no_guides")))
        const list = element("ul", "list", {}, ...lines)
        return [element("p", known ? "title" : "note", {}, title), ...(known ? [track(clip, guides)] : []), list]
    }

    function track(clip, guides) {
        const placed = guides.filter(({ frame }) => frame !== null)
        const places = placed.map(({ frame }) => placeOf(counted(frame, clip.frames), clip.frames))
        const labels = rows(places, LABEL_GAP, LABEL_ROWS)
        const line = element("div", "track", {})
        line.append(...placed.map((guide, index) => mark(guide, clip, places[index], labels[index], line)))
        return line
    }

    function mark(guide, clip, place, row, line) {
        const frame = counted(guide.frame, clip.frames)
        const classes = `mark row-${row}${isOutside(guide, clip) ? " outside" : ""}`
        const made = button(classes, String(frame), () => made.focus(), {
            role: "slider", "aria-label": guide.node.title, "aria-valuemin": 0, "aria-valuemax": clip.frames - 1,
            "aria-valuenow": frame, "aria-valuetext": told(guide, clip), "aria-disabled": guide.isFixed,
            title: `${told(guide, clip)}\n${speak.say("keys", { step: numbers.frames_per_latent })}`,
        })
        made.style.left = `${place * 100}%`
        if (!guide.isFixed) moveWith(made, guide, clip, line)
        return made
    }

    function moveWith(made, guide, clip, line) {
        const to = (frame) => move(guide, snapped(frame, clip.frames, guide.step), clip)
        made.addEventListener("keydown", (event) => {
            const step = STEPS[event.key] * (event.shiftKey ? numbers.frames_per_latent : guide.step)
            if (Number.isNaN(step) || event.ctrlKey || event.metaKey || event.altKey) return
            event.preventDefault()
            to(counted(guide.frame, clip.frames) + step)
            refresh()
        })
        made.addEventListener("pointerdown", (event) => {
            made.focus()
            made.setPointerCapture(event.pointerId)
            dragged = guide
            app.canvas.emitBeforeChange?.() // one step to undo
        })
        made.addEventListener("pointermove", (event) => {
            if (dragged !== guide) return
            event.stopPropagation()
            const { left, width } = line.getBoundingClientRect()
            const frame = snapped(frameAt((event.clientX - left) / width, clip.frames), clip.frames, guide.step)
            to(frame)
            made.style.left = `${placeOf(frame, clip.frames) * 100}%`
            made.textContent = String(frame)
        })
        for (const end of ["pointerup", "pointercancel"]) {
            made.addEventListener(end, () => {
                if (dragged !== guide) return
                dragged = null
                app.canvas.emitAfterChange?.()
                refresh()
            })
        }
    }

    function move(guide, frame, clip) {
        const value = written(frame, clip.frames, guide.frame)
        if (value !== guide.frame) setWidget(guide.node, "frame", value, app.canvas)
        guide.frame = value
    }

    function told({ node, frame, isPlaced, isFixed }, clip) {
        const { say, seconds } = speak
        if (!isPlaced) return say("whole", { title: node.title })
        if (frame === null || isFixed) return say("fixed", { title: node.title })
        if (clip.frames === undefined) return say("at_unknown", { title: node.title, frame })
        const start = counted(frame, clip.frames)
        const place = { title: node.title, frame: start, seconds: seconds(start / clip.rate) }
        const outside = { title: node.title, frame, least: -clip.frames, most: clip.frames - 1 }
        return isOutside({ frame }, clip) ? say("outside", outside) : say("at", place)
    }

    return { element: body, height: HEIGHT, refresh }
}

function isOutside({ frame }, { frames }) {
    if (frame === null || frames === undefined) return false
    const start = counted(frame, frames)
    return start < 0 || start >= frames
}
