// The pack's extension of ComfyUI's frontend: panels on three nodes, messages for errors, settings. This is the only
// file that the frontend loads by itself; it loads every .js below `web`, so all others are .mjs.

import { api } from "../../../scripts/api.js"
import { app } from "../../../scripts/app.js"
import { openCanvasPanel } from "./canvas_panel.mjs"
import { showErrors } from "./errors.mjs"
import { openGuidesPanel } from "./guides_panel.mjs"
import { addPanel } from "./panels.mjs"
import { openReportPanel, reportOf } from "./report_panel.mjs"
import { SETTINGS } from "./settings.mjs"
import { speaker } from "./texts.mjs"

const near = (name) => new URL(name, import.meta.url)
const numbers = await (await fetch(near("../estimates.json"))).json()

const PANELS = {
    LTX2_Canvas: { setting: "LTX2.Panels.Canvas", open: openCanvasPanel, isReady: () => true },
    LTX2_ApplyGuides: { setting: "LTX2.Panels.Guides", open: openGuidesPanel, isReady: () => true },
    LTX2_Sample: { setting: "LTX2.Panels.Report", open: openReportPanel, isReady: (node) => reportOf(node, app) },
}

const settingOf = (id) => app.extensionManager.setting.get(id)
const speak = () => speaker(settingOf("Comfy.Locale"))

function addStyles() {
    const sheet = document.createElement("link")
    sheet.rel = "stylesheet"
    sheet.href = near("panels.css")
    document.head.append(sheet)
}

app.registerExtension({
    name: "LTX2.Panels",
    settings: SETTINGS,
    setup() {
        addStyles()
        showErrors({ app, api, speak, isWanted: () => settingOf("LTX2.Messages.Errors") })
    },
    nodeCreated(node) {
        const panel = PANELS[node.comfyClass]
        if (!panel) return
        const isWanted = () => Boolean(settingOf(panel.setting) && panel.isReady(node))
        addPanel(node, "ltx2_panel", isWanted, () => panel.open(node, { app, numbers, speak: speak() }))
    },
})
