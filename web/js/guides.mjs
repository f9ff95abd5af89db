// The chain of guides that reaches a node, and the length of the clip it is for: read from the graph.

import { isLinked, numberOf, sourceOf, widgetOf } from "./nodes.mjs"

// Nodes whose video has the length of what comes in, and by which input.
const KEEPS_LENGTH = {
    LTX2_ApplyGuides: "video",
    LTX2_Inpaint: "video",
    LTX2_Sample: "video",
    LTX2_SetFrameRate: "latent",
    LTX2_EmptyLatents: "canvas",
    LTX2_Freeze: "latent",
}

// {frames, rate} of the clip that comes in as `name`; else {why, title} tells why that is unknown.
export function clipOf(node, name, root) {
    const source = sourceOf(node, name, root)?.node
    if (!source) return { why: "no_video" }
    if (source.type === "LTX2_Canvas") return ofCanvas(source, root)
    if (source.type === "LTX2_UpsampleLatent" && !isTemporal(source, root)) return clipOf(source, "video", root)
    if (source.type in KEEPS_LENGTH) return clipOf(source, KEEPS_LENGTH[source.type], root)
    return { why: source.type.startsWith("LTX2_") ? "changed" : "foreign", title: source.title }
}

function ofCanvas(canvas, root) {
    const [frames, rate] = ["frames", "frame_rate"].map((name) => numberOf(canvas, name, root))
    return frames === null || rate === null || rate <= 0 ? { why: "foreign", title: canvas.title } : { frames, rate }
}

// Temporal upsamplers double the frames. Only the name of the chosen file tells them here.
function isTemporal(node, root) {
    const values = sourceOf(node, "upsampler", root)?.node.widgets?.map(({ value }) => String(value)) ?? []
    return values.some((value) => value.includes("temporal"))
}

// The guides of a chain, the first added first: {node, step, frame, isPlaced, isFixed}; frame is null for those of the
// whole clip, and for those whose frame a run tells. `rest` is the node that the chain goes on to where it is not ours.
export function chainOf(node, root, numbers) {
    const guides = []
    for (let next = sourceOf(node, "guides", root)?.node; next; next = sourceOf(next, "guides", root)?.node) {
        const isGuide = next.type.startsWith("LTX2_") && next.inputs?.some(({ name }) => name === "guides")
        if (!isGuide || guides.some((guide) => guide.node === next)) return { guides, rest: next }
        guides.unshift(guideOf(next, root, numbers))
    }
    return { guides, rest: null }
}

// Clips begin at whole latents; a picture can be at any frame.
function guideOf(node, root, numbers) {
    const step = node.type === "LTX2_VideoGuide" ? numbers.frames_per_latent : 1
    const isPlaced = Boolean(widgetOf(node, "frame")) || isLinked(node, "frame")
    const frame = isPlaced ? numberOf(node, "frame", root) : null
    return { node, step, frame, isPlaced, isFixed: isLinked(node, "frame") }
}
