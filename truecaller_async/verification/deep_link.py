"""Build the link that opens Truecaller's dialog in a mobile browser. No I/O.

A link is a fixed prefix and a query: the site (`partner_key`, `partner_name`), the request (`nonce`) and the appearance
of the dialog (`LinkStyle`).

Invariants:
    - The app silently ignores values that it does not know. So all values are checked here, together, before a link is
      used.
    - Times are seconds in this module and milliseconds in the link.
    - Every value is percent-encoded. Otherwise the `#` of a colour would start a fragment and end the query.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterator
from urllib.parse import quote, urlencode

import attrs

from truecaller_async.models import Problem
from truecaller_async.protocol.arguments import raise_problems
from truecaller_async.redaction import shown_value

LINK_PREFIX = "truecallersdk://truesdk/web_verify"

NONCE_FORM = re.compile(r"[A-Za-z0-9._~=-]{8,64}", re.ASCII)
COLOUR_FORM = re.compile(r"#[0-9A-Fa-f]{6}", re.ASCII)
WEB_LINK_FORM = re.compile(r"https?://[A-Za-z0-9\[][!-~]*", re.ASCII)

TTL_MIN_SECONDS = 8.0
"""The app treats every smaller value as this one."""
TTL_MAX_SECONDS = 2**31 / 1000
"""Upper bound: the value in milliseconds fits into 31 bits."""

LANGUAGES = ("en", "hi", "mr", "te", "ml", "ur", "pa", "ta", "bn", "kn", "sw", "ar")
LOGIN_PREFIXES = (
    "getstarted",
    "continue",
    "placeorder",
    "completepurchase",
    "checkout",
    "completebooking",
    "proceedwithbooking",
    "continuewith",
    "getdetails",
    "viewmore",
    "continuereading",
    "proceed",
    "newupdates",
    "getupdates",
    "subscribe",
    "subscribeforupdates",
)
LOGIN_SUFFIXES = ("login", "signup", "loginsignup", "register", "signin", "verifymobile")
CTA_PREFIXES = ("use", "continuewith", "proceedwith")
BUTTON_SHAPES = ("round", "rect")
SKIP_OPTIONS = ("useanothernum", "useanothermethod", "manualdetails", "later")

NONCE_HINT = "give a random text, such as secrets.token_urlsafe(24)"
NOT_A_LINK = "is not an http or https link"
NOT_A_COLOUR = "is not a colour of six hex digits"


@attrs.frozen
class LinkStyle:
    """Appearance of the dialog. Each field is optional; None leaves the choice to the app.

    From "Truecaller for Developers: Mobile websites, Initialisation".

    Raises:
        ValidationError: A value is not allowed; it lists all problems.
    """

    lang: str | None = None
    """Language, one of `LANGUAGES`."""
    privacy_url: str | None = None
    """Link to the privacy policy, http or https."""
    terms_url: str | None = None
    """Link to the terms of service, http or https."""
    login_prefix: str | None = None
    """Start of the title, one of `LOGIN_PREFIXES`."""
    login_suffix: str | None = None
    """End of the title, one of `LOGIN_SUFFIXES`."""
    cta_prefix: str | None = None
    """Text of the button, one of `CTA_PREFIXES`."""
    cta_color: str | None = None
    """Colour of the button, "#rrggbb"."""
    cta_text_color: str | None = None
    """Colour of the button's text, "#rrggbb"."""
    button_shape: str | None = None
    """Shape of the button, one of `BUTTON_SHAPES`."""
    skip_option: str | None = None
    """Text of the footer button, one of `SKIP_OPTIONS`."""
    ttl: float | None = None
    """Seconds after which the dialog closes, at least 8. Without it the dialog has no time limit."""

    def __attrs_post_init__(self) -> None:
        raise_problems(*self._problems())

    def parameters(self) -> dict[str, str]:
        """Return the query parameters that are set, by their names in the link, not yet encoded."""
        named = {
            "lang": self.lang,
            "privacyUrl": self.privacy_url,
            "termsUrl": self.terms_url,
            "loginPrefix": self.login_prefix,
            "loginSuffix": self.login_suffix,
            "ctaPrefix": self.cta_prefix,
            "ctaColor": self.cta_color,
            "ctaTextColor": self.cta_text_color,
            "btnShape": self.button_shape,
            "skipOption": self.skip_option,
            "ttl": None if self.ttl is None else str(round(self.ttl * 1000)),
        }
        return {name: value for name, value in named.items() if value is not None}

    def _problems(self) -> Iterator[Problem | None]:
        yield _check_choice("lang", self.lang, LANGUAGES)
        yield _check_choice("login_prefix", self.login_prefix, LOGIN_PREFIXES)
        yield _check_choice("login_suffix", self.login_suffix, LOGIN_SUFFIXES)
        yield _check_choice("cta_prefix", self.cta_prefix, CTA_PREFIXES)
        yield _check_choice("button_shape", self.button_shape, BUTTON_SHAPES)
        yield _check_choice("skip_option", self.skip_option, SKIP_OPTIONS)
        yield _check_form(
            "privacy_url", self.privacy_url, WEB_LINK_FORM, NOT_A_LINK, "give one such as https://example.com/p"
        )
        yield _check_form(
            "terms_url", self.terms_url, WEB_LINK_FORM, NOT_A_LINK, "give one such as https://example.com/t"
        )
        yield _check_form("cta_color", self.cta_color, COLOUR_FORM, NOT_A_COLOUR, "give one such as #0087ff")
        yield _check_form("cta_text_color", self.cta_text_color, COLOUR_FORM, NOT_A_COLOUR, "give one such as #ffffff")
        yield _check_ttl(self.ttl)


