// Small makers of HTML elements.

const NAMESPACE = "ltx2-"

// An element with classes of this pack only ("row wide" -> ltx2-row ltx2-wide), attributes and children.
export function element(tag, classes, attributes = {}, ...children) {
    const made = document.createElement(tag)
    made.className = classes.split(" ").map((name) => NAMESPACE + name).join(" ")
    for (const [name, value] of Object.entries(attributes)) made.setAttribute(name, value)
    made.append(...children)
    return made
}

// A button that does one thing. Its events stay with it: the canvas below would take them for its own.
export function button(classes, label, onClick, attributes = {}) {
    const made = element("button", classes, { type: "button", ...attributes }, label)
    made.addEventListener("click", onClick)
    return keepEvents(made)
}

// Keep presses of the pointer, and of keys without modifiers, from the canvas, which drags nodes and has shortcuts.
export function keepEvents(target) {
    target.addEventListener("pointerdown", (event) => event.stopPropagation())
    target.addEventListener("keydown", (event) => {
        if (!event.ctrlKey && !event.metaKey && !event.altKey) event.stopPropagation()
    })
    return target
}

// A table whose rows are [heading, ...cells].
export function table(classes, label, rows) {
    const lines = rows.map(([heading, ...cells]) =>
        element("tr", "line", {}, element("th", "heading", { scope: "row" }, heading),
            ...cells.map((cell) => element("td", "cell", {}, cell))),
    )
    return element("table", classes, { "aria-label": label }, element("tbody", "rows", {}, ...lines))
}
