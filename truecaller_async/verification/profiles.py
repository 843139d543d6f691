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
from truecaller_async.verification.json_fields import (
    JsonObject,
    boolean,
    list_or_empty,
    object_or_empty,
    phone_number,
    required,
    text_field,
    timestamp,
)


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


def profile_of(value: JsonObject) -> Profile:
    """The profile in this object. Raises `DecodeError` where it has no phone number or no first name."""
    name, online = object_or_empty(value.get("name")), object_or_empty(value.get("onlineIdentities"))
    numbers = tuple(
        number for one in list_or_empty(value.get("phoneNumbers")) if (number := phone_number(one)) is not None
    )
    return Profile(
        phone_numbers=required(numbers or None, "$.phoneNumbers"),
        first_name=required(text_field(name, "first"), "$.name.first"),
        last_name=text_field(name, "last"),
        id=text_field(value, "id"),
        user_id=text_field(value, "userId"),
        badges=tuple(badge for one in list_or_empty(value.get("badges")) if (badge := text_of(one))),
        avatar_url=text_field(value, "avatarUrl"),
        is_active=boolean(value.get("isActive")),
        gender=text_field(value, "gender"),
        privacy=text_field(value, "privacy"),
        type=text_field(value, "type"),
        created_at=timestamp(value.get("createdTime"), per_second=1000),
        updated_at=_history(object_or_empty(value.get("history"))),
        addresses=tuple(_address(object_or_empty(one)) for one in list_or_empty(value.get("addresses"))),
        url=text_field(online, "url"),
        email=text_field(online, "email"),
        facebook_id=text_field(online, "facebookId"),
        about_me=text_field(value, "aboutMe"),
        job_title=text_field(value, "jobTitle"),
        company_name=text_field(value, "companyName"),
        raw=value,
    )


def user_info_of(value: JsonObject) -> UserInfo:
    """The user in this object. Raises `DecodeError` where it has no `sub`."""
    address = object_or_empty(value.get("address"))
    return UserInfo(
        sub=required(text_field(value, "sub"), "$.sub"),
        given_name=text_field(value, "given_name"),
        family_name=text_field(value, "family_name"),
        picture=text_field(value, "picture"),
        gender=text_field(value, "gender"),
        phone_number=phone_number(value.get("phone_number")),
        phone_number_country_code=text_field(value, "phone_number_country_code"),
        phone_number_verified=boolean(value.get("phone_number_verified")),
        email=text_field(value, "email"),
        locality=text_field(address, "locality"),
        postal_code=text_field(address, "postal_code"),
        raw=value,
    )


def verified_number_of(value: JsonObject) -> VerifiedNumber:
    """The number in this object, where it is a JSON number. Raises `DecodeError` where it has none."""
    return VerifiedNumber(
        required(phone_number(value.get("phoneNumber")), "$.phoneNumber"), text_field(value, "countryCode")
    )


def true_profile_of(value: JsonObject) -> TrueProfile:
    """The profile in this object. Raises `DecodeError` where it has no phone number."""
    return TrueProfile(
        phone_number=required(phone_number(value.get("phoneNumber")), "$.phoneNumber"),
        request_nonce=text_field(value, "requestNonce"),
        requested_at=timestamp(value.get("requestTime")),
        first_name=text_field(value, "firstName"),
        last_name=text_field(value, "lastName"),
        gender=text_field(value, "gender"),
        country_code=text_field(value, "countryCode"),
        email=text_field(value, "email"),
        is_true_name=boolean(value.get("isTrueName")),
        is_ambassador=boolean(value.get("isAmbassador")),
        raw=value,
    )


def _history(value: JsonObject) -> dict[str, datetime]:
    changes = {
        name: timestamp(object_or_empty(change).get("updateTime"), per_second=1000) for name, change in value.items()
    }
    return {name: change for name, change in changes.items() if change is not None}


def _address(value: JsonObject) -> Address:
    return Address(
        text_field(value, "countryCode"),
        text_field(value, "city"),
        text_field(value, "street"),
        text_field(value, "zipcode"),
    )
