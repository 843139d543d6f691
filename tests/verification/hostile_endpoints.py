"""Addresses that a forged callback may contain, and the two allowed ones.

Each address that is not allowed is one that some URL parser or simple check takes for an address of Truecaller.
"""

from __future__ import annotations

HOST = "profile4-noneu.truecaller.com"
FULL_WIDTH = "".join(chr(ord(char) + 0xFEE0) if char.isalpha() else char for char in HOST)
FULL_STOP = HOST.replace(".com", "\uff0ecom")
CYRILLIC = HOST.replace("a", "\u0430")

ALLOWED = (
    f"https://{HOST}/v1/default",
    f"https://{HOST}:443/v1/default",
)

NOT_ALLOWED = {
    "plain http": f"http://{HOST}/v1/default",
    "another scheme": f"ftp://{HOST}/v1/default",
    "a file": "file:///etc/passwd",
    "gopher": f"gopher://{HOST}/v1/default",
    "no scheme": f"//{HOST}/v1/default",
    "a scheme in capitals": f"HTTPS://{HOST}/v1/default",
    "another port": f"https://{HOST}:8443/v1/default",
    "the port of http": f"https://{HOST}:80/v1/default",
    "an empty port": f"https://{HOST}:/v1/default",
    "a name that ends alike": "https://eviltruecaller.com/v1/default",
    "a name below another": f"https://{HOST}.evil.example/v1/default",
    "a sibling that is not in the list": "https://evil.truecaller.com/v1/default",
    "a dot at the end": f"https://{HOST}./v1/default",
    "capitals": "https://Profile4-NonEU.truecaller.com/v1/default",
    "a user": f"https://{HOST}@evil.example/v1/default",
    "a user and a password": f"https://user:pw@{HOST}/v1/default",
    "an encoded slash in the host": "https://evil.example%2f.truecaller.com/v1/default",
    "an encoded NUL": "https://evil.example%00.truecaller.com/v1/default",
    "a newline in the host": "https://evil.example\n.truecaller.com/v1/default",
    "a newline at the end": f"https://{HOST}/v1/default\n",
    "a line break and a header": f"https://{HOST}/v1/default HTTP/1.1\r\nX-Evil: 1",
    "a tab": f"https://{HOST}\t/v1/default",
    "a space before": f" https://{HOST}/v1/default",
    "full-width letters": f"https://{FULL_WIDTH}/v1/default",
    "a full-width full stop": f"https://{FULL_STOP}/v1/default",
    "a Cyrillic letter": f"https://{CYRILLIC}/v1/default",
    "a backslash before the host": f"https://evil.example\\.{HOST}/v1/default",
    "a backslash and a user": f"https://evil.example\\@{HOST}/v1/default",
    "a fragment before the host": f"https://evil.example#{HOST}/v1/default",
    "a fragment behind": f"https://{HOST}/v1/default#x",
    "a question before the host": f"https://evil.example?{HOST}/v1/default",
    "this machine": "https://127.0.0.1/v1/default",
    "this machine by name": "https://localhost/v1/default",
    "this machine as one number": "https://2130706433/v1/default",
    "this machine in IPv6": "https://[::1]/v1/default",
    "this machine as IPv4-mapped": "https://[::ffff:127.0.0.1]/v1/default",
    "the metadata of a cloud": "https://169.254.169.254/v1/default",
    "another path": f"https://{HOST}/admin",
    "a step up": f"https://{HOST}/v1/../admin",
    "a step up at the end": f"https://{HOST}/v1/x/..",
    "an encoded step up": f"https://{HOST}/v1/%2e%2e/admin",
    "two slashes": f"https://{HOST}/v1//evil.example/",
    "the prefix alone": f"https://{HOST}/v1",
    "no path": f"https://{HOST}",
    "513 characters": f"https://{HOST}/v1/" + "x" * (513 - len(f"https://{HOST}/v1/")),
    "nothing": "",
}
