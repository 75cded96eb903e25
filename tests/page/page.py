"""The status page in headless Chromium: what it shows of real clients, what attacks on it come to, keyboard, screen
readers, phones, dark mode, and a gateway that stops.

    page.py --lockgate LOCKGATE --axe AXE_MIN_JS [--shots FOLDER]

Screenshots are for people to look at.
"""

import argparse
import json
import pathlib
import signal
import sys
import tempfile
import time

from browser import Browser
from gateway import ATTACKS, BAN_FAILURES, PASSWORD, TOKEN, Clients, Gateway

PHONE = 360


class Failed(Exception):
    pass


def expect(condition, what):
    if not condition:
        raise Failed(what)


def element(name):
    return f"document.getElementById('{name}')"


def rows(browser, section):
    """The cells of each row, as they are read."""
    return browser.run("""
        return [...document.querySelectorAll(`#${arguments[0]} tbody tr`)]
            .map((row) => [...row.children].map((cell) => cell.textContent))
    """, section)


def wait_for_update(browser):
    """The page updates itself, too; this does not wait for its two seconds."""
    before = browser.run("const before = page.last; refresh(); return before")
    browser.wait(f"page.last > {before}", "an update")


class Page:
    def __init__(self, browser, gateway, clients, axe, shots):
        self.browser, self.gateway, self.clients = browser, gateway, clients
        self.axe, self.shots = axe, shots

    def shot(self, name, width=1400, dark=False):
        self.browser.emulate(width, 900, dark)
        height = self.browser.run("return document.documentElement.scrollHeight")
        self.browser.emulate(width, min(height, 6000), dark)
        # The port maps fit themselves to the width.
        wait_for_update(self.browser)
        self.browser.screenshot(self.shots / f"{name}.png", whole=False)
        self.browser.emulate(1400, 1000)

    def asks_one_thing_at_a_time(self):
        """Each request is a connection: the page must not have many."""
        browser = self.browser
        browser.requests()
        for _ in range(3):
            wait_for_update(browser)
        paths = [url.removeprefix(self.gateway.url) for url in browser.requests()]
        expect(set(paths) == {"/overview"} and 3 <= len(paths) <= 5, f"within three updates it asked {paths}")

    def tells_failures_apart(self):
        """An answer that is an error, one that is a proxy's, none, and a mistake of the page itself."""
        browser = self.browser
        self.console_is_quiet()
        browser.run("window.asked = window.fetch")
        error = "{status: 503, headers: {'Content-Type': 'application/json'}}"
        for fetched, state, text in [
            (f"Promise.resolve(new Response(JSON.stringify({{error: 'the configuration has no <b>admin.address'}}), {error}))",
             "Refused", "The gateway refuses: the configuration has no <b>admin.address. What you see is as of"),
            ("Promise.resolve(new Response('<h1>Bad gateway</h1>', {status: 502}))", "Refused", "with the status 502, is none of a gateway's"),
            ("Promise.reject(new DOMException('too long', 'TimeoutError'))", "No answer", "The gateway does not answer. What you see"),
        ]:
            browser.run(f"window.fetch = () => {fetched}")
            browser.wait(f"{element('state')}.textContent === '{state}' && {element('lost')}.textContent.includes({json.dumps(text)})", text)
            expect(browser.run("return document.body.classList.contains('stale')"), "old data looks new")
        browser.run("window.fetch = window.asked")
        browser.wait(f"{element('lost')}.hidden && {element('state')}.textContent === 'Serving'", "the end of the failures")
        self.console_is_quiet()
        browser.run("page.sections.chart.update = () => { throw new TypeError('a mistake of the page') }")
        browser.wait(f"{element('state')}.textContent === 'Error'", "the mistake")
        expect("This page has an error: a mistake of the page." in browser.run(f"return {element('lost')}.textContent"), "the mistake's text")
        browser.run("delete page.sections.chart.update")
        browser.wait(f"{element('lost')}.hidden && {element('state')}.textContent === 'Serving'", "the end of the mistake")
        console = [entry["message"] for entry in browser.console()]
        expect(console and all("a mistake of the page" in message for message in console), f"the console has {console}")

    def console_is_quiet(self):
        """Nothing but answers that are errors: without a login, and to a configuration that is not valid."""
        for entry in self.browser.console():
            message = entry["message"]
            known = ["status of 401", "status of 422", "Password forms should have"]
            expect(any(it in message for it in known), f"the console has {message}")

    def log_in(self):
        browser = self.browser
        browser.open(self.gateway.url)
        browser.wait(f"!{element('login')}.hidden", "the form")
        browser.screenshot(self.shots / "login.png", whole=False)
        expect(browser.run("return document.activeElement.id") == "token", "the token's field has no focus")
        browser.type("#token", "not the token, but as long as one")
        browser.press("\ue007")
        browser.wait(f"{element('login-error')}.textContent.includes('not the token')", "the refusal")
        expect(browser.run(f"return {element('data')}.hidden"), "data is shown without a login")
        browser.run(f"{element('token')}.value = ''")
        browser.type("#token", TOKEN)
        browser.click("#login button")
        browser.wait(f"!{element('data')}.hidden && {element('login')}.hidden", "the data")
        for kept in ["document.cookie", "JSON.stringify({...localStorage, ...sessionStorage})", "location.href"]:
            value = browser.run(f"return {kept}")
            expect(TOKEN not in value and "lockgate-" not in value, f"scripts can read {value}")
        cookies = browser.command("GET", "/cookie")
        [cookie] = cookies
        expect(cookie["httpOnly"] and cookie["sameSite"] == "Strict", f"the cookie: {cookie}")

    def shows_clients(self):
        browser = self.browser
        self.clients.upload(f"/in/{ATTACKS[0]}")
        self.clients.download("/big.bin", "<b>carol</b>")
        self.clients.upload(f"/in/{ATTACKS[-1]}", "bob")
        idle = self.clients.connect("bob")
        idle.sendcmd("PASV")
        browser.wait("document.querySelectorAll('#transfers tbody tr').length === 3", "three transfers")
        browser.wait("document.querySelectorAll('#sessions tbody tr').length === 4", "four sessions")
        moved = lambda: browser.run("""
            const row = [...document.querySelectorAll('#transfers tbody tr')].find((it) => it.textContent.includes('/big.bin'));
            const bar = row.querySelector('progress');
            return [bar.hidden, bar.value, bar.getAttribute('aria-label'), row.textContent];
        """)
        browser.wait("[...document.querySelectorAll('#transfers progress')].some((bar) => !bar.hidden && bar.value > 0)", "progress")
        hidden, before, label, text = moved()
        expect(not hidden and "percent" in label and " of 64.0 MiB" in text, f"{label}: {text}")
        browser.wait(f"[...document.querySelectorAll('#transfers progress')].some((bar) => bar.value > {before})", "more progress")
        users = {row[1] for row in rows(browser, "sessions")}
        expect(users == {"alice", "bob", "<b>carol</b>"}, f"users: {users}")
        browser.wait("page.sections.chart.picture.getAttribute('aria-label').match(/up [1-9]/)", "throughput")
        states = {row[0]: row[1] for row in rows(browser, "backends")}
        dead = f"warehouse/127.0.0.1:{self.gateway.ports['dead']}"
        browser.wait(f"[...document.querySelectorAll('#backends tr')].some((row) => row.textContent.includes('{dead}') && row.textContent.includes('down'))", "the dead server")
        expect(states["files"] == "up", f"{states}")
        ports = browser.run("return [...document.querySelectorAll('#ports svg.map')].map((map) => [map.getAttribute('aria-label'), map.querySelectorAll('.port').length, map.querySelectorAll('.active').length, map.querySelectorAll('.reserved').length])")
        public = next(it for it in ports if "public" in it[0])
        # A port may be in use and reserved for the next.
        expect(public[1] == 120 and 1 <= public[2] <= 3 and "3 connections, 1 reserved" in public[0], f"{ports}")
        expected = {row[0]: row[1:3] for row in rows(browser, "expected")}
        expect(expected["orders"] == ["waiting", "0 of 2"], f"{expected}")
        limits = {(row[0], row[1]): row[2:] for row in rows(browser, "limits")}
        expect(limits["each-user", "sessions"] == ["2 (5 %)", "40", "user bob"], f"{limits}")
        expect(limits["each-user", "bytes_per_day"][1] == "100 MiB", f"{limits}")
        certificates = rows(browser, "certificates")
        expect([row[0] for row in certificates] == ["old.crt", "new.crt"], f"{certificates}")
        expect(certificates[0][4] in ("9 days", "10 days"), f"{certificates}")

    def attacks_are_text(self):
        browser = self.browser
        ftp = self.clients.connect("bob")
        for name in ATTACKS:
            self.clients.refused(ftp, f"DELE /in/{name}")
        for name in ATTACKS[:4]:
            self.clients.login_refused(name)
        browser.wait("document.querySelectorAll('#failures tbody tr').length >= 12", "the failures")
        paths = {row[2] for row in rows(browser, "failures")}
        for name in ATTACKS:
            shown = name.replace("\x1b", "\\u{1b}").replace("\x07", "\\u{7}").replace("\u202e", "\\u{202e}").replace("\u200b", "\\u{200b}")
            expect(f"/in/{shown}" in paths, f"/in/{shown} is not among {paths}")
        users = {row[3] for row in rows(browser, "failures")}
        expect(set(ATTACKS[:4]) <= users, f"{users}")
        denied = next(row for row in rows(browser, "failures") if row[2].startswith("/in/<img"))
        expect(denied[5:7] == ["policy", "nothing-is-deleted"], f"{denied}")
        made = browser.run("return [window.attacked ?? null, document.querySelectorAll('main img, main script, main svg[onload], main iframe, main a').length, document.title]")
        expect(made[:2] == [None, 0] and "attacked" not in made[2], f"{made}")
        controls = browser.run(r"return document.body.textContent.match(/[\x00-\x08\x0b-\x1f\x7f\u200b\u202a-\u202e]/)")
        expect(controls is None, f"{controls}")
        # The table's own markup is what it was.
        lengths = browser.run("return [...document.querySelectorAll('#failures tr')].map((row) => row.children.length)")
        expect(len(set(lengths)) == 1, f"{lengths}")

    def filters_and_sorts(self):
        browser = self.browser
        browser.type("#failures-filter", "policy nothing-is onerror")
        browser.wait("document.querySelectorAll('#failures tbody tr').length === 1", "one row")
        expect(browser.run(f"return {element('failures-count')}.textContent").startswith("1 of "), "the count")
        browser.run(f"{element('failures-filter')}.value = ''; {element('failures-filter')}.dispatchEvent(new Event('input'))")
        browser.run("[...document.querySelectorAll('#sessions .sort')].find((it) => it.textContent === 'User').focus()")
        for order in ["ascending", "descending"]:
            browser.press("\ue007")
            head = browser.run("return document.activeElement.closest('th').getAttribute('aria-sort')")
            users = [row[1] for row in rows(browser, "sessions")]
            # As people sort: the signs first.
            wanted = sorted(users, key=lambda user: (user[0] != "<", user), reverse=order == "descending")
            expect(head == order and users == wanted, f"{head}: {users}")

    def keyboard_and_names(self):
        browser = self.browser
        # Nothing moves while it is looked at.
        browser.emulate(1400, 1000, reduced_motion=True)
        browser.run("document.activeElement.blur(); scrollTo(0, 0)")
        browser.run(f"{element('main')}.parentElement.setAttribute('tabindex', '-1'); document.body.focus(); document.body.removeAttribute('tabindex')")
        seen = []
        for _ in range(40):
            browser.press("\ue004")
            seen.append(browser.run("""
                const it = document.activeElement;
                const style = getComputedStyle(it);
                const box = it.getBoundingClientRect();
                const name = it.getAttribute('aria-label') ?? it.labels?.[0]?.textContent ?? it.textContent;
                return [name.trim().slice(0, 60), style.outlineStyle, box.top >= -1 && box.bottom <= innerHeight + 1, it.tagName, box.height];
            """))
        names = [name for name, *_ in seen]
        wanted = ["Skip to the content", "Reload configuration", "Drain", "Log out", "Filter transfers", "Running transfers", "Path"]
        expect([name for name in names if name in wanted] == wanted, f"the order of tabs: {names}")
        for name, outline, visible, tag, height in seen:
            expect(name, f"a {tag} without a name has the focus")
            expect(outline != "none", f"{name} does not show that it has the focus")
            expect(visible or height > 600, f"{name} has the focus out of sight")
        # An update takes the focus from nobody.
        browser.run("[...document.querySelectorAll('#sessions button.small')].at(-1).focus()")
        label = browser.run("return document.activeElement.getAttribute('aria-label')")
        for _ in range(2):
            wait_for_update(browser)
        expect(browser.run("return document.activeElement.getAttribute('aria-label')") == label and label.startswith("End session"), f"{label}")
        unnamed = [node for node in browser.accessibility()
                   if node[0] in ("button", "link", "textbox", "searchbox", "image", "progressbar", "meter", "table", "checkbox", "region") and not node[1]]
        expect(not unnamed, f"screen readers get no name: {unnamed}")
        headings = [name for role, name, _ in browser.accessibility() if role == "heading"]
        expect(headings[0] == "lockgate" and {"Throughput", "Transfers", "Sessions", "Data ports", "Expected files"} <= set(headings), f"{headings}")

    def accessible_in_the_dark(self):
        self.accessible(dark=True)

    def accessible(self, dark=False):
        """axe-core's rules; among them the contrast of each text."""
        browser = self.browser
        browser.emulate(1400, 1000, dark)
        wait_for_update(browser)
        browser.run(self.axe.read_text() + "; window.axe = axe")
        found = browser.command("POST", "/execute/async", {"script": """
            const done = arguments[arguments.length - 1];
            axe.run(document, { resultTypes: ['violations'] }).then(
                ({ violations, passes }) => done({ violations, rules: passes.map((it) => it.id) }),
                (error) => done({ error: String(error) }));
        """, "args": []})
        expect("error" not in found, f"axe: {found}")
        expect("color-contrast" in found["rules"], f"axe has looked at {found['rules']}")
        text = [f"{it['id']}: {it['help']}: {[node['html'][:160] for node in it['nodes'][:3]]}" for it in found["violations"]]
        expect(not text, "axe finds:\n" + "\n".join(text))
        browser.emulate(1400, 1000)

    def fits(self):
        browser = self.browser
        light = browser.run("return getComputedStyle(document.body).backgroundColor")
        for width in [PHONE, 768, 1400]:
            browser.emulate(width, 800)
            wait_for_update(browser)
            wide = browser.run("return [document.documentElement.scrollWidth, document.documentElement.clientWidth]")
            expect(wide[0] <= wide[1], f"at {width} pixels the page is {wide[0]} wide")
            lines = browser.run("""
                const lines = {};
                for (const tile of document.getElementById('tiles').children) {
                    const { top, right } = tile.getBoundingClientRect();
                    lines[Math.round(top)] = Math.round(right);
                }
                return [document.getElementById('tiles').children.length, Object.values(lines)];
            """)
            expect(lines[0] == 7 and len(set(lines[1])) == 1, f"at {width} pixels a line of the head's tiles is not full: {lines}")
        browser.emulate(1400, 1000, dark=True)
        dark = browser.run("return getComputedStyle(document.body).backgroundColor")
        expect(light != dark, f"dark is {dark}")
        self.shot("light")
        self.shot("dark", dark=True)
        self.shot("phone", PHONE)

    def large_pools_are_grouped(self):
        """What no test can have: a pool of 5,000 ports."""
        made = self.browser.run("""
            const runs = Array.from({ length: 715 }, (_, index) => [
                { first: 20000 + 7 * index, last: 20000 + 7 * index, active: 1 },
                { first: 20001 + 7 * index, last: Math.min(20006 + 7 * index, 24998) },
            ]).flat().filter((run) => run.first <= run.last);
            runs.push({ first: 24999, last: 24999, quarantined: true });
            const busy = runs.slice(0, 1).map((run) => ({ port: run.first, active: 1, reserved: 0, owners: [] }));
            page.sections.ports.update([{ pool: 'large', queued: 3, runs, busy }]);
            const map = document.querySelector('#ports svg.map');
            const names = [...map.querySelectorAll('title')].map((it) => it.textContent);
            return [names.length, names[0], map.querySelector('desc').textContent, map.getAttribute('aria-label'),
                map.getBoundingClientRect().right <= innerWidth, document.querySelector('#ports summary').textContent];
        """)
        expect(made[:3] == [1000, "Ports 20000 to 20004: 1 connection, 0 reserved", "Each square stands for 5 ports"], f"{made}")
        expect("5,000 ports: 715 connections" in made[3] and "3 sessions waiting" in made[3] and made[4], f"{made}")
        expect(made[5] == "Busy ports (the first 1 of 715)", f"{made}")
        wait_for_update(self.browser)

    def asks_nobody_else(self):
        for url in self.browser.requests():
            expect(url.startswith((self.gateway.url + "/", "data:", "chrome", "about:")), f"the page asked {url}")

    def rests_while_hidden(self):
        browser = self.browser
        browser.run("Object.defineProperty(document, 'hidden', { value: true, configurable: true }); document.dispatchEvent(new Event('visibilitychange'))")
        time.sleep(0.5)
        before = browser.run("return page.last")
        time.sleep(3)
        expect(browser.run("return page.last") == before, "it asks while nobody looks")
        browser.run("delete document.hidden; document.dispatchEvent(new Event('visibilitychange'))")
        browser.wait(f"page.last > {before}", "an update once it is seen again")

    def ends_a_session(self):
        browser = self.browser
        victim = self.clients.connect("bob")
        wait_for_update(browser)
        wait_for_update(browser)
        number = max(int(row[0]) for row in rows(browser, "sessions"))
        click = f"[...document.querySelectorAll('#sessions button.small')].find((it) => it.getAttribute('aria-label').startsWith('End session {number} ')).click()"
        browser.run(click)
        browser.wait(f"{element('confirm')}.open", "the question")
        expect(browser.run("return document.activeElement.id") == "confirm-no", "the focus is not on Cancel")
        browser.screenshot(self.shots / "question.png", whole=False)
        browser.press("\ue00c")
        browser.wait(f"!{element('confirm')}.open", "Escape")
        victim.sendcmd("NOOP")
        browser.run(click)
        browser.click("#confirm-gentle")
        browser.click("#confirm-yes")
        browser.wait(f"{element('notice')}.textContent === 'Session {number} was ended.'", "the notice")
        reply = self.clients.refused_or_closed(victim)
        expect("operator" in reply, f"the client got {reply}")
        browser.wait(f"![...document.querySelectorAll('#sessions tbody th')].some((it) => it.textContent === '{number}')", "the row's end")

    def drains_a_server_and_lifts_a_ban(self):
        browser = self.browser
        for _ in range(BAN_FAILURES):
            self.clients.login_refused("mallory", "127.0.0.66")
        browser.wait("document.querySelectorAll('#bans tbody tr').length === 1", "the ban")
        expect(browser.run(f"return {element('bans-count')}.textContent") == "1 address", "the count of bans")
        expect(browser.run("return plural(2, 'address', 'addresses')") == "2 addresses", "the plural of address")
        for section, label, confirm, notice in [
            ("backends", "Drain", "Drain the server", "The server files gets no new sessions."),
            ("backends", "Use again", None, "The server files is used again."),
            ("bans", "Lift", "Lift the ban", "The ban of 127.0.0.66 was lifted."),
        ]:
            browser.wait(f"document.querySelector('#{section} tbody button').textContent === '{label}'", label)
            browser.run("document.querySelector(`#${arguments[0]} tbody button`).click()", section)
            if confirm:
                browser.wait(f"{element('confirm')}.open && {element('confirm-yes')}.textContent === '{confirm}'", confirm)
                browser.click("#confirm-yes")
            browser.wait(f"{element('notice')}.textContent === '{notice}'", notice)
        browser.wait("document.querySelectorAll('#bans tbody tr').length === 0", "the end of the ban")

    def reloads(self):
        browser, file = self.browser, self.gateway.file
        text = file.read_text()
        for content, notice in [(text.replace('"routes"', '"ruotes"'), "did you mean \"routes\""), (text, "read again and is in force")]:
            file.write_text(content)
            browser.click("#reload")
            browser.click("#confirm-yes")
            browser.wait(f"{element('notice')}.textContent.includes({json.dumps(notice)})", notice)
        shown = browser.run(f"{element('configuration')}.closest('details').open = true; return {element('configuration')}.textContent")
        expect('"(secret)"' in shown and self.gateway.hash not in shown, "the configuration shows a secret, or nothing")
        expect(TOKEN not in browser.run("return document.documentElement.outerHTML") and PASSWORD not in shown, "a secret is in the page")

    def says_that_the_gateway_is_gone(self):
        browser = self.browser
        self.gateway.stop()
        browser.wait(f"!{element('lost')}.hidden && {element('state')}.textContent === 'No answer'", "the loss")
        expect("What you see is as of" in browser.run(f"return {element('lost')}.textContent"), "the time of the last answer")
        expect(browser.run("return document.querySelectorAll('#failures tbody tr').length") > 5, "what was seen is gone")
        browser.screenshot(self.shots / "lost.png", whole=False)
        self.gateway.start()
        # The key of its cookies is another.
        browser.wait(f"!{element('login')}.hidden && {element('lost')}.hidden", "the form", 30)
        browser.type("#token", TOKEN)
        browser.click("#login button")
        browser.wait(f"!{element('data')}.hidden && {element('state')}.textContent === 'Serving'", "the data")
        browser.click("#logout")
        browser.wait(f"!{element('login')}.hidden && {element('data')}.hidden", "the form")
        expect(browser.command("GET", "/cookie") == [], "the cookie stays")

    def works_under_tls(self):
        browser = self.browser
        self.gateway.restart_under_tls()
        browser.open(self.gateway.url)
        browser.wait(f"!{element('login')}.hidden", "the form")
        browser.type("#token", TOKEN)
        browser.click("#login button")
        browser.wait(f"!{element('data')}.hidden && {element('state')}.textContent === 'Serving'", "the data")
        [cookie] = browser.command("GET", "/cookie")
        expect(cookie["name"].startswith("__Host-lockgate-") and cookie["secure"], f"the cookie: {cookie}")

    def shows_and_ends_sessions_of_the_process_before(self):
        browser = self.browser
        victim = self.clients.connect("bob")
        self.clients.upload("/in/before", "alice")
        before = self.gateway.take_over()
        # The key of its cookies is another.
        browser.wait(f"!{element('login')}.hidden", "the form", 30)
        browser.type("#token", TOKEN)
        browser.click("#login button")
        browser.wait(f"!{element('data')}.hidden && {element('state')}.textContent === 'Serving'", "the data")
        self.clients.connect("bob")
        place = f" in process {before.pid}"
        browser.wait("document.querySelectorAll('#sessions tbody tr').length === 3", "three sessions")
        of = {row[1]: row[0] for row in rows(browser, "sessions") if row[0].endswith(place)}
        expect(set(of) == {"alice", "bob"} and len(rows(browser, "sessions")) == 3, f"{rows(browser, 'sessions')}")
        [upload] = rows(browser, "transfers")
        expect(upload[0] == "/in/before" and upload[-1] == of["alice"], f"{upload}")
        tiles = browser.run(f"return {element('tiles')}.textContent")
        expect("and 2 in processes before this one" in tiles, tiles)
        browser.screenshot(self.shots / "process-before.png", whole=False)
        number = of["bob"].removesuffix(place)
        browser.run(f"[...document.querySelectorAll('#sessions button.small')].find((it) => it.getAttribute('aria-label').startsWith('End session {number} ')).click()")
        browser.click("#confirm-gentle")
        browser.click("#confirm-yes")
        browser.wait(f"{element('notice')}.textContent === 'Session {number} was ended.'", "the notice")
        expect("operator" in self.clients.refused_or_closed(victim), "the client is not told")
        browser.wait("document.querySelectorAll('#sessions tbody tr').length === 2", "the row's end")
        # It answers no more.
        before.send_signal(signal.SIGSTOP)
        try:
            browser.wait(f"!{element('unanswered')}.hidden && /^Process {before.pid} before this one, with \\d sessions?, does not answer: /.test({element('unanswered')}.textContent)", "what is missing")
            browser.wait("document.querySelectorAll('#sessions tbody tr').length === 1", "the rest")
        finally:
            before.send_signal(signal.SIGCONT)
        browser.wait(f"{element('unanswered')}.hidden && document.querySelectorAll('#sessions tbody tr').length === 2", "all of it")


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--lockgate", required=True, type=pathlib.Path)
    parser.add_argument("--axe", required=True, type=pathlib.Path)
    parser.add_argument("--shots", default="target/page", type=pathlib.Path)
    arguments = parser.parse_args()
    started = time.monotonic()
    with tempfile.TemporaryDirectory(prefix="lockgate-page-") as folder, Browser(insecure=True) as browser:
        gateway = Gateway(arguments.lockgate.resolve(), pathlib.Path(folder))
        clients = Clients(gateway.ports["front"])
        page = Page(browser, gateway, clients, arguments.axe, arguments.shots)
        steps = [page.log_in, page.shows_clients, page.attacks_are_text, page.filters_and_sorts, page.keyboard_and_names,
                 page.asks_one_thing_at_a_time, page.tells_failures_apart, page.fits, page.large_pools_are_grouped, page.accessible, page.accessible_in_the_dark, page.rests_while_hidden, page.ends_a_session, page.drains_a_server_and_lifts_a_ban]
        last = [page.reloads, page.console_is_quiet, page.asks_nobody_else, page.says_that_the_gateway_is_gone, page.works_under_tls,
                page.shows_and_ends_sessions_of_the_process_before]
        try:
            for step in steps + last:
                begun = time.monotonic()
                step()
                print(f"ok: {step.__name__.replace('_', ' ')} ({time.monotonic() - begun:.1f} s)", flush=True)
        except (Failed, AssertionError) as error:
            browser.screenshot(arguments.shots / "failed.png", whole=False)
            print(f"page: {error}", file=sys.stderr)
            sys.exit(1)
        finally:
            clients.close()
            gateway.stop()
    print(f"page: passed in {time.monotonic() - started:.0f} s; screenshots in {arguments.shots}")


if __name__ == "__main__":
    main()
