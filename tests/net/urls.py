"""URLs that no request may be sent to."""

from __future__ import annotations

REFUSED = [
    *("", "/", "example.com", "//example.com/", "http:", "http:/example.com", "http://", "http:///x", "http://?q"),
    *(
        "file:///etc/passwd",
        "ftp://example.com/",
        "gopher://example.com/",
        "data:image/png;base64,aGk=",
        "ws://example.com",
    ),
    *(
        "javascript:alert(1)",
        "httpx://example.com/",
        "jar:http://example.com!/",
        "http+unix://%2fvar%2frun%2fdocker.sock/",
    ),
    *("http://user@example.com/", "http://user:pass@example.com/", "http://@example.com/", "http://:@example.com/"),
    *("http://example.com@127.0.0.1/", "http://example.com%40127.0.0.1/", "http://a@b@example.com/"),
    *("http://example.com:22/", "http://example.com:6379/", "http://example.com:0/", "http://example.com:65536/"),
    *("http://example.com:8080/", "http://example.com:-80/", "http://example.com:80:80/", "http://example.com:٨٠/"),
    *("http://example.com/\r\nX: y", "http://example.com\r\n/", "http://exa\tmple.com/", "http://example.com/\x00"),
    *(
        " http://example.com/",
        "http://example.com/ ",
        "http://example.com/a b",
        "http://exam ple.com/",
        "\thttp://a.b/",
    ),
    *("http://example.com\\@127.0.0.1/", "http:\\\\example.com/", "http://example.com/\\x", "http://example.com%5c/"),
    *(
        "http://example.com%00.evil.com/",
        "http://example.com%0d%0a/",
        "http://example.com%2f/",
        "http://example.com%3a80/",
    ),
    *("http://example%2525.com/", "http://example%25.com/", "http://%/", "http://%ff/", "http://exa%zzmple.com/"),
    *(
        "http://[::1",
        "http://::1/",
        "http://[::1]x/",
        "http://[fe80::1%25eth0]/",
        "http://[fe80::1%eth0]/",
        "http://[]/",
    ),
    *("http://[example.com]/", "http://[127.0.0.1]/", "http://[::1]:22/", "http://[1::2::3]/", "http://[[::1]]/"),
    *("http://256.1.1.1/", "http://1.2.3.4.5/", "http://08.0.0.1/", "http://1.2.3.256/", "http://4294967296/"),
    *(
        "http://1..2/",
        "http://0x100000000/",
        "http://1.2.65536/",
        "http://foo.1/",
        "http://foo.0x7f/",
        "http://1.2.3.4../",
    ),
    *(
        "http://a..b/",
        "http://.example.com/",
        "http://example.com../",
        "http://-a.com/",
        "http://a-.com/",
        "http://*.a.com/",
    ),
    *(f"http://{'a' * 64}.com/", f"http://{'a.' * 126}ab/", f"http://{'a' * 1025}/", f"http://{'%61' * 254}/"),
    *(
        "http://℀.example/",
        "http://example.com／evil/",
        "http://a\u2028b.com/",
        "http://a\ud800.com/",
        "http://a.com/\ud800",
    ),
    "http://example.com/" + "x" * 8192,
]
"""URLs that are malformed, ambiguous or of another scheme or port."""

PRIVATE = [
    *(
        "http://127.0.0.1",
        "http://2130706433/",
        "http://0177.0.0.1/",
        "http://0x7f.1/",
        "http://127.1/",
        "http://127.0.1/",
    ),
    *(
        "http://0x7f000001/",
        "http://017700000001/",
        "http://0X7F.0x0.0.1/",
        "http://0/",
        "http://0.0.0.0/",
        "http://0x/",
    ),
    *("http://127.0.0.1./", "http://127。0。0。1/", "http://127．0｡0。1/", "http://１２７.0.0.1/", "http://①②⑦.0.0.1/"),
    *("http://%31%32%37.0.0.1/", "http://127%2e0%2e0%2e1/", "http://169.254.169%2e254/", "http://169.254.169.254/"),
    *(
        "http://0xa9fea9fe/",
        "http://2852039166/",
        "http://169.16689662/",
        "http://0251.0376.0251.0376/",
        "http://10.1/",
    ),
    *("http://192.168.1/", "http://100.64.0.1/", "http://[::1]/", "http://[::]/", "http://[0:0:0:0:0:0:0:1]/"),
    *(
        "http://[::ffff:10.0.0.1]/",
        "http://[::ffff:7f00:1]/",
        "http://[64:ff9b::a9fe:a9fe]/",
        "http://[2002:7f00:1::]/",
    ),
    *("http://[2001:0:4136:e378:8000:63bf:3fff:fdd2]/", "http://[2a01:1:2:3:0:5efe:a00:1]/", "http://[fd00:ec2::254]/"),
    *(
        "http://[fe80::1]/",
        "http://[::127.0.0.1]/",
        "http://[ff02::1]/",
        "http://[fec0::1]/",
        "http://⑯⑨。②⑤④。⑯⑨｡②⑤④/",
    ),
]
"""Loopback, the metadata service and private addresses in every notation."""
