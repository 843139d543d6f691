"""Who a user is, as the four flows tell it. Pure.

    Profile          mobile websites         phone numbers and a name are always there
    UserInfo         OAuth SDK 3             `sub` is always there; the rest depends on the scopes that were granted
    VerifiedNumber   users without the app   a number and its country
    TrueProfile      SDK 2.x and iOS         what the app signed

Phone numbers are digits with country code. Everything else may be missing. A repr shows the last four digits of a
number and nothing else of a person; `raw` is all that came, for what has no field here.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime

import attrs

from truecaller_async.models import mask_number
from truecaller_async.protocol.json_codec import text_of
from truecaller_async.verification.json_fields import Plain, flag, inner, instant, items, needed, phone, text


def _masked(number: str | None) -> str:
    return repr(None if number is None else mask_number(number))


def _all_masked(numbers: tuple[str, ...]) -> str:
    return repr(tuple(mask_number(number) for number in numbers))


@attrs.frozen
class Address:
    """One postal address. `country_code` is as it was sent, of two letters in either case."""

    country_code: str | None = None
    city: str | None = attrs.field(default=None, repr=False)
    street: str | None = attrs.field(default=None, repr=False)
    zip_code: str | None = attrs.field(default=None, repr=False)


@attrs.frozen(kw_only=True)
class Profile:
    """A user of a mobile website. From "Truecaller for Developers: Mobile websites, Fetch User Profile".

    `gender` is "Male", "Female", "NotSet" or another word of the server's. `updated_at` has the instant of the last
    change by the name of the field.
    """

    phone_numbers: tuple[str, ...] = attrs.field(repr=_all_masked)
    first_name: str = attrs.field(repr=False)
    last_name: str | None = attrs.field(default=None, repr=False)
    id: str | None = attrs.field(default=None, repr=False)
    user_id: str | None = attrs.field(default=None, repr=False)
    badges: tuple[str, ...] = ()
    avatar_url: str | None = attrs.field(default=None, repr=False)
    is_active: bool | None = None
    gender: str | None = attrs.field(default=None, repr=False)
    privacy: str | None = None
    type: str | None = None
    created_at: datetime | None = None
    updated_at: Mapping[str, datetime] = attrs.field(factory=dict, repr=False)
    addresses: tuple[Address, ...] = attrs.field(default=(), repr=False)
    url: str | None = attrs.field(default=None, repr=False)
    email: str | None = attrs.field(default=None, repr=False)
    facebook_id: str | None = attrs.field(default=None, repr=False)
    about_me: str | None = attrs.field(default=None, repr=False)
    job_title: str | None = attrs.field(default=None, repr=False)
    company_name: str | None = attrs.field(default=None, repr=False)
    raw: Mapping[str, object] = attrs.field(factory=dict, repr=False)


@attrs.frozen(kw_only=True)
class UserInfo:
    """A user of the OAuth SDK. From "Truecaller for Developers: OAuth SDK, Fetching User Profile".

    `sub` names the user for ever. `phone_number_country_code` is of two capitals.
    """

    sub: str = attrs.field(repr=False)
    given_name: str | None = attrs.field(default=None, repr=False)
    family_name: str | None = attrs.field(default=None, repr=False)
    picture: str | None = attrs.field(default=None, repr=False)
    gender: str | None = attrs.field(default=None, repr=False)
    phone_number: str | None = attrs.field(default=None, repr=_masked)
    phone_number_country_code: str | None = None
    phone_number_verified: bool | None = None
    email: str | None = attrs.field(default=None, repr=False)
    locality: str | None = attrs.field(default=None, repr=False)
    postal_code: str | None = attrs.field(default=None, repr=False)
    raw: Mapping[str, object] = attrs.field(factory=dict, repr=False)


@attrs.frozen
class VerifiedNumber:
    """A number that a user without the app has proved. `country_code` is of two capitals.

    From "Truecaller for Developers: Server Side Validation".
    """

    phone_number: str = attrs.field(repr=_masked)
    country_code: str | None = None


@attrs.frozen(kw_only=True)
class TrueProfile:
    """What the app signed. From "Truecaller for Developers: For Truecaller users verification flow".

    `request_nonce` and `requested_at` were judged; see `SignedProfiles`. `gender` is a letter such as "N".
    """

    phone_number: str = attrs.field(repr=_masked)
    request_nonce: str | None = None
    requested_at: datetime | None = None
    first_name: str | None = attrs.field(default=None, repr=False)
    last_name: str | None = attrs.field(default=None, repr=False)
    gender: str | None = attrs.field(default=None, repr=False)
    country_code: str | None = None
    email: str | None = attrs.field(default=None, repr=False)
    is_true_name: bool | None = None
    is_ambassador: bool | None = None
    raw: Mapping[str, object] = attrs.field(factory=dict, repr=False)


def profile_of(value: Plain) -> Profile:
    """The profile in this object. Raises `DecodeError` where it has no phone number or no first name."""
    name, online = inner(value.get("name")), inner(value.get("onlineIdentities"))
    numbers = tuple(number for one in items(value.get("phoneNumbers")) if (number := phone(one)) is not None)
    return Profile(
        phone_numbers=needed(numbers or None, "$.phoneNumbers"),
        first_name=needed(text(name, "first"), "$.name.first"),
        last_name=text(name, "last"),
        id=text(value, "id"),
        user_id=text(value, "userId"),
        badges=tuple(badge for one in items(value.get("badges")) if (badge := text_of(one))),
        avatar_url=text(value, "avatarUrl"),
        is_active=flag(value.get("isActive")),
        gender=text(value, "gender"),
        privacy=text(value, "privacy"),
        type=text(value, "type"),
        created_at=instant(value.get("createdTime"), per_second=1000),
        updated_at=_history(inner(value.get("history"))),
        addresses=tuple(_address(inner(one)) for one in items(value.get("addresses"))),
        url=text(online, "url"),
        email=text(online, "email"),
        facebook_id=text(online, "facebookId"),
        about_me=text(value, "aboutMe"),
        job_title=text(value, "jobTitle"),
        company_name=text(value, "companyName"),
        raw=value,
    )


def user_info_of(value: Plain) -> UserInfo:
    """The user in this object. Raises `DecodeError` where it has no `sub`."""
    address = inner(value.get("address"))
    return UserInfo(
        sub=needed(text(value, "sub"), "$.sub"),
        given_name=text(value, "given_name"),
        family_name=text(value, "family_name"),
        picture=text(value, "picture"),
        gender=text(value, "gender"),
        phone_number=phone(value.get("phone_number")),
        phone_number_country_code=text(value, "phone_number_country_code"),
        phone_number_verified=flag(value.get("phone_number_verified")),
        email=text(value, "email"),
        locality=text(address, "locality"),
        postal_code=text(address, "postal_code"),
        raw=value,
    )


def verified_number_of(value: Plain) -> VerifiedNumber:
    """The number in this object, where it is a JSON number. Raises `DecodeError` where it has none."""
    return VerifiedNumber(needed(phone(value.get("phoneNumber")), "$.phoneNumber"), text(value, "countryCode"))


def true_profile_of(value: Plain) -> TrueProfile:
    """The profile in this object. Raises `DecodeError` where it has no phone number."""
    return TrueProfile(
        phone_number=needed(phone(value.get("phoneNumber")), "$.phoneNumber"),
        request_nonce=text(value, "requestNonce"),
        requested_at=instant(value.get("requestTime")),
        first_name=text(value, "firstName"),
        last_name=text(value, "lastName"),
        gender=text(value, "gender"),
        country_code=text(value, "countryCode"),
        email=text(value, "email"),
        is_true_name=flag(value.get("isTrueName")),
        is_ambassador=flag(value.get("isAmbassador")),
        raw=value,
    )


def _history(value: Plain) -> dict[str, datetime]:
    changes = {name: instant(inner(change).get("updateTime"), per_second=1000) for name, change in value.items()}
    return {name: change for name, change in changes.items() if change is not None}


def _address(value: Plain) -> Address:
    return Address(text(value, "countryCode"), text(value, "city"), text(value, "street"), text(value, "zipcode"))