@attrs.frozen
class DeepLink:
    """The link that the page opens: `.url`.

    From "Truecaller for Developers: Mobile websites, Initialisation".

    Raises:
        ValidationError: A value has the wrong form; it lists all problems.
    """

    partner_key: str
    """The app key of the developer portal."""
    partner_name: str
    """The name that the dialog shows to the user."""
    nonce: str
    """Unique id of this request, 8 to 64 URL-safe characters. The callback returns it as `requestId`."""
    style: LinkStyle = attrs.field(factory=LinkStyle)
    """Appearance of the dialog."""

    def __attrs_post_init__(self) -> None:
        raise_problems(
            _check_key(self.partner_key),
            _check_name(self.partner_name),
            _check_form("nonce", self.nonce or "", NONCE_FORM, "is not 8 to 64 URL-safe characters", NONCE_HINT),
        )

    @property
    def url(self) -> str:
        """Return the link, percent-encoded."""
        query = {
            "type": "btmsheet",
            "requestNonce": self.nonce,
            "partnerKey": self.partner_key,
            "partnerName": self.partner_name,
            **self.style.parameters(),
        }
        return f"{LINK_PREFIX}?{urlencode(query, quote_via=quote, safe='')}"


def check_partner(partner_key: object, partner_name: object) -> Iterator[Problem | None]:
    """Yield the problems of the two values that all links of a site share."""
    yield _check_key(partner_key)
    yield _check_name(partner_name)


def _check_key(value: object) -> Problem | None:
    if isinstance(value, str) and value.isascii() and value.isprintable() and value and " " not in value:
        return None
    hint = "copy the app key from the developer portal"
    return Problem("partner_key", "partner_key.form", "is not printable ASCII without spaces", "", hint)


def _check_name(value: object) -> Problem | None:
    if isinstance(value, str) and value.isprintable() and value.strip():
        return None
    return Problem(
        "partner_name", "partner_name.form", "is not printable text", shown_value(value), "give the app's name"
    )


def _check_choice(field: str, value: object, choices: Collection[str]) -> Problem | None:
    if value is None or (isinstance(value, str) and value in choices):
        return None
    return Problem(
        field,
        f"{field}.allowed",
        "is not one of the documented values",
        shown_value(value),
        f"use {', '.join(choices)}",
    )


def _check_form(field: str, value: object, form: re.Pattern[str], message: str, hint: str) -> Problem | None:
    if value is None or (isinstance(value, str) and form.fullmatch(value)):
        return None
    return Problem(field, f"{field}.form", message, shown_value(value), hint)


def _check_ttl(value: object) -> Problem | None:
    usable = (
        isinstance(value, int | float) and not isinstance(value, bool) and TTL_MIN_SECONDS <= value <= TTL_MAX_SECONDS
    )
    if value is None or usable:
        return None
    hint = "give seconds, such as 30.0, or omit it for a dialog without time limit"
    message = f"is not from {TTL_MIN_SECONDS:g} to {TTL_MAX_SECONDS:,.0f} seconds"
    return Problem("ttl", "ttl.min", message, shown_value(value), hint)
