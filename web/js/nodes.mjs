// Reading a graph: where links come from, through reroutes, bypassed nodes and subgraphs; values of widgets.

const BYPASSED = 4
const MUTED = 2

export const widgetOf = (node, name) => node.widgets?.find((widget) => widget.name === name)

// The node and output that feed an input: {node, slot}; null where nothing does, or where it cannot be told.
export function sourceOf(node, name, root) {
    const slot = node.inputs?.findIndex((input) => input.name === name) ?? -1
    return slot < 0 ? null : follow(node, slot, root)
}

// Nodes that show a subgraph answer `getInputLink` with a link inside of it.
function linkInto(node, slot) {
    if (!node.subgraph) return node.getInputLink(slot)
    return [...node.graph.links.values()].find((link) => link.target_id == node.id && link.target_slot === slot)
}

function follow(node, slot, root) {
    const link = node.graph && linkInto(node, slot)
    return link ? endOf(link, node.graph, root) : null
}

function endOf(link, graph, root) {
    if (link.origin_id === graph.inputNode?.id) {
        const outer = hostsOf(graph, root)
        return outer.length === 1 ? follow(outer[0], link.origin_slot, root) : null
    }
    const node = graph.getNodeById(link.origin_id)
    if (!node || node.mode === MUTED) return null
    if (node.mode === BYPASSED || node.type === "Reroute") {
        const type = node.outputs[link.origin_slot].type
        const slot = node.inputs.findIndex((input) => input.type === type || node.type === "Reroute")
        return slot < 0 ? null : follow(node, slot, root)
    }
    if (!node.subgraph) return { node, slot: link.origin_slot }
    const inner = node.subgraph.getLink(node.subgraph.outputs[link.origin_slot].linkIds[0])
    return inner ? endOf(inner, node.subgraph, root) : null
}

// The nodes that show a subgraph, wherever they are.
function hostsOf(subgraph, graph) {
    return graph.nodes.flatMap((node) => {
        if (!node.subgraph) return []
        return node.subgraph === subgraph ? [node] : hostsOf(subgraph, node.subgraph)
    })
}

// A widget's value as a number, or that of the primitive node linked to it; null where only a run will tell.
export function numberOf(node, name, root) {
    const slot = node.inputs?.findIndex((input) => input.name === name) ?? -1
    if (slot >= 0 && linkInto(node, slot)) {
        const source = follow(node, slot, root)?.node
        return source?.type.startsWith("Primitive") ? asNumber(source.widgets?.[0]?.value) : null
    }
    return asNumber(widgetOf(node, name)?.value)
}

function asNumber(value) {
    const number = typeof value === "boolean" || value === null || value === "" ? NaN : Number(value)
    return Number.isFinite(number) ? number : null
}

// Whether a widget's value comes over a link.
export function isLinked(node, name) {
    const slot = node.inputs?.findIndex((input) => input.name === name) ?? -1
    return slot >= 0 && Boolean(linkInto(node, slot))
}

// Set a widget as if the user had.
export function setWidget(node, name, value, canvas) {
    const widget = widgetOf(node, name)
    widget.value = value
    widget.callback?.(value, canvas, node)
    node.setDirtyCanvas(true, true)
}

// How the frontend keys a node's outputs.
export const locatorOf = (node) => (node.graph.isRootGraph ? `${node.id}` : `${node.graph.id}:${node.id}`)

// The node of an execution id ("12", or "4:12" for node 12 in the subgraph that node 4 shows).
export function nodeAt(id, root) {
    const [first, ...rest] = String(id).split(":")
    const node = root.getNodeById(Number(first)) ?? root.getNodeById(first)
    return rest.length && node?.subgraph ? nodeAt(rest.join(":"), node.subgraph) : node
}
