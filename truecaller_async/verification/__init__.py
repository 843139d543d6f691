"""Verify users with Truecaller sign-in, on the server side ("Truecaller for Developers").

This product is separate from Truecaller for Business: other hosts, credentials and error bodies. Transport, error
classes and `Secret` are shared.

    MobileWeb            mobile websites: a deep link, a callback, a profile         SignInStatus, SignIn
    OAuth                Android OAuth SDK 3: a code and its verifier for tokens     Pkce, OAuthTokens, UserInfo
    NonTruecallerUsers   users without the app: the number behind an access token    VerifiedNumber
    SignedProfiles       SDK 2.x and iOS: a profile that the app signed              TrueProfile

Modules: `json_fields`, `profiles`, `callbacks`, `deep_link` and `endpoints` do no I/O. `nonces` and `sqlite_nonces`
store the nonces that tie a browser to a callback. `requester` sends the requests.
"""

from truecaller_async.verification.callbacks import (
    FlowInvoked,
    ProfileReady,
    UnknownCallback,
    UserRejected,
    parse_callback,
)
from truecaller_async.verification.deep_link import DeepLink, LinkStyle
from truecaller_async.verification.endpoints import Endpoints
from truecaller_async.verification.mobile_web import CallbackAnswer, MobileWeb, MobileWebOptions, SignIn, SignInStatus
from truecaller_async.verification.non_truecaller import NonTruecallerUsers
from truecaller_async.verification.nonces import MemoryNonceStore, NonceRules, NonceStore
from truecaller_async.verification.oauth import OAuth, OAuthTokens, Pkce, challenge_of
from truecaller_async.verification.profiles import Address, Profile, TrueProfile, UserInfo, VerifiedNumber
from truecaller_async.verification.requester import ServiceOptions
from truecaller_async.verification.signed import ProfileChecks, SignedPayload, SignedProfiles
from truecaller_async.verification.sqlite_nonces import SqliteNonceStore

__all__ = [
    "Address",
    "CallbackAnswer",
    "DeepLink",
    "Endpoints",
    "FlowInvoked",
    "LinkStyle",
    "MemoryNonceStore",
    "MobileWeb",
    "MobileWebOptions",
    "NonTruecallerUsers",
    "NonceRules",
    "NonceStore",
    "OAuth",
    "OAuthTokens",
    "Pkce",
    "Profile",
    "ProfileChecks",
    "ProfileReady",
    "ServiceOptions",
    "SignIn",
    "SignInStatus",
    "SignedPayload",
    "SignedProfiles",
    "SqliteNonceStore",
    "TrueProfile",
    "UnknownCallback",
    "UserInfo",
    "UserRejected",
    "VerifiedNumber",
    "challenge_of",
    "parse_callback",
]
