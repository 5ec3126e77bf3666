/* A textarea for source: Tab indents (Escape, then Tab leaves), Enter keeps the indent, lines are
   numbered. Without this script it is a plain textarea. */
(() => {
    "use strict";
    const INDENT = "    ";

    // Not setRangeText: that could not be undone.
    function replace(area, start, end, text) {
        area.setSelectionRange(start, end);
        const done = text === ""
            ? start === end || document.execCommand("delete")
            : document.execCommand("insertText", false, text);
        if (!done) {
            area.setRangeText(text, start, end, "end");
        }
    }

    function lineStart(area, position) {
        return area.value.lastIndexOf("\n", position - 1) + 1;
    }

    function shift(area, outwards) {
        const from = lineStart(area, area.selectionStart);
        const { selectionStart: start, selectionEnd: end } = area;
        const lines = area.value.slice(from, end).split("\n");
        const shifted = lines.map((line) => outwards ? line.replace(/^ {1,4}/, "") : INDENT + line);
        const text = shifted.join("\n");
        replace(area, from, end, text);
        const moved = shifted[0].length - lines[0].length;
        area.setSelectionRange(Math.max(from, start + moved), from + text.length);
    }

    function onTab(area, outwards) {
        if (outwards || area.value.slice(area.selectionStart, area.selectionEnd).includes("\n")) {
            shift(area, outwards);
        } else {
            const column = area.selectionStart - lineStart(area, area.selectionStart);
            const width = INDENT.length - column % INDENT.length;
            replace(area, area.selectionStart, area.selectionEnd, " ".repeat(width));
        }
    }

    function onEnter(area) {
        const line = area.value.slice(lineStart(area, area.selectionStart), area.selectionStart);
        const deeper = line.trimEnd().endsWith(":") ? INDENT : "";
        const text = "\n" + line.match(/^ */)[0] + deeper;
        replace(area, area.selectionStart, area.selectionEnd, text);
    }

    function number(area) {
        const gutter = document.createElement("div");
        gutter.className = "dm-gutter";
        gutter.setAttribute("aria-hidden", "true");
        const frame = document.createElement("div");
        frame.className = "dm-editor";
        area.before(frame);
        frame.append(gutter, area);
        let shown = 0;
        const update = () => {
            const count = area.value.split("\n").length;
            if (count !== shown) {
                gutter.textContent = Array.from({ length: count }, (_, i) => i + 1).join("\n");
                shown = count;
            }
            gutter.scrollTop = area.scrollTop;
        };
        area.addEventListener("input", update);
        area.addEventListener("scroll", update);
        update();
    }

    for (const area of document.querySelectorAll("textarea[data-dm-editor]")) {
        let leaving = false;
        number(area);
        area.addEventListener("blur", () => { leaving = false; });
        area.addEventListener("keydown", (event) => {
            if (event.isComposing || event.ctrlKey || event.altKey || event.metaKey) {
                return;
            }
            if (event.key === "Tab" && !leaving) {
                event.preventDefault();
                onTab(area, event.shiftKey);
            } else if (event.key === "Enter") {
                event.preventDefault();
                onEnter(area);
            }
            if (event.key !== "Tab" && event.key !== "Shift") {
                leaving = event.key === "Escape";
            }
        });
    }
})();
