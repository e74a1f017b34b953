"""Opens the report's pages in headless Chromium, over the DevTools protocol, and checks what a reader of any kind meets.

    report_page.py CHROMIUM FOLDER [SCREENSHOTS]

FOLDER has index.html and index.ja.html. Both are opened in light and dark, at desktop and phone width, and for print:
no console message, no request leaves the machine, every drawing has an accessible name and a description, nothing is wider
than the window, text has contrast, and the pages lead to each other. Screenshots go to a folder where one is named.
"""

import base64
import json
import pathlib
import subprocess
import sys
import tempfile
import time
import urllib.request

import websocket

CHECKS = r"""
(() => {
  const problems = [];
  const luminance = ([r, g, b]) => {
    const of = (v) => { v /= 255; return v <= 0.03928 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4; };
    return 0.2126 * of(r) + 0.7152 * of(g) + 0.0722 * of(b);
  };
  const rgb = (text) => text.match(/[\d.]+/g).slice(0, 3).map(Number);
  const paper = rgb(getComputedStyle(document.body).backgroundColor);
  const contrast = (a, b) => {
    const [x, y] = [luminance(a), luminance(b)].sort((p, q) => q - p);
    return (x + 0.05) / (y + 0.05);
  };
  if (document.documentElement.scrollWidth > window.innerWidth) {
    problems.push(`the page is ${document.documentElement.scrollWidth} px wide in a window of ${window.innerWidth}`);
  }
  let drawings = 0;
  for (const svg of document.querySelectorAll("svg:not([aria-hidden])")) {
    drawings += 1;
    const name = (svg.getAttribute("aria-labelledby") || "").split(" ").map((id) => document.getElementById(id));
    if (svg.getAttribute("role") !== "img" || name.length !== 2 || name.some((n) => !n || !n.textContent.trim())) {
      problems.push(`a drawing has no name or no description: ${svg.outerHTML.slice(0, 120)}`);
    }
    if (getComputedStyle(svg).display === "none") continue;
    const box = svg.getBoundingClientRect();
    for (const text of svg.querySelectorAll("text")) {
      const at = text.getBoundingClientRect();
      if (at.left < -1 || at.right > window.innerWidth + 1) {
        const scrolls = svg.closest(".scroll");
        if (!scrolls) problems.push(`"${text.textContent}" is cut off at ${at.left.toFixed(0)}–${at.right.toFixed(0)}`);
      }
      const ratio = contrast(rgb(getComputedStyle(text).fill), paper);
      if (ratio < 4.5) problems.push(`"${text.textContent}" has a contrast of ${ratio.toFixed(1)}`);
    }
    if (box.width < 1 || box.height < 1) problems.push(`a drawing is empty: ${svg.querySelector("title").textContent}`);
  }
  for (const element of document.querySelectorAll("p, h1, h2, h3, li, dt, dd, td, th, a, summary")) {
    if (!element.textContent.trim() || element.closest("details:not([open])")) continue;
    const ratio = contrast(rgb(getComputedStyle(element).color), paper);
    if (ratio < 4.5) problems.push(`${element.tagName} "${element.textContent.slice(0, 40)}": contrast ${ratio.toFixed(1)}`);
  }
  for (const table of document.querySelectorAll("table")) {
    if (!table.caption) problems.push("a table has no caption");
    const scroll = table.closest(".scroll");
    if (!scroll || scroll.tabIndex !== 0 || !scroll.getAttribute("aria-label")) {
      problems.push(`a table cannot be scrolled by keyboard: ${table.caption && table.caption.textContent}`);
    }
  }
  const ids = [...document.querySelectorAll("[id]")].map((element) => element.id);
  if (new Set(ids).size !== ids.length) problems.push("an id is there twice");
  const levels = [...document.querySelectorAll("h1, h2, h3")].map((h) => Number(h.tagName[1]));
  levels.forEach((level, index) => { if (index && level > levels[index - 1] + 1) problems.push("a heading skips a level"); });
  if (document.querySelectorAll("h1").length !== 1) problems.push("there is not one h1");
  const other = document.querySelector("a[hreflang]");
  if (!other) problems.push("no link to the other language");
  return { problems, drawings, tables: document.querySelectorAll("table").length, height: document.documentElement.scrollHeight,
           other: other && other.href, title: document.title, lang: document.documentElement.lang };
})()
"""


