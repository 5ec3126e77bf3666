/* Brings a part of the page up to date: asks for the page again, and takes that part of it.
   Only while the page is seen, and not for ever: after `data-until` seconds somebody must want it. */
"use strict";

(() => {
    const part = document.getElementById("dm-dashboard");
    const told = document.getElementById("dm-live");
    if (!part || !told) {
        return;
    }
    const every = Number(part.dataset.refresh) * 1000;
    const until = Number(part.dataset.until) * 1000;
    let timer = 0;
    let failures = 0;
    let ends = 0;

    function tell(state, text) {
        told.dataset.state = state;
        if (told.textContent !== text) {
            told.textContent = text;
        }
    }

    function start() {
        failures = 0;
        ends = Date.now() + until;
        tell("live", told.dataset.live);
        wait();
    }

    function wait() {
        clearTimeout(timer);
        if (!document.hidden) {
            timer = setTimeout(refresh, every);
        }
    }

    function stop() {
        clearTimeout(timer);
        timer = 0;
        ends = 0;
        tell("ended", told.dataset.ended);
        const button = document.createElement("button");
        button.type = "button";
        button.textContent = told.dataset.again;
        button.addEventListener("click", () => {
            start();
            refresh();
        });
        told.append(button);
    }

    function inUse() {
        // Somebody's place in it, selected text or an opened table, must not be taken away.
        const selection = document.getSelection();
        return (
            part.contains(document.activeElement) ||
            part.querySelector("details[open]") !== null ||
            (selection !== null && !selection.isCollapsed && part.contains(selection.anchorNode))
        );
    }

    async function refresh() {
        if (Date.now() > ends) {
            stop();
            return;
        }
        if (!inUse()) {
            try {
                await update();
                failures = 0;
            } catch {
                failures += 1;
            }
        }
        if (failures < 3) {
            wait();
        } else {
            stop();
        }
    }

    async function update() {
        const response = await fetch(location.href, { credentials: "same-origin" });
        // A redirection leads to the page for logging in.
        if (!response.ok || response.redirected) {
            failures = 3;
            throw new Error(String(response.status));
        }
        const page = new DOMParser().parseFromString(await response.text(), "text/html");
        const fresh = page.getElementById(part.id);
        if (fresh === null) {
            failures = 3;
            throw new Error("gone");
        }
        if (!inUse()) {
            part.replaceChildren(...fresh.childNodes);
        }
    }

    document.addEventListener("visibilitychange", () => {
        if (ends !== 0) {
            if (document.hidden) {
                clearTimeout(timer);
            } else {
                refresh();
            }
        }
    });
    start();
})();
