"""A headless Chromium, driven by chromedriver over plain HTTP (W3C WebDriver, and DevTools commands)."""

import base64
import json
import subprocess
import tempfile
import time
import urllib.error
import urllib.request

# Of an element in WebDriver's JSON.
ELEMENT = "element-6066-11e4-a52e-4f735466cecf"


class Browser:
    """One window. Used as a context: the browser and its profile are gone afterwards."""

    def __init__(self, width=1400, height=1000, insecure=False):
        self.profile = tempfile.TemporaryDirectory(prefix="lockgate-chromium-")
        # Port 0: it names the one that it got. Its own group, as the browser is its child.
        self.driver = subprocess.Popen(
            ["chromedriver", "--port=0", "--log-level=WARNING"],
            stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True,
        )
        self.session = None
        try:
            self.address = f"http://127.0.0.1:{self._port()}"
            arguments = ["--headless=new", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage",
                         "--no-first-run", "--disable-extensions", "--disable-background-networking",
                         "--force-color-profile=srgb", f"--user-data-dir={self.profile.name}",
                         f"--window-size={width},{height}"]
            wanted = {
                "browserName": "chrome",
                "acceptInsecureCerts": insecure,
                "goog:chromeOptions": {"args": arguments},
                "goog:loggingPrefs": {"browser": "ALL", "performance": "ALL"},
            }
            made = self._ask("POST", "/session", {"capabilities": {"alwaysMatch": wanted}})
            self.session = f"/session/{made['sessionId']}"
        except BaseException:
            self.close()
            raise

    def _port(self):
        for line in self.driver.stdout:
            if "started successfully on port" in line:
                return int(line.rstrip(" .\n").rsplit(" ", 1)[1])
        raise RuntimeError("chromedriver has ended")

    def _ask(self, method, path, content=None):
        data = None if content is None else json.dumps(content).encode()
        request = urllib.request.Request(self.address + path, data, {"Content-Type": "application/json"}, method=method)
        try:
            with urllib.request.urlopen(request, timeout=60) as response:
                return json.load(response)["value"]
        except urllib.error.HTTPError as error:
            value = json.load(error)["value"]
            raise RuntimeError(f"{path}: {value['error']}: {value['message'].splitlines()[0]}") from None

    def close(self):
        if self.session:
            self._ask("DELETE", self.session)
        self.driver.terminate()
        self.driver.wait()
        self.driver.stdout.close()
        self.profile.cleanup()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()

    def command(self, method, path, content=None):
        return self._ask(method, self.session + path, content)

    def devtools(self, name, **parameters):
        return self.command("POST", "/goog/cdp/execute", {"cmd": name, "params": parameters})

    def open(self, url):
        self.command("POST", "/url", {"url": url})

    def run(self, script, *arguments):
        """The value of a JavaScript function's body."""
        return self.command("POST", "/execute/sync", {"script": script, "args": list(arguments)})

    def wait(self, condition, what, seconds=20):
        """Until the expression is true; returns its value."""
        end = time.monotonic() + seconds
        while True:
            value = self.run(f"return {condition}")
            if value:
                return value
            if time.monotonic() > end:
                raise AssertionError(f"{what}: not within {seconds} s: {condition}\n{self.text()}")
            time.sleep(0.1)

    def text(self):
        return self.run("return document.body.innerText")

    def find(self, selector):
        return self.command("POST", "/element", {"using": "css selector", "value": selector})[ELEMENT]

    def click(self, selector):
        self.command("POST", f"/element/{self.find(selector)}/click", {})

    def type(self, selector, text):
        self.command("POST", f"/element/{self.find(selector)}/value", {"text": text})

    def press(self, *keys):
        """Keys to what has the focus."""
        down_and_up = [{"type": kind, "value": key} for key in keys for kind in ("keyDown", "keyUp")]
        self.command("POST", "/actions", {"actions": [{"type": "key", "id": "keys", "actions": down_and_up}]})

    def screenshot(self, file, whole=True):
        shot = self.devtools("Page.captureScreenshot", captureBeyondViewport=whole)
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(base64.b64decode(shot["data"]))

    def emulate(self, width=None, height=None, dark=False, reduced_motion=False):
        if width:
            phone = width < 600
            self.devtools("Emulation.setDeviceMetricsOverride", width=width, height=height,
                          deviceScaleFactor=2 if phone else 1, mobile=phone)
        features = [{"name": "prefers-color-scheme", "value": "dark" if dark else "light"},
                    {"name": "prefers-reduced-motion", "value": "reduce" if reduced_motion else "no-preference"}]
        self.devtools("Emulation.setEmulatedMedia", features=features)

    def console(self):
        """What the console has had since it was asked last."""
        return self.command("POST", "/se/log", {"type": "browser"})

    def requests(self):
        """The URLs that were asked for since the last call."""
        urls = []
        for entry in self.command("POST", "/se/log", {"type": "performance"}):
            message = json.loads(entry["message"])["message"]
            if message["method"] == "Network.requestWillBeSent":
                urls.append(message["params"]["request"]["url"])
        return urls

    def accessibility(self):
        """The nodes that screen readers get: (role, name, is it focusable)."""
        nodes = []
        for node in self.devtools("Accessibility.getFullAXTree")["nodes"]:
            if node.get("ignored"):
                continue
            properties = {it["name"]: it["value"].get("value") for it in node.get("properties", [])}
            nodes.append((node["role"]["value"], node.get("name", {}).get("value", ""), properties.get("focusable", False)))
        return nodes