class Browser:
    def __init__(self, chromium, profile):
        arguments = [
            chromium, "--headless=new", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage", "--remote-debugging-port=0",
            "--remote-allow-origins=*", "--disable-background-networking", "--disable-component-update",
            "--hide-scrollbars", f"--user-data-dir={profile}", "about:blank",
        ]
        self.process = subprocess.Popen(arguments, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        port_file = pathlib.Path(profile) / "DevToolsActivePort"
        until = time.monotonic() + 120
        while not (port_file.exists() and port_file.read_text().count("\n")):
            assert self.process.poll() is None and time.monotonic() < until, "Chromium does not start"
            time.sleep(0.1)
        port = port_file.read_text().split()[0]
        listing = urllib.request.build_opener(urllib.request.ProxyHandler({})).open(f"http://127.0.0.1:{port}/json", timeout=60)
        page = next(target for target in json.load(listing) if target["type"] == "page")
        self.socket = websocket.create_connection(page["webSocketDebuggerUrl"], timeout=120, http_no_proxy=["*"])
        self.number, self.events = 0, []
        for domain in ["Page", "Network", "Log", "Runtime"]:
            self.call(f"{domain}.enable")

    def call(self, method, **parameters):
        self.number += 1
        self.socket.send(json.dumps({"id": self.number, "method": method, "params": parameters}))
        while True:
            message = json.loads(self.socket.recv())
            if message.get("id") == self.number:
                assert "error" not in message, (method, message["error"])
                return message["result"]
            self.events.append(message)

    def wait_for(self, method):
        while True:
            for index, event in enumerate(self.events):
                if event.get("method") == method:
                    del self.events[index]
                    return
            self.events.append(json.loads(self.socket.recv()))

    def close(self):
        self.socket.close()
        self.process.kill()
        self.process.wait()


def look(browser, address, width, scheme, media, shot):
    browser.events.clear()
    browser.call("Emulation.setDeviceMetricsOverride", width=width, height=900, deviceScaleFactor=1, mobile=width < 600)
    browser.call("Emulation.setEmulatedMedia", media=media, features=[{"name": "prefers-color-scheme", "value": scheme}])
    browser.call("Page.navigate", url=address)
    browser.wait_for("Page.loadEventFired")
    found = browser.call("Runtime.evaluate", expression=CHECKS, returnByValue=True)
    assert "exceptionDetails" not in found, found["exceptionDetails"]
    found = found["result"]["value"]
    for event in browser.events:
        method, parameters = event["method"], event["params"]
        if method in ("Runtime.consoleAPICalled", "Runtime.exceptionThrown", "Log.entryAdded"):
            found["problems"].append(f"the console says: {json.dumps(parameters)[:300]}")
        if method == "Network.requestWillBeSent":
            url = parameters["request"]["url"]
            if url != address and not url.startswith("data:"):
                found["problems"].append(f"a request goes to {url}")
    if shot:
        clip = {"x": 0, "y": 0, "width": width, "height": found["height"], "scale": 1}
        image = browser.call("Page.captureScreenshot", format="png", clip=clip, captureBeyondViewport=True)
        shot.write_bytes(base64.b64decode(image["data"]))
    return found


def main():
    chromium, folder = sys.argv[1], pathlib.Path(sys.argv[2]).resolve()
    shots = pathlib.Path(sys.argv[3]) if len(sys.argv) > 3 else None
    if shots:
        shots.mkdir(parents=True, exist_ok=True)
    failed = 0
    with tempfile.TemporaryDirectory() as profile:
        browser = Browser(chromium, profile)
        try:
            for name in ["index.html", "index.ja.html"]:
                address = (folder / name).as_uri()
                for width, scheme, media in [
                    (1280, "light", "screen"), (1280, "dark", "screen"), (390, "light", "screen"), (390, "dark", "screen"),
                    (800, "light", "print"),
                ]:
                    label = f"{name.removesuffix('.html')}-{width}-{scheme}-{media}"
                    found = look(browser, address, width, scheme, media, shots and shots / f"{label}.png")
                    print(f"{label}: {found['drawings']} drawings, {found['tables']} tables, {len(found['problems'])} problems")
                    for problem in found["problems"]:
                        print(f"  {problem}")
                    failed += len(found["problems"])
                    assert found["lang"] == ("ja" if ".ja." in name else "en") and found["drawings"] > 10, found
                    assert found["other"].endswith("index.html" if ".ja." in name else "index.ja.html"), found
        finally:
            browser.close()
    sys.exit(1 if failed else 0)


main()
