"""Sign users in with Truecaller on a mobile website: a page with a link, a callback, a poll.

Truecaller posts to https only, so put this behind a TLS proxy. Only the URL distinguishes Truecaller's callback from a
forged one, so create a key, such as `python -c "import secrets; print(secrets.token_urlsafe(32))"`, register
https://your.site/truecaller/THE-KEY, and keep this path out of the logs of the proxy. Then:

    TRUECALLER_PARTNER_KEY=... TRUECALLER_PARTNER_NAME="Your app" TRUECALLER_CALLBACK_KEY=... python examples/login.py

Several workers share the nonces with MobileWebOptions(store=SqliteNonceStore("nonces.db")). Each request of /login
takes one of 100,000 nonces, and the oldest is dropped if all are taken: limit in the proxy how often a client may open
it.
"""

import asyncio
import json
import logging
import os
import re
import secrets

from aiohttp import web

from truecaller_async import TruecallerError
from truecaller_async.verification import MobileWeb, SignInStatus

COOKIE = "__Host-login"
"""The prefix makes browsers refuse a cookie that another host of the domain has set."""
PAGE = """<!doctype html><title>Sign in</title><p id="message">Opening Truecaller…</p>
<script>
const nonce = %(nonce)s, message = document.getElementById("message");
location.href = %(link)s;
async function poll(left) {
  const answer = await (await fetch("/login/poll", {method: "POST", body: nonce})).json();
  if (answer.status === "verified") { message.textContent = "Hello, " + answer.name; return; }
  if (left === 0 || answer.status === "rejected" || answer.status === "ended") {
    message.textContent = "Please sign in with a code instead.";
    return;
  }
  setTimeout(poll, 3000, left - 1);
}
setTimeout(poll, 3000, 5);
</script>"""

LOGIN = web.AppKey("login", MobileWeb)


async def begin(request: web.Request) -> web.Response:
    """Start a session for this browser and return the page that opens the app."""
    session = secrets.token_urlsafe(32)
    link = await request.app[LOGIN].begin(session)
    page = PAGE % {"nonce": _for_script(link.nonce), "link": _for_script(link.url)}
    response = web.Response(text=page, content_type="text/html", headers={"Cache-Control": "no-store"})
    response.set_cookie(COOKIE, session, max_age=600, httponly=True, secure=True, samesite="Lax", path="/")
    return response


async def callback(request: web.Request) -> web.Response:
    """Answer a callback. A genuine and a forged one get the same answer."""
    answer = await request.app[LOGIN].handle_callback(await request.read())
    return web.Response(status=answer.status, body=answer.body, content_type="application/json")


async def poll(request: web.Request) -> web.Response:
    """Return the state of the sign-in to the browser that began it.

    A POST, because no other site can send one with this cookie; the nonce is in the body, because queries are logged.
    """
    session = request.cookies.get(COOKIE)
    if not session:
        return _answer(SignInStatus.ENDED)
    nonce = (await request.read()).decode("ascii", "replace")
    try:
        state = await request.app[LOGIN].poll(nonce, session)
    except TruecallerError as error:
        logging.warning("a profile was not fetched: %s", error)
        return _answer(SignInStatus.ENDED)
    if state.profile is None:
        return _answer(state.status)
    # Here the user is known by state.profile.phone_numbers: look up the account and start an application session with a
    # new value, never with this cookie or one that existed before.
    response = _answer(state.status, name=state.profile.first_name)
    response.del_cookie(COOKIE, path="/", httponly=True, secure=True, samesite="Lax")
    return response


def create_app(login: MobileWeb, key: str) -> web.Application:
    """Create the backend, which closes `login` at its end; `key` is the last part of the callback path."""
    if not re.fullmatch(r"[A-Za-z0-9_-]{32,}", key):
        raise SystemExit("TRUECALLER_CALLBACK_KEY must be at least 32 random URL-safe characters")
    app = web.Application(client_max_size=64 * 1024)
    app[LOGIN] = login
    app.add_routes([web.get("/login", begin), web.post("/login/poll", poll), web.post(f"/truecaller/{key}", callback)])

    async def close(_: web.Application) -> None:
        await login.aclose()

    app.on_cleanup.append(close)
    return app


def _answer(status: SignInStatus, **more: str) -> web.Response:
    return web.json_response({"status": status, **more}, headers={"Cache-Control": "no-store"})


def _for_script(text: str) -> str:
    return json.dumps(text).replace("<", "\\u003c")


async def main() -> None:
    login = MobileWeb(os.environ["TRUECALLER_PARTNER_KEY"], os.environ["TRUECALLER_PARTNER_NAME"])
    app = create_app(login, os.environ["TRUECALLER_CALLBACK_KEY"])
    # No access log, because the key is in a path. No decompression, because a small body could become a large one.
    runner = web.AppRunner(app, access_log=None, auto_decompress=False)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", int(os.environ.get("PORT", "8080"))).start()
    host, port = runner.addresses[0][:2]
    print(f"http://{host}:{port}/login", flush=True)
    try:
        await asyncio.Event().wait()
    finally:
        await runner.cleanup()


if __name__ == "__main__":
    asyncio.run(main())
