// Panels: widgets of HTML on a node that show something and hold no value. They add no input, and neither a saved
// workflow nor an API prompt has anything of them.

const MARGIN = 10 // around HTML widgets in the classic renderer
const WIDTH = 270 // of a new node with a panel
const PERIOD = 200 // ms between looks at what panels show

const panels = new Set()
let timer = null

// Give a node a panel. `open()` makes its view, {element, height, refresh()}, whenever `isWanted()` becomes true; it
// is refreshed in a graph only.
//
// What a panel shows depends on other nodes, on links between them and on runs, and the frontend tells extensions of
// few of these changes, in few of its versions: so panels look, five times a second, while they are in a graph.
export function addPanel(node, name, isWanted, open) {
    if (!node.widgets?.length) node.serialize_widgets = false // saves no values, not an empty list
    const panel = { node, name, isWanted, open, widget: null, view: null }
    chain(node, "onAdded", () => start(panel))
    chain(node, "onRemoved", () => stop(panel))
    if (isWanted()) show(panel) // a saved size comes later
}

function chain(node, hook, action) {
    const before = node[hook]
    node[hook] = function (...given) {
        action()
        return before?.apply(this, given)
    }
}

function start(panel) {
    panels.add(panel)
    timer ??= setInterval(look, PERIOD)
    look()
}

function stop(panel) {
    panels.delete(panel)
    if (panels.size > 0) return
    clearInterval(timer)
    timer = null
}

function look() {
    for (const panel of panels) {
        if (panel.isWanted() !== Boolean(panel.widget)) (panel.widget ? hide : show)(panel)
        panel.view?.refresh()
    }
}

function show(panel) {
    const view = panel.open()
    const height = () => view.height + 2 * MARGIN
    view.element.style.minHeight = `${view.height}px`
    const options = { serialize: false, margin: MARGIN, getMinHeight: height, getMaxHeight: height }
    panel.widget = panel.node.addDOMWidget(panel.name, "LTX2_PANEL", view.element, options)
    panel.widget.serialize = false
    panel.view = view
    resize(panel.node, Math.max(panel.node.computeSize()[1], panel.node.size[1]))
}

function hide(panel) {
    const { node, widget, view } = panel
    panel.widget = panel.view = null
    node.removeWidget(widget)
    resize(node, Math.max(node.computeSize()[1], node.size[1] - view.height - 2 * MARGIN))
}

function resize(node, height) {
    node.setSize([Math.max(WIDTH, node.size[0]), height])
    node.setDirtyCanvas(true, true)
}
